"""What a text is made of: no change of it goes unnoticed, and nothing that is held out is trained on."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import UsageError
from crossover.base.files import read_json
from stages.check.tokens import check_documents, document_table
from stages.shards.manifest import TOKENS as TEXTS
from stages.shards.manifest import Index, Text
from stages.study.corpora import C4, Files, Pydocs
from stages.study.params import Params
from stages.study.plan import texts_needed
from stages.tokens import __main__ as tokens
from stages.tokens.corpora import open_corpus
from stages.tokens.identity import identity
from stages.tokens.sources import KNOWN, digests
from tests.conftest import SHARED, TINY, Project, make_project, write_corpus

pytestmark = pytest.mark.filterwarnings("ignore")  # Great Expectations' own
TOKENS = (sys.executable, "-m", "stages.tokens")
WORDS = "data/sources/words.jsonl"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's text."""
    monkeypatch.chdir(tmp_path)
    write_corpus(Path(WORDS))
    return tmp_path


def tokenized(**corpus: Any) -> Any:
    values = json.loads(json.dumps(TINY))
    values["corpora"]["words"] = {"kind": "files", **corpus}
    params = Params.model_validate(values)
    (need,) = texts_needed(params).values()
    return tokens.tokenize("words-bpe300", need, params.corpora["words"])


def edited_in_the_middle(path: Path) -> None:
    """As long as before, both ends as they were."""
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + content[middle : middle + 200].swapcase() + content[middle + 200 :])
    assert path.read_bytes() != content


@pytest.mark.parametrize("kind", ["files", "c4"])
def test_a_file_edited_in_its_middle_is_another_text(here: Path, kind: str) -> None:
    path = Path("data/sources/large.txt" if kind == "files" else "data/sources/c4/en/c4-train.00000-of-00001.json.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"abcdefgh" * 100_000)
    path.with_name("c4-validation.00000-of-00001.json.gz").write_bytes(b"other")
    local = {"path": "data/sources/c4", "train_shards": 1, "validation_shards": 1}
    corpus = Files(kind="files", train=[str(path)]) if kind == "files" else C4(kind="c4", **local)
    os.utime(path, (0, 0))
    before = open_corpus(corpus).identity()
    assert open_corpus(corpus).identity() == before
    edited_in_the_middle(path)
    os.utime(path, (0, 0))
    assert open_corpus(corpus).identity() != before


def test_what_is_known_of_a_file_saves_reading_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.tokens.sources._SETTLED", -1)
    first = digests({"train": [Path(WORDS)]})
    monkeypatch.setattr("stages.tokens.sources.sha256_file", lambda _: pytest.fail("read again"))
    assert digests({"train": [Path(WORDS)]}) == first
    KNOWN.write_text("damaged")
    with pytest.raises(pytest.fail.Exception):
        digests({"train": [Path(WORDS)]})


def test_a_file_just_written_is_not_trusted_to_be_settled(here: Path) -> None:
    digests({"train": [Path(WORDS)]})
    assert str(Path(WORDS).resolve()) not in KNOWN.read_text()


def test_globs_that_contain_the_held_out_files_are_refused(here: Path) -> None:
    write_corpus(Path("data/sources/held.jsonl"), documents=100, seed=1)
    with pytest.raises(UsageError, match=r"held\.jsonl belongs to the train and to the validation split"):
        tokenized(train=["data/sources/*.jsonl"], validation=["data/sources/held.jsonl"])
    shutil.copy("data/sources/held.jsonl", "data/sources/copy.jsonl")
    with pytest.raises(UsageError, match=r"copy\.jsonl and .*held\.jsonl hold the same and belong"):
        tokenized(train=[WORDS, "data/sources/copy.jsonl"], validation=["data/sources/held.jsonl"])
    tokenized(train=[WORDS], validation=["data/sources/held.jsonl"])


def trained_on() -> list[str]:
    """Held-out documents that the gate finds among the training ones."""
    text = Text.model_validate(read_json(TEXTS / "words-bpe300/text.json", ""))
    table = document_table(Index(texts={"words-bpe300": text}))
    return [offender for finding in check_documents(table) for offender in finding.offenders]


def nearly(line: str) -> str:
    """A document of which the last word is another."""
    *words, _ = json.loads(line)["text"].split()
    return json.dumps({"text": " ".join([*words, "changed"])}) + "\n"


def with_a_leak(number: int) -> Path:
    """Held-out files one of whose documents is also among the training ones, and two that nearly are."""
    held_out = Path("data/sources/held.jsonl")
    write_corpus(held_out, documents=200, seed=1)
    lines = Path(WORDS).read_text().splitlines(keepends=True)
    held_out.write_text(lines[number] + nearly(lines[number + 1]) + held_out.read_text())
    return held_out


def test_own_splits_lose_what_they_share_by_document(here: Path) -> None:
    held_out = with_a_leak(3)
    text = tokenized(train=[WORDS], validation=[str(held_out)])
    assert text.train.dropped == 2
    assert trained_on() == []


def test_the_gate_sees_a_held_out_document_that_is_trained_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "without_duplicates", lambda documents, held_out: documents)
    tokenized(train=[WORDS], validation=[str(with_a_leak(3))])
    assert trained_on() == ["words-bpe300/validation/0"]


def test_near_duplicates_of_a_split_by_digest_are_dropped_too(here: Path) -> None:
    """Each document a second time with another last word: of one in three, one is held out and the other is not."""
    lines = Path(WORDS).read_text().splitlines(keepends=True)
    Path(WORDS).write_text("".join(line + nearly(line) for line in lines))
    corpus = Files(kind="files", train=[WORDS], validation_share=0.2)
    assert len(list(open_corpus(corpus).documents("validation"))) > 60
    text = tokenized(train=[WORDS], validation_share=0.2)
    assert text.train.dropped > 5


def test_the_same_text_is_kept_and_another_is_made_anew(here: Path) -> None:
    shard = TEXTS / "words-bpe300/train/00000.bin"
    first = tokenized(train=[WORDS], validation_share=0.2)
    os.utime(shard, (0, 0))
    assert tokenized(train=[WORDS], validation_share=0.2) == first
    assert shard.stat().st_mtime == 0
    write_corpus(Path(WORDS), seed=3)
    second = tokenized(train=[WORDS], validation_share=0.2)
    assert second.train.shards[0].sha256 != first.train.shards[0].sha256
    assert shard.stat().st_mtime > 0
    shard.write_bytes(b"damaged")
    assert tokenized(train=[WORDS], validation_share=0.2) == second


def test_documents_are_split_by_all_of_their_text(here: Path) -> None:
    """Web pages of one site begin alike."""
    head = "This page is best viewed in a modern browser; please enable cookies and read our terms first. " * 2
    lines = [json.dumps({"text": f"{head} {number}"}) for number in range(200)]
    Path(WORDS).write_text("\n".join(lines) + "\n")
    corpus = open_corpus(Files(kind="files", train=[WORDS], validation_share=0.3))
    assert 30 < len(list(corpus.documents("validation"))) < 90


def test_how_much_is_held_out_is_part_of_what_a_text_is(here: Path) -> None:
    """It decides which training documents count as repeats of held-out ones."""
    params = Params.model_validate(TINY)
    (need,) = texts_needed(params).values()
    corpus = open_corpus(params.corpora["words"])
    more = need.model_copy(update={"validation_tokens": need.validation_tokens + 1})
    one, other = (identity(item, params.corpora["words"], corpus) for item in (need, more))
    assert one != other


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (
            "corpora",
            {"kind": "files", "train": ["../words.jsonl"]},
            r"corpora\.words: '\.\./words\.jsonl' lies",
        ),
        ("corpora", {"kind": "files", "train": ["data/sources/../x.jsonl"]}, "lies outside data/sources"),
        ("corpora", {"kind": "files", "train": [WORDS], "validation": ["/data/x.jsonl"]}, "'/data/x.jsonl' lies"),
        ("corpora", {"kind": "c4", "path": "/data/c4"}, "'/data/c4' lies outside data/sources"),
        ("corpora", {"kind": "c4", "path": "data/raw/c4"}, "'data/raw/c4' lies outside data/sources"),
        (
            "tokenizer",
            {"vocab_size": 300, "file": "tokenizer.json"},
            r"tokenizer\.file: 'tokenizer\.json' lies",
        ),
    ],
)
def test_what_dvc_would_not_notice_is_refused(where: str, value: dict[str, Any], says: str) -> None:
    values = json.loads(json.dumps(TINY))
    (values["corpora"] if where == "corpora" else values["scales"]["mini"]).update(
        {"words" if where == "corpora" else "tokenizer": value}
    )
    with pytest.raises(ValueError, match=says):
        Params.model_validate(values)
    hub = C4(kind="c4", path="allenai/c4", revision="0" * 40)
    assert hub.outside is Pydocs(kind="pydocs", packages=["numpy"]).outside is None


def test_a_linked_folder_is_refused_and_a_linked_file_is_not(here: Path) -> None:
    write_corpus(Path("elsewhere/a.jsonl"))
    Path("data/sources/link.jsonl").symlink_to(Path("elsewhere/a.jsonl").resolve())
    Path("data/sources/linked").symlink_to(Path("elsewhere").resolve())
    digests({"train": [Path("data/sources/link.jsonl")]})
    with pytest.raises(UsageError, match=r"linked/a\.jsonl lies in a linked folder"):
        digests({"train": [Path("data/sources/linked/a.jsonl")]})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a tokenizer that somebody brought, tokenized and planned by DVC."""
    made = make_project(tmp_path_factory.mktemp("sources") / "project")
    made.run(*TOKENS)
    shutil.copy(made.root / "data/tokens/words-bpe300/tokenizer.json", made.root / "data/sources/own.json")
    tokenizer = {"vocab_size": 300, "file": "data/sources/own.json"}
    made.params(lambda values: values["scales"]["mini"].update(tokenizer=tokenizer))
    made.run("dvc", "repro", "plan@tiny-mini")
    return made


def _tokenizer(project: Project) -> None:
    path = project.root / "data/sources/own.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = list(reversed(content["model"]["merges"]))
    path.write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize("change", [_tokenizer, lambda project: edited_in_the_middle(project.root / WORDS)])
def test_dvc_and_status_notice_what_changed(project: Project, change: Any) -> None:
    assert "tokens" not in project.run("dvc", "status", "tokens").stdout
    change(project)
    said = [project.run("dvc", "status", "tokens"), project.run("crossover", "status")]
    assert "data/sources" in said[0].stdout
    assert "is not what it would be now: its documents" in " ".join(said[1].stdout.split())
    assert "Running stage 'tokens'" in project.run("dvc", "repro", "plan@tiny-mini").stdout
    assert "data/sources" not in project.run("dvc", "status", "tokens").stdout


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared C4 sample")
def test_the_real_c4_sample_holds_no_text_twice(here: Path) -> None:
    """Real web text, split by who published it."""
    sample = SHARED / "corpus/c4_sample/en"
    files = {part: sorted(str(path) for path in sample.glob(f"c4-{part}*")) for part in ("train", "validation")}
    read = open_corpus(Files(kind="files", **files))
    held_out = list(read.documents("validation"))
    kept = list(tokens.without_duplicates(read.documents("train"), held_out))
    assert len(kept) == 1984
    assert kept.count(None) <= 20
