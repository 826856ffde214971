"""A store behind a URL: what is finished here can be fetched there, and half a cell does not exist."""

import shutil
from pathlib import Path

import pytest

from crossover.base.errors import CrossoverError, DamageError
from crossover.base.files import sha256_file, write_sealed
from stages.store.remote import Remote
from stages.store.store import Payload, Provenance, Record, Store
from tests.conftest import make_cell


def record() -> Record:
    payload = Payload(cell=make_cell(), tokenizer="t", data=["d"], source="s")
    provenance = Provenance(
        commit="c", host="h", device="d", torch="2", python="3", started="s", seconds=1.0, tokens_per_second=1.0
    )
    return Record(
        fingerprint=payload.fingerprint, payload=payload, status="done", steps_done=1, n_spikes=0, loss_init=5.0,
        loss_online=4.0, files={"curve.parquet": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
        provenance=provenance,
    )  # fmt: skip


def store(tmp_path: Path, name: str, url: str) -> Store:
    return Store(tmp_path / name, Remote(url))


def finished(store: Store) -> Record:
    """A finished cell with a curve of three bytes and losses under one evaluation."""
    made = record()
    store.folder(made.fingerprint).mkdir(parents=True)
    (store.folder(made.fingerprint) / "curve.parquet").write_bytes(b"foo")
    store.put_evaluation(made.fingerprint, "e" * 64, {"loss_validation": 3.0})
    store.finish(made)
    return made


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote" if request.param == "file" else f"memory://{tmp_path.name}"


def test_a_cell_travels_whole(tmp_path: Path, url: str) -> None:
    made = finished(store(tmp_path, "here", url))
    there = store(tmp_path, "there", url)
    assert there.record(made.fingerprint) == made
    assert there.verified(made, "curve.parquet").read_bytes() == b"foo"
    assert there.evaluation(made.fingerprint, "e" * 64) == {"loss_validation": 3.0}
    assert there.evaluation(made.fingerprint, "f" * 64) is None
    assert there.complete(made.fingerprint, "e" * 64)


@pytest.mark.parametrize("name", ["curve.parquet", "record.json"])
def test_a_cell_that_the_remote_has_damaged_is_refused_and_not_kept(tmp_path: Path, name: str) -> None:
    made = finished(store(tmp_path, "here", f"file://{tmp_path}/remote"))
    away = tmp_path / "remote" / made.fingerprint
    (away / name).write_bytes(b"fop")
    there = store(tmp_path, "there", f"file://{tmp_path}/remote")
    with pytest.raises(DamageError, match=f"remote/{made.fingerprint} is damaged; delete it there"):
        there.record(made.fingerprint)
    assert not there.folder(made.fingerprint).exists()
    shutil.rmtree(away)
    assert store(tmp_path, "there", f"file://{tmp_path}/remote").record(made.fingerprint) is None


def test_losses_made_later_travel_too(tmp_path: Path, url: str) -> None:
    made = finished(store(tmp_path, "here", url))
    there = store(tmp_path, "there", url)
    assert there.record(made.fingerprint)
    there.put_evaluation(made.fingerprint, "f" * 64, {"loss_validation": 2.0})
    assert store(tmp_path, "third", url).evaluation(made.fingerprint, "f" * 64) == {"loss_validation": 2.0}


def test_without_its_record_a_cell_does_not_exist(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    made = finished(store(tmp_path, "here", url))
    (tmp_path / "remote" / made.fingerprint / "record.json").unlink()
    there = store(tmp_path, "there", url)
    assert there.record(made.fingerprint) is None
    assert there.record("0" * 64) is None


def test_a_url_that_nothing_answers_is_named(tmp_path: Path) -> None:
    with pytest.raises(CrossoverError, match=r"the store nosuch://bucket"):
        store(tmp_path, "here", "nosuch://bucket").record("0" * 64)


def test_where_a_store_is_survives_the_way_to_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store.at(Store(Path("data/store")).url).root == tmp_path / "data/store"
    assert Store.at("memory://cells/").url == "memory://cells"


def test_an_upload_that_broke_off_is_made_up_for(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise CrossoverError("the line is down")

    here, made = store(tmp_path, "here", url), record()
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "send", broken)
        with pytest.raises(CrossoverError, match="line is down"):
            finished(store(tmp_path, "here", url))
    checkpoint = here.folder(made.fingerprint) / "checkpoint.safetensors"
    checkpoint.write_bytes(b"left by a version, or a kill, between the record and its removal")
    assert here.record(made.fingerprint) == made
    assert store(tmp_path, "there", url).record(made.fingerprint) is None
    here.settle(made)
    assert not checkpoint.exists()
    assert store(tmp_path, "there", url).complete(made.fingerprint, "e" * 64)


def refuse_strange_names(tmp_path: Path, url: str) -> None:
    """A record in the remote that names a private file is refused; of what else lies there nothing is brought here."""
    private = tmp_path / "private"
    private.write_text("key")
    private.chmod(0o600)
    here = store(tmp_path, "here", url)
    made = finished(here)
    body = {**made.model_dump(), "files": {**made.files, str(private): sha256_file(private)}}
    (here.folder(made.fingerprint) / "sitecustomize.py").write_text("raise SystemExit('run')")
    Remote(url).send(here.folder(made.fingerprint), ["sitecustomize.py"])
    there = store(tmp_path, "there", url)
    assert there.record(made.fingerprint) == made
    brought = {path.name for path in there.folder(made.fingerprint).iterdir()}
    assert brought == {"record.json", "curve.parquet", f"evaluation-{'e' * 16}.json"}
    write_sealed(here.folder(made.fingerprint) / "record.json", body)
    Remote(url).send(here.folder(made.fingerprint), ["record.json"])
    third = store(tmp_path, "third", url)
    with pytest.raises(DamageError, match=f"{made.fingerprint} is damaged; delete it there and run again"):
        third.record(made.fingerprint)
    assert not third.folder(made.fingerprint).exists()
    assert private.stat().st_mode & 0o777 == 0o600


def test_a_remote_s_names_are_not_trusted(tmp_path: Path, url: str) -> None:
    refuse_strange_names(tmp_path, url)


def test_a_cell_in_another_folder_of_the_remote_is_none(tmp_path: Path) -> None:
    made = finished(store(tmp_path, "here", f"file://{tmp_path}/remote"))
    (tmp_path / "remote" / made.fingerprint).rename(tmp_path / "remote/thesis")
    assert not Remote(f"file://{tmp_path}/remote").has("thesis")


def test_a_damaged_cell_is_taken_back_without_what_is_not_ours(tmp_path: Path) -> None:
    made = finished(store(tmp_path, "here", f"file://{tmp_path}/remote"))
    (tmp_path / "remote" / made.fingerprint / "curve.parquet").write_bytes(b"fop")
    there = store(tmp_path, "there", f"file://{tmp_path}/remote")
    notes = there.folder(made.fingerprint) / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(DamageError, match="is damaged"):
        there.record(made.fingerprint)
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]
