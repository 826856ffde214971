"""Which clones of the project need which cells of a store that they share, so that none deletes another's.

    data/store/.clones/<digest>.json  who planned, in which folder (its digest), which study at which scale, when, and
                                      the fingerprints; one file per plan of a clone, replaced when it plans again

A store behind a URL has the same files beside its cells.
"""

import getpass
import os
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from crossover.base.canonical import digest
from crossover.base.errors import CrossoverError, DamageError
from crossover.base.files import read_sealed, sha256_text, write_sealed
from stages.store.marker import CLONES, MARKER, mark, where_permitted
from stages.store.names import is_fingerprint
from stages.store.store import Store

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Clone(BaseModel):
    """A folder of the project on a machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: Annotated[str, Field(pattern=r"^[\w.@+-]+$", max_length=200)]
    """user@host"""
    path: Digest
    """Of the folder's path, which is nobody else's business."""


class Registration(BaseModel):
    """The cells that one plan of a clone needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clone: Clone
    plan: Annotated[str, Field(pattern=r"^[\w-]+$", max_length=200)]
    """Study and scale, as below data/studies."""
    when: AwareDatetime
    fingerprints: list[Digest]


def this_clone() -> Clone:
    """The one in the working directory."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        user = str(os.getuid())
    who = re.sub(r"[^\w.@+-]", "_", f"{user}@{platform.node()}")
    return Clone(who=who[:200], path=sha256_text(str(Path.cwd().resolve())))


def register(store: Store, plan: str, fingerprints: Iterable[str]) -> None:
    """Say in the store which cells a plan of this clone needs; whoever may only read it does without.

    One file is written, and where the store is new its marker; nothing is listed.
    """
    clone = this_clone()
    entry = Registration(clone=clone, plan=plan, when=datetime.now(UTC), fingerprints=list(fingerprints))
    name = f"{CLONES}/{digest([clone.who, clone.path, plan])}.json"
    with where_permitted():
        mark(store.root)
        write_sealed(store.root / name, entry.model_dump(mode="json"))
        if store.remote:
            beside = [MARKER] if (store.root / MARKER).exists() else []
            with suppress(CrossoverError):  # nothing is ever deleted there, and the next stage says what is wrong
                store.remote.send_beside(store.root, [*beside, name])


def registrations(store: Store) -> dict[Path, Registration]:
    """What clones have registered, by file; of a store behind a URL what they have registered there too.

    Raises `DamageError` for a file that does not say which cells it is about.
    """
    folder = store.root / CLONES
    if store.remote:
        store.remote.fetch_beside(folder, _is_registration)
    paths = sorted(folder.iterdir()) if folder.exists() else []
    return {path: _read(path) for path in paths if _is_registration(path.name)}


def _is_registration(name: str) -> bool:
    return name.endswith(".json") and is_fingerprint(name.removesuffix(".json"))


def _read(path: Path) -> Registration:
    try:
        return Registration.model_validate(read_sealed(path))
    except (DamageError, ValidationError):
        raise DamageError(
            f"{path} is damaged, and some clone's cells would not be known; delete it, and let that clone plan again"
        ) from None
