"""The store: one folder per cell fingerprint, shared by every study, branch and worker. Nothing in it is ever
overwritten by something else, and nothing is deleted but by hand (`crossover gc`, `crossover doctor --fix`).

    data/store/.crossover-store  says that this is a store (`stages.store.marker`)
    data/store/.clones/          which clones need which cells (`stages.store.clones`)
    data/store/<fingerprint>/
      curve.parquet           the training curve
      weights.safetensors     the final weights, where kept
      record.json             written last: without it the cell does not exist
      evaluation-<digest>.json  losses of the final model, one file per evaluation digest
      checkpoint.safetensors  only while the cell is unfinished
      work/                   the same, of a program that trains it instead of our loop
      failure.json            only where the last attempt crashed

With a remote (any fsspec URL: a shared folder, S3) the folder is a cache of it: what is missing here is fetched, what
is finished here is uploaded, in both directions the record last; the stage `train` makes up for uploads that broke off
and for cells that are older than the remote. Checkpoints and failures stay where they happened.
"""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from crossover.base.canonical import digest
from crossover.base.errors import DamageError
from crossover.base.files import read_json, read_sealed, replacing, sha256_file, sha256_text, write_sealed
from stages.store.deleting import delete_cell
from stages.store.marker import where_permitted
from stages.store.names import FILES, RECORD, WORK, is_evaluation, is_fingerprint
from stages.store.remote import Remote
from stages.study.cell import Cell
from stages.study.devices import is_gpu

STORE = Path("data/store")


def _read_sealed(path: Path) -> dict[str, Any] | None:
    """As `read_sealed`; also the form of before, whose digest is of the body as `json.dumps` tells it.

    What another user of a shared store has closed to this one is absent; `Store.failure` says so.
    """
    try:
        return read_sealed(path)
    except PermissionError:
        return None
    except DamageError:
        older = read_json(path, "delete it and run again")
        body: dict[str, Any] | None = older.get("body") if isinstance(older, dict) else None
        if not isinstance(body, dict) or older.get("sha256") != sha256_text(json.dumps(body)):
            raise
        return body


class Payload(BaseModel):
    """What a fingerprint hashes: the cell, and the digests of everything that decides its outcome."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: Cell
    tokenizer: str
    data: list[str]
    """Digests of the shards the cell reads, in order."""
    source: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the payload's canonical JSON."""
        return digest(self.model_dump())


class Provenance(BaseModel):
    """Where and how a cell was run. Never part of its identity, and by machine and hour only in the store."""

    model_config = ConfigDict(extra="forbid")

    commit: str
    host: str
    device: str
    torch: str
    numpy: str = ""
    """And the kernels of its BLAS where OPENBLAS_CORETYPE names them; "" in records older than its use in training."""
    python: str
    started: str
    seconds: float
    tokens_per_second: float

    def lasting(self) -> "Provenance":
        """What a run elsewhere with the same bits shares: a GPU's name or `cpu`, and the build of torch."""
        return Provenance(
            commit="", host="", device=self.device if is_gpu(self.device) else "cpu", torch=self.torch, python="",
            started="", seconds=0.0, tokens_per_second=0.0,
        )  # fmt: skip


class Acceptance(BaseModel):
    """On what grounds a cell trained under other source counts as one of this source."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    """Under which it was kept before: trained, or accepted in its turn."""
    source: str
    """Digest of the source that it had then."""
    verified: list[str]
    """Fingerprints of the sampled cells that were trained again, and came out the same."""
    tolerance: float
    """Of their held-out losses, in nats; 0: bit by bit."""


class Record(BaseModel):
    """A finished cell."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    payload: Payload
    status: Literal["done", "diverged"]
    steps_done: int
    n_spikes: int
    loss_init: float | None
    """None where already the first loss is not finite."""
    loss_online: float | None
    files: dict[str, str]
    """SHA-256 of every other file of the cell. Known names alone: each becomes a path that is read and written."""
    provenance: Provenance
    accepted: Acceptance | None = None
    """Where it was trained under other source."""

    @field_validator("files")
    @classmethod
    def _known(cls, files: dict[str, str]) -> dict[str, str]:
        strange = [name for name in files if name not in FILES]
        if strange:
            raise PydanticCustomError("strange_file", "{what}", {"what": f"names {strange[0][:200]!r} as its file"})
        return files


class Store:
    """Reads and writes cells below one folder, and the remote that it caches, where there is one."""

    def __init__(self, root: Path = STORE, remote: Remote | None = None) -> None:
        self.root = root
        self.remote = remote

    @classmethod
    def at(cls, url: str) -> "Store":
        """The store at a folder, or at an fsspec URL cached in `data/store`."""
        return cls(STORE, Remote(url)) if "://" in url else cls(Path(url))

    @property
    def url(self) -> str:
        """What `at` takes, from any working directory on a machine that sees the same paths."""
        return self.remote.url if self.remote else str(self.root.resolve())

    def folder(self, fingerprint: str) -> Path:
        """Where the cell of that fingerprint lives. Raises `DamageError` for a name that could lead elsewhere."""
        return self._path(fingerprint)

    def _path(self, fingerprint: str, *names: str) -> Path:
        if not is_fingerprint(fingerprint):
            raise DamageError(f"{fingerprint[:200]!r} is no fingerprint of a cell; run `dvc repro` to plan again")
        return self.root.joinpath(fingerprint, *names)

    def record(self, fingerprint: str) -> Record | None:
        """The record of a finished cell, or None. Raises `DamageError` where it was altered."""
        record = self._read_record(fingerprint)
        if record and any(not os.access(self.folder(fingerprint) / name, os.R_OK) for name in self._there(record)):
            return None
        if record is None and self.remote and self.remote.fetch(fingerprint, self.folder(fingerprint)):
            return self._fetched(fingerprint)
        return record

    def _read_record(self, fingerprint: str) -> Record | None:
        path = self.folder(fingerprint) / RECORD
        body = _read_sealed(path)
        if body is None:
            return None
        try:
            record = Record.model_validate(body)
        except ValidationError as error:
            strange = [item["msg"] for item in error.errors() if item["type"] == "strange_file"]
            why = strange[0] if strange else "is no record of this version"
            raise DamageError(f"{path} {why}; delete the folder and run again") from None
        if record.fingerprint != fingerprint or record.payload.fingerprint != fingerprint:
            raise DamageError(f"{path} belongs to another cell; delete the folder and run again")
        return record

    def _there(self, record: Record) -> list[str]:
        return [name for name in record.files if (self.folder(record.fingerprint) / name).exists()]

    def status(self, fingerprint: str) -> Literal["done", "diverged"] | None:
        """The status of a finished cell, or None. Raises `DamageError`. For many cells: `record` checks more."""
        path = self._path(fingerprint, RECORD)
        body = _read_sealed(path)
        if body is None or body.get("fingerprint") != fingerprint:  # absent, or something to complain about
            record = self.record(fingerprint)
            return record.status if record else None
        return "diverged" if body.get("status") == "diverged" else "done"

    def _fetched(self, fingerprint: str) -> Record | None:
        """Refuse a cell that the remote has damaged, and do not keep it: fetching again would bring the same."""
        try:
            record = self._read_record(fingerprint)
            if record:
                self.check(record)
        except DamageError:
            delete_cell(self.folder(fingerprint))
            where = f"{self.url}/{fingerprint}"
            raise DamageError(f"{where} is damaged; delete it there and run again") from None
        return record

    def finish(self, record: Record) -> None:
        """Write the record, last of the cell's files, and settle it."""
        write_sealed(self.folder(record.fingerprint) / RECORD, record.model_dump())
        self.settle(record)

    def settle(self, record: Record) -> None:
        """What follows a record, and a later run makes up for: drop what only an unfinished cell needs, then upload the
        cell where there is a remote that lacks it.
        """
        folder = self.folder(record.fingerprint)
        if not folder.is_symlink():  # what lies behind a link is another store's
            for name in ("checkpoint.safetensors", "failure.json"):
                with where_permitted():
                    (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / WORK, ignore_errors=True)
        if self.remote and not self.remote.has(record.fingerprint):
            evaluations = [path.name for path in folder.glob("evaluation-*") if is_evaluation(path.name)]
            self.remote.send(folder, [*record.files, *evaluations, RECORD])

    def verified(self, record: Record, name: str) -> Path:
        """Path of a file of the cell after its digest was checked. Raises `DamageError` otherwise."""
        path = self.folder(record.fingerprint) / name
        if not path.exists():
            raise DamageError(f"{path} is missing; delete its folder and run again to retrain the cell")
        if sha256_file(path) != record.files[name]:
            raise DamageError(f"{path} does not match its record; delete its folder and run again to retrain the cell")
        return path

    def check(self, record: Record) -> None:
        """Check every file of a finished cell, evaluations included. Raises `DamageError` for an altered one."""
        for name in record.files:
            self.verified(record, name)
        for path in self.folder(record.fingerprint).glob("evaluation-*.json"):
            if is_evaluation(path.name):
                _read_evaluation(path)

    def evaluation(self, fingerprint: str, evaluation_digest: str) -> dict[str, Any] | None:
        """Losses of the cell under one evaluation, or None."""
        path = self._evaluation_path(fingerprint, evaluation_digest)
        if self.remote and not path.exists():
            self.remote.fetch_file(path)
        body = _read_evaluation(path)
        if body is not None and body["evaluation"] != evaluation_digest:
            raise DamageError(f"{path} belongs to another evaluation; delete it and run again")
        return body["losses"] if body else None

    def put_evaluation(self, fingerprint: str, evaluation_digest: str, losses: dict[str, Any]) -> None:
        """Keep the losses of the cell under one evaluation."""
        path = self._evaluation_path(fingerprint, evaluation_digest)
        write_sealed(path, {"fingerprint": fingerprint, "evaluation": evaluation_digest, "losses": losses})
        if self.remote and self.remote.has(fingerprint):
            self.remote.send(path.parent, [path.name])

    def complete(self, fingerprint: str, evaluation_digest: str) -> bool:
        """Whether the cell is finished and, unless it diverged, has its losses under that evaluation."""
        status = self.status(fingerprint)
        if status is None:
            return False
        return status == "diverged" or self.evaluation(fingerprint, evaluation_digest) is not None

    def _evaluation_path(self, fingerprint: str, evaluation_digest: str) -> Path:
        return self.folder(fingerprint) / _evaluation_name(evaluation_digest)

    def accept(self, record: Record, payload: Payload, acceptance: Acceptance, evaluation_digest: str) -> None:
        """Keep a finished cell under another payload too, its files copied, its provenance as it was."""
        accepted = record.model_copy(
            update={"fingerprint": payload.fingerprint, "payload": payload, "accepted": acceptance}
        )
        for name in record.files:
            place(self.verified(record, name), self.folder(accepted.fingerprint) / name)
        if losses := self.evaluation(record.fingerprint, evaluation_digest):
            self.put_evaluation(accepted.fingerprint, evaluation_digest, losses)
        self.finish(accepted)

    def failure(self, fingerprint: str) -> str | None:
        """Why the last attempt at an unfinished cell crashed, or why a finished one is of no use here; or None."""
        if closed := self.closed(fingerprint):
            return closed
        body = _read_sealed(self.folder(fingerprint) / "failure.json")
        return body["error"] if body else None

    def closed(self, fingerprint: str) -> str | None:
        """Who has to open a file of a cell that this user may not read; None where there is no such file."""
        for path in (self._path(fingerprint, name) for name in (RECORD, *FILES)):
            try:
                path.open("rb").close()
            except PermissionError:
                return f"{path} may not be read; ask {_owner(path)} for `chmod -R a+rX {path.parent}`"
            except OSError:
                continue
        return None

    def put_failure(self, fingerprint: str, error: str) -> None:
        """Remember why an attempt crashed, until a later one succeeds."""
        with where_permitted():
            write_sealed(self.folder(fingerprint) / "failure.json", {"error": error})

    def materialise(self, record: Record, target: Path) -> None:
        """Copy a finished cell to `target/<fingerprint>`, the record last. Raises `DamageError` for an altered file.

        The copy says what came out, not when, on which host and by whose leave: who trains it again has the same bytes.
        """
        folder = target / record.fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        for name in record.files:
            place(self.verified(record, name), folder / name)
        bare = record.model_copy(update={"provenance": record.provenance.lasting(), "accepted": None})
        write_sealed(folder / RECORD, bare.model_dump())

    def adopt(self, cells: Path, planned: Iterable[str]) -> int:
        """Take into the store the finished cells below `cells` that are planned and that it lacks; returns how many."""
        taken, other = 0, Store(cells)
        there = {path.name for path in cells.iterdir()} if cells.exists() else set()
        for fingerprint in filter(there.__contains__, planned):
            if self.record(fingerprint) or (record := other.record(fingerprint)) is None:
                continue
            for name in record.files:
                place(other.verified(record, name), self.folder(fingerprint) / name)
            place(cells / fingerprint / RECORD, self.folder(fingerprint) / RECORD)
            taken += 1
        return taken


def _owner(path: Path) -> str:
    for place in (path, path.parent):  # a closed folder hides its files
        with suppress(OSError, KeyError):
            return place.owner()
    return "its owner"


def _read_evaluation(path: Path) -> dict[str, Any] | None:
    body = _read_sealed(path)
    if body is None:
        return None
    owner = (path.parent.name, path.name)
    if owner != (body.get("fingerprint"), _evaluation_name(body.get("evaluation", ""))):
        raise DamageError(f"{path} belongs to another cell or evaluation; delete it and run again")
    return body


def _evaluation_name(evaluation_digest: str) -> str:
    return f"evaluation-{evaluation_digest[:16]}.json"


def place(source: Path, target: Path) -> None:
    """Copy a file so that the target is whole or absent."""
    with replacing(target) as draft:
        shutil.copyfile(source, draft)


def store_from_environment() -> Store:
    """The store at $CROSSOVER_STORE, a folder or an fsspec URL; by default `data/store`."""
    return Store.at(os.environ.get("CROSSOVER_STORE", str(STORE)))
