"""The plan: which shards a cell's identity rests on, and that a plan that was altered is refused."""

import json
import re
from pathlib import Path

import pytest

from crossover.base.errors import DamageError
from crossover.base.files import write_json
from stages.cells.plan import Plan, folder, make_plan, read_plan
from stages.shards.manifest import Index, Shard, Split, Text
from stages.study.params import load_params
from tests.conftest import TINY


def text(shards: int = 4) -> Text:
    """Shards of 8,192 tokens, told apart by their digests."""
    split = Split(shards=[
        Shard(file=f"{number}.bin", tokens=8192, sha256=f"{number}" * 64, documents=9, dropped=0, document_bytes=30000,
              document_tokens=8000, offset=12) for number in range(shards)
    ])  # fmt: skip
    return Text(identity="i", tokenizer_digest="t", vocab_size=300, end_of_text=0, dtype="uint16", shard_tokens=8192,
                train=split, validation=split.model_copy(deep=True))  # fmt: skip


def plan(tmp_path: Path, tokens: int) -> Plan:
    values = json.loads(json.dumps(TINY))
    values["scales"]["mini"].update(tokens=tokens, widths=[8])
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    params = load_params(tmp_path / "params.yaml")
    return make_plan(params, "tiny", "mini", Index(texts={params.scale("mini").text: text()}))


@pytest.mark.parametrize(("tokens", "shards"), [(8064, 1), (8192, 2), (8320, 2)])
def test_the_target_of_the_last_window_is_part_of_what_a_cell_reads(tmp_path: Path, tokens: int, shards: int) -> None:
    """A cell of exactly one shard reads one token of the next: that of its last target."""
    made = plan(tmp_path, tokens)
    (cell, *_) = made.cells.values()
    assert cell.unique_tokens == tokens
    assert made.payload(cell).data == [f"{number}" * 64 for number in range(shards)]


def test_a_plan_whose_cell_is_not_what_its_fingerprint_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(tmp_path, 8192)
    monkeypatch.chdir(tmp_path)
    path = folder("tiny", "mini") / "plan.json"
    write_json(path, made.to_json())
    assert read_plan("tiny", "mini") == made
    path.write_text(path.read_text().replace('"lr": 0.02', '"lr": 0.03'))
    with pytest.raises(DamageError, match="is not what its fingerprint says; run `dvc repro plan@tiny-mini`"):
        read_plan("tiny", "mini")


@pytest.mark.parametrize(("old", "new"), [("0.bin", "../../x"), ("words-bpe300", "../..")])
def test_a_plan_names_shards_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    made = plan(tmp_path, 8192)
    monkeypatch.chdir(tmp_path)
    path = folder("tiny", "mini") / "plan.json"
    write_json(path, made.to_json())
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))
    with pytest.raises(DamageError, match=rf"'{re.escape(new)}' is no shard of a text; run `dvc repro plan@tiny-mini`"):
        read_plan("tiny", "mini")


def test_a_plan_of_before_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row once said all of its cell; `crossover accept` starts from such a plan after an upgrade."""
    made = plan(tmp_path, 8192)
    monkeypatch.chdir(tmp_path)
    write_json(folder("tiny", "mini") / "plan.json", made.model_dump())
    assert read_plan("tiny", "mini") == made


def test_fingerprints_of_many_cells_are_those_of_each(tmp_path: Path) -> None:
    """Whatever the short way writes once for several cells: seeds, lengths, trainers, options that equal each other."""
    values = json.loads(json.dumps(TINY))
    options = [{"a": 1}, {"a": True}, {"a": 1.0}, {'"seed":0': 'x"seed":0'}]
    recipes = {f"own{number}": {"trainer": "plain", "options": item} for number, item in enumerate(options)}
    values["studies"]["many"] = {"title": "many", "seeds": 3, "axes": {"tokens_factor": [0.5, 1]},
                                 "recipes": {"ours": {}, **recipes}}  # fmt: skip
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    params = load_params(tmp_path / "params.yaml")
    made = make_plan(params, "many", "mini", Index(texts={params.scale("mini").text: text()}))
    for row in made.rows:
        assert row.fingerprint == made.payload(row.cell).fingerprint
    assert len({row.fingerprint for row in made.rows}) == len(made.rows) == 5 * 2 * 2 * 3
