"""The store: an altered byte is noticed, an unfinished cell does not exist, finished ones travel."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from crossover.base.errors import DamageError
from crossover.base.files import read_sealed, replacing, sha256_file, write_bytes, write_sealed
from stages.store.store import Payload, Provenance, Record, Store
from tests.conftest import make_cell


def finished(store: Store, seed: int = 0, started: str = "s", device: str = "d") -> Record:
    payload = Payload(cell=make_cell(seed=seed), tokenizer="t", data=["d"], source="s")
    folder = store.folder(payload.fingerprint)
    write_bytes(folder / "curve.parquet", b"curve")
    write_bytes(folder / "checkpoint.safetensors", b"x")
    somewhere = Provenance(
        commit="c", host="h", device=device, torch="t", python="p", started=started, seconds=1.0, tokens_per_second=1.0
    )
    record = Record(
        fingerprint=payload.fingerprint, payload=payload, status="done", steps_done=1, n_spikes=0, loss_init=1.0,
        loss_online=0.5, files={"curve.parquet": sha256_file(folder / "curve.parquet")}, provenance=somewhere,
    )  # fmt: skip
    store.finish(record)
    return record


def test_round_trip_drops_the_checkpoint(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = finished(store)
    assert store.record(record.fingerprint) == record
    assert not (store.folder(record.fingerprint) / "checkpoint.safetensors").exists()
    assert store.record("0" * 64) is None


def test_every_altered_byte_of_a_record_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = finished(store)
    path = store.folder(record.fingerprint) / "record.json"
    whole = path.read_bytes()
    unnoticed = 0
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            assert store.record(record.fingerprint) == record  # white space may change without meaning
            unnoticed += 1
        except DamageError:
            pass
    assert unnoticed < len(whole) / 7 / 4


def test_an_altered_file_is_noticed_on_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = finished(store)
    assert store.verified(record, "curve.parquet").read_bytes() == b"curve"
    (store.folder(record.fingerprint) / "curve.parquet").write_bytes(b"curvf")
    with pytest.raises(DamageError, match="does not match"):
        store.verified(record, "curve.parquet")


def test_a_record_in_another_cell_s_folder_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = finished(store, 0), finished(store, 1)
    path = store.folder(one.fingerprint) / "record.json"
    path.write_bytes((store.folder(two.fingerprint) / "record.json").read_bytes())
    with pytest.raises(DamageError, match="another cell"):
        store.record(one.fingerprint)


def test_another_cell_s_or_evaluation_s_losses_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = (finished(store, seed).fingerprint for seed in (0, 1))
    store.put_evaluation(one, "a" * 64, {"loss_validation": 1.0})
    (kept,) = store.folder(one).glob("evaluation-*")
    assert store.evaluation(one, "a" * 64) == {"loss_validation": 1.0}
    for target, digest in (
        (store.folder(two) / kept.name, "a" * 64),
        (kept.with_name(f"evaluation-{'b' * 16}.json"), "b" * 64),
    ):
        target.write_bytes(kept.read_bytes())
        with pytest.raises(DamageError, match="another cell or evaluation"):
            store.evaluation(target.parent.name, digest)


def test_an_altered_file_is_never_laid_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    record = finished(store)
    (store.folder(record.fingerprint) / "curve.parquet").write_bytes(b"curvf")
    with pytest.raises(DamageError, match="does not match"):
        store.materialise(record, tmp_path / "cells")
    assert not (tmp_path / "cells" / record.fingerprint / "record.json").exists()


@pytest.mark.parametrize(("device", "kept"), [("AMD EPYC", "cpu"), ("NVIDIA H200", "NVIDIA H200")])
def test_who_trains_a_cell_again_elsewhere_lays_out_the_same_bytes(tmp_path: Path, device: str, kept: str) -> None:
    """Other processors, other hours; but what a GPU's bits depend on is told."""
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    record = finished(here, started="2026-01-01T00:00:00+00:00", device=device)
    here.materialise(record, tmp_path / "a")
    other = "Intel Xeon" if kept == "cpu" else device
    there.materialise(finished(there, started="2027-01-01T00:00:00+00:00", device=other), tmp_path / "b")
    a, b = (tmp_path / name / record.fingerprint / "record.json" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    away = Store(tmp_path / "away")
    away.adopt(tmp_path / "a", [record.fingerprint])
    adopted = away.record(record.fingerprint)
    assert adopted is not None
    assert (adopted.provenance.device, adopted.provenance.started, adopted.files) == (kept, "", record.files)


def test_adopt_takes_what_is_missing(tmp_path: Path) -> None:
    home, away = Store(tmp_path / "home"), Store(tmp_path / "away")
    record = finished(home)
    home.materialise(record, tmp_path / "cells")
    write_sealed(tmp_path / "cells" / ("0" * 64) / "record.json", {"of": "an older version"})
    assert away.adopt(tmp_path / "cells", ["f" * 64]) == 0
    assert away.adopt(tmp_path / "cells", [record.fingerprint]) == 1
    bare = record.model_copy(update={"provenance": record.provenance.lasting()})
    assert away.record(record.fingerprint) == bare
    assert away.adopt(tmp_path / "cells", [record.fingerprint]) == 0
    with pytest.raises(DamageError, match="no record of this version; delete"):
        Store(tmp_path / "cells").record("0" * 64)


def forge(store: Store, name: str, digest: str) -> Record:
    """A finished cell whose record, sealed as ours are, names one more file."""
    record = finished(store)
    body = record.model_dump()
    body["files"][name] = digest
    write_sealed(store.folder(record.fingerprint) / "record.json", body)
    return record


def test_a_record_adopts_nothing_into_the_project(tmp_path: Path) -> None:
    """What is pulled may bring any file, and a module so named is run by every Python that starts in the project."""
    cells, home = tmp_path / "data/studies/tiny-mini/cells", Store(tmp_path / "data/store")
    brought = tmp_path / "data/studies/sitecustomize.py"
    write_bytes(brought, b"raise SystemExit('run')")
    name = "../../../sitecustomize.py"
    record = forge(Store(cells), name, sha256_file(brought))
    path = re.escape(f"{cells / record.fingerprint / 'record.json'} names '{name}' as its file; delete the folder and")
    with pytest.raises(DamageError, match=f"^{path} run again$"):
        home.adopt(cells, [record.fingerprint])
    assert not (tmp_path / "sitecustomize.py").exists()
    assert not home.folder(record.fingerprint).exists()


def test_a_record_touches_no_private_file(tmp_path: Path) -> None:
    private, store = tmp_path / "private", Store(tmp_path / "store")
    private.write_text("key")
    private.chmod(0o600)
    before = private.stat()
    record = forge(store, str(private), sha256_file(private))
    for use in (store.record, lambda name: store.adopt(tmp_path / "store", [name])):
        with pytest.raises(DamageError, match="as its file; delete the folder"):
            use(record.fingerprint)
    with pytest.raises(DamageError, match="as its file; delete the folder"):
        Store(tmp_path / "away").adopt(tmp_path / "store", [record.fingerprint])
    assert (private.stat().st_mode, private.stat().st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("name", ["record.json", "failure.json", "work/x", "curve.parquet/", "", "a;b\nc"])
def test_a_record_names_only_what_a_cell_has(tmp_path: Path, name: str) -> None:
    record = forge(Store(tmp_path), name, "0" * 64)
    with pytest.raises(DamageError, match=r"^[^\n]* as its file; delete the folder and run again$"):
        Store(tmp_path).record(record.fingerprint)


def test_a_fingerprint_leads_nowhere_else(tmp_path: Path) -> None:
    for name in ("..", "../x", "/etc", "A" * 64, "a" * 64 + "\n"):
        with pytest.raises(DamageError, match="is no fingerprint of a cell; run `dvc repro` to plan again"):
            Store(tmp_path).status(name)


def test_completeness_needs_the_evaluation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = finished(store)
    assert not store.complete(record.fingerprint, "e" * 64)
    store.put_evaluation(record.fingerprint, "e" * 64, {"loss": 1.0})
    assert store.complete(record.fingerprint, "e" * 64)
    assert not store.complete(record.fingerprint, "f" * 64)


def test_a_number_that_overflows_is_damage(tmp_path: Path) -> None:
    write_sealed(tmp_path / "x.json", {"loss": 1.5})
    path = tmp_path / "x.json"
    path.write_text(path.read_text().replace("1.5", "1e999"))
    with pytest.raises(DamageError, match=r"x\.json does not match its digest"):
        read_sealed(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_sealed(path, {"a": 1})

    def fail() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read_sealed(path) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_sealed_json_keeps_floats_exactly(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-300, 3.141592653589793, 1 / 3]
    write_sealed(tmp_path / "x.json", {"v": values})
    assert read_sealed(tmp_path / "x.json") == {"v": values}
    assert json.loads((tmp_path / "x.json").read_text())["body"]["v"] == values


def test_a_record_of_before_is_read_and_its_damage_seen(tmp_path: Path) -> None:
    """The digest was once of the body as `json.dumps` tells it, whatever the file's white space."""
    store = Store(tmp_path)
    record = finished(store)
    body = json.loads(record.model_dump_json())
    path = store.folder(record.fingerprint) / "record.json"
    old = json.dumps({"sha256": hashlib.sha256(json.dumps(body).encode()).hexdigest(), "body": body}, indent=1) + "\n"
    path.write_text(old)
    assert store.record(record.fingerprint) == record
    assert store.status(record.fingerprint) == "done"
    path.write_text(old.replace('"steps_done": 1', '"steps_done": 2'))
    with pytest.raises(DamageError, match="does not match its digest"):
        store.record(record.fingerprint)
