"""What reads bytes from outside, each with whole examples to break, and the edits that break them."""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder
from tokenizers import models, pre_tokenizers, trainers

from crossover.answers.keeping.series import Logged, find_place
from crossover.base.errors import CrossoverError
from crossover.base.files import read_json, write_json, write_sealed
from crossover.ledger.body import Gate
from crossover.ledger.chain import read_ledger
from crossover.ledger.outcomes import recorded
from crossover.ledger.scoring import score_all
from crossover.runs.expressions import condition, evaluate
from crossover.runs.table import read_runs
from flows.studies.prices import forecast, look_up
from stages.cells.plan import make_plan, plan_from_json
from stages.shards.index import read_index
from stages.shards.manifest import Index, Shard, Split, Text
from stages.store.store import Payload, Provenance, Record, Store
from stages.study.corpora import Tokenizer
from stages.study.params import load_params
from stages.tokens.tokenizer import end_of_text, make_tokenizer
from tests.conftest import REPOSITORY, TINY, make_cell
from tests.fuzz.logs import LOGS
from tests.ledger.test_chain import forecast as forecast_entry
from tests.ledger.test_chain import outcome as outcome_entry
from tests.ledger.test_chain import rechained

_TOKENS = [
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1.5", b"9" * 30, b"{}", b"[]", b'""', b"\x00",
    b"\xff", b"[" * 3000, b"(" * 300, b"{" * 300, b"&a [*a]", b"!!python/object:os.system", b"\n", b"  ", b"\t", b":",
    b",", b'"', b"'", b"`", b"../../x", b"<script>", b"\xf0\x9f\x99\x82", b"**", b"2**9**9", b"- ", b"a: &a {b: *a}",
    b"1_000", b"0x10", b"2026-01-01",
]  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "replace", "end"]), st.integers(0, 2**20),
        st.integers(0, 255), st.sampled_from(_TOKENS),
    ), max_size=6,
)  # fmt: skip
Edit = tuple[str, int, int, bytes]


def broken(whole: bytes, edits: list[Edit]) -> bytes:
    """The example after the edits, one by one."""
    body = bytearray(whole)
    for how, place, size, token in edits:
        at = place % (len(body) + 1)
        match how:
            case "flip" if at < len(body):
                body[at] ^= 1 << size % 8
            case "cut":
                del body[at : at + size]
            case "insert":
                body[at:at] = token
            case "repeat":
                body[at:at] = body[at : at + size] * (size % 5)
            case "replace":
                body[at : at + size % 24] = token
            case "end":
                del body[at:]
    return bytes(body)


@dataclass(frozen=True)
class Parser:
    """A reader of files, and whole files that it reads."""

    read: Callable[[Path], object]
    """May raise `CrossoverError` and nothing else."""
    examples: list[bytes]
    suffix: str = ""
    quiet: bool = False
    """Whether a warning of a library is as bad as a traceback."""


def _params(path: Path) -> None:
    params = load_params(path)
    for item in params.active.values():
        forecast(params, look_up(params, item.study, item.scale))


def _expression(path: Path) -> None:
    table = pd.DataFrame(
        {"N": [1e6, 2e6, 4e6], "my loss": [3.0, None, 2.2], "size": ["1M", "2M", None], "ok": [True, False, True]}
    )
    text = path.read_text(errors="replace")
    for use in (evaluate, condition):
        try:
            use(table, text)
        except CrossoverError:
            continue


def _runs(path: Path) -> None:
    runs = read_runs(path)
    for column in list(runs.table.columns)[:4]:
        try:
            runs.numbers(str(column))
            runs.labels(str(column))
        except CrossoverError:
            continue


def _plan(path: Path) -> None:
    from pydantic import ValidationError

    try:
        plan_from_json(read_json(path, "run `dvc repro`"))
    except (ValidationError, KeyError, TypeError, AttributeError):  # `read_plan` tells these in words
        return


def _record(path: Path) -> None:
    """As it lies there; and as one whose digest fits, so that what lies behind the digest is reached."""
    name = RECORD.fingerprint
    store = Store(path.parent / "store")
    target = store.folder(name) / "record.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())
    for resealed in (False, True):
        if resealed:
            body = read_json(path, "")
            inner = body.get("body") if isinstance(body, dict) else None
            try:
                write_sealed(target, inner)  # type: ignore[arg-type]
            except ValueError:  # NaN: nobody could have written it
                return
        store.record(name)


def _keeps(path: Path) -> None:
    find_place(path, "base", "change 1", 2)


_KEPT = Logged(
    date="2026-01-01T00:00:00+00:00", a="base", b="change", verdict="keep", why="e-value 30 of 20", target=1e18,
    evidence=30.5, needed=20.0, n_rows=8, digest="0" * 16,
)  # fmt: skip
_KEEPS = "".join(
    _KEPT.model_copy(update={"b": f"change {i}", "verdict": verdict}).model_dump_json() + "\n"
    for i, verdict in enumerate(("keep", "discard", "run more"))
).encode()


def _ledger(path: Path) -> None:
    """As it lies there; and as a chain made anew of the same bodies, so that what lies behind the seals is reached."""

    def follow() -> None:
        ledger = read_ledger(path)
        score_all(ledger.forecasts, recorded(ledger.outcomes, lambda _: {}))

    try:
        follow()
    except CrossoverError:
        bodies = []
        for line in path.read_bytes().splitlines():
            try:
                bodies.append(json.loads(line)["body"])
                rechained([bodies[-1]])
            except (ValueError, TypeError, KeyError, RecursionError):
                return  # nobody could have written it
        path.write_bytes(rechained(bodies))
        follow()


def _gated() -> dict[str, Any]:
    """A forecast with a criterion."""
    made = forecast_entry()
    return made.model_copy(update={"gate": Gate(below=2.3, p=dict.fromkeys(made.recipes, 0.5))}).model_dump()


def _tokenizer(path: Path) -> None:
    spec = Tokenizer(vocab_size=300, file=str(path))
    end_of_text(make_tokenizer(spec, iter(()), path.with_name("taken.json")))


def _tables() -> list[bytes]:
    table = pd.DataFrame(
        {"flops": [1e15, 1e16, 1e17], "loss": [3.5, 3.0, 2.7], "recipe": ["a", "b", "a"], "seed": [0, 0, 1]}
    )
    parquet = io.BytesIO()
    table.to_parquet(parquet)
    return [
        table.to_csv(index=False).encode(),
        table.to_json(orient="records", lines=True).encode(),
        parquet.getvalue(),
    ]


def _encoder() -> bytes:
    encoder = Encoder(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    encoder.train_from_iterator(["the cat sat on the mat and the rat " * 30], trainer)
    return encoder.to_str().encode()


def _text() -> Text:
    shard = Shard(file="0.bin", tokens=8192, sha256="a" * 64, documents=9, dropped=0, document_bytes=30000,
                  document_tokens=8000, offset=12)  # fmt: skip
    split = Split(shards=[shard.model_copy(update={"file": f"{i}.bin"}) for i in range(40)])
    return Text(identity="i", tokenizer_digest="t", vocab_size=300, end_of_text=0, dtype="uint16", shard_tokens=8192,
                train=split, validation=split.model_copy(deep=True))  # fmt: skip


def _example_plan(folder: Path) -> bytes:
    (folder / "params.yaml").write_text(json.dumps(TINY))
    params = load_params(folder / "params.yaml")
    text = params.scale("mini").text
    made = make_plan(params, "tiny", "mini", Index(texts={text: _text()}))
    return json.dumps(made.to_json()).encode()


def _example_record() -> Record:
    payload = Payload(cell=make_cell(), tokenizer="t", data=["d"], source="s")
    somewhere = Provenance(commit="c", host="h", device="d", torch="t", python="p", started="s", seconds=1.0,
                           tokens_per_second=1.0)  # fmt: skip
    return Record(fingerprint=payload.fingerprint, payload=payload, status="done", steps_done=1, n_spikes=0,
                  loss_init=1.0, loss_online=0.5, files={"curve.parquet": "0" * 64}, provenance=somewhere)  # fmt: skip


RECORD = _example_record()


def parsers(folder: Path) -> dict[str, Parser]:
    """All of them by name."""
    write_sealed(folder / "record.json", RECORD.model_dump())
    sealed = (folder / "record.json").read_bytes()
    write_json(folder / "index.json", Index(texts={"words": _text()}).model_dump())
    csv, jsonl, parquet = _tables()
    expressions = [
        b"N", b"6 * N ** 2 / 1e12 > 3", b"`my loss` > 2.5 and size in ['1M', '4M']", b"not ok or -log2(N) < 1",
        b"1e6 < N <= 2e6", b"size not in ['1M'] or ok", b"exp(sqrt(abs(N)))",
    ]  # fmt: skip
    return {
        "params": Parser(_params, [json.dumps(TINY, indent=1).encode(), (REPOSITORY / "params.yaml").read_bytes()]),
        "expressions": Parser(_expression, expressions),
        "runs.csv": Parser(_runs, [csv], ".csv"),
        "runs.jsonl": Parser(_runs, [jsonl], ".jsonl"),
        "runs.parquet": Parser(_runs, [parquet], ".parquet"),
        "runs.csv.gz": Parser(_runs, [gzip.compress(csv)], ".csv.gz"),
        "token index": Parser(read_index, [(folder / "index.json").read_bytes()]),
        "plan": Parser(_plan, [_example_plan(folder)]),
        "record": Parser(_record, [sealed]),
        "ledger": Parser(_ledger, [rechained([_gated(), outcome_entry().model_dump()])]),
        "keeps": Parser(_keeps, [_KEEPS], ".jsonl"),
        "tokenizer": Parser(_tokenizer, [_encoder()]),
    } | {name: Parser(log.read, log.examples, log.suffix, quiet=True) for name, log in LOGS.items()}
