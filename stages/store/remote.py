"""A store behind an fsspec URL, in the same layout. Of what it lists only known names are taken; nothing is deleted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from crossover.base.errors import CrossoverError
from crossover.base.files import replacing
from crossover.base.secrets import masked
from stages.store.names import RECORD, is_fingerprint, travels


class Remote:
    """The same layout below an fsspec URL. Raises `CrossoverError` that names the URL where it cannot be reached."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        with self._reaching():
            filesystem, path = fsspec.core.url_to_fs(self.url)
        return filesystem, path

    @cached_property
    def _known(self) -> set[str]:
        """Fingerprints of finished cells, listed once: what another worker finishes meanwhile is found next time."""
        filesystem, path = self._opened
        with self._reaching():
            filesystem.invalidate_cache()
            files = [name.rsplit("/", 2) for name in filesystem.find(path)]
        return {file[-2] for file in files if file[-1] == RECORD and len(file) > 1 and is_fingerprint(file[-2])}

    def has(self, fingerprint: str) -> bool:
        """Whether the remote had a finished cell of that fingerprint when it was listed, or has been sent one since."""
        return fingerprint in self._known

    def fetch(self, fingerprint: str, folder: Path) -> bool:
        """Bring a finished cell here, the record last; False where there is none."""
        if not self.has(fingerprint):
            return False
        filesystem, path = self._opened
        with self._reaching():
            names = [name.rsplit("/", 1)[-1] for name in filesystem.ls(f"{path}/{fingerprint}", detail=False)]
        for name in sorted(filter(travels, names), key=lambda name: name == RECORD):
            self.fetch_file(folder / name)
        return True

    def fetch_file(self, target: Path) -> None:
        """Bring one file of a cell here, if the remote has it."""
        filesystem, path = self._opened
        source = f"{path}/{target.parent.name}/{target.name}"
        with self._reaching():
            if target.parent.name in self._known and filesystem.exists(source):
                self._get(source, target)

    def _get(self, source: str, target: Path) -> None:
        with replacing(target) as draft:
            self._opened[0].get_file(source, str(draft))

    def send(self, folder: Path, names: list[str]) -> None:
        """Upload files of a cell, in order."""
        filesystem, path = self._opened
        with self._reaching():
            filesystem.makedirs(f"{path}/{folder.name}", exist_ok=True)
            for name in names:
                filesystem.put_file(str(folder / name), f"{path}/{folder.name}/{name}")
        if RECORD in names:
            self._known.add(folder.name)

    def send_beside(self, root: Path, names: list[str]) -> None:
        """Upload files that a store keeps beside its cells, by their paths below `root`."""
        filesystem, path = self._opened
        with self._reaching():
            for name in names:
                target = f"{path}/{name}"
                filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
                filesystem.put_file(str(root / name), target)

    def fetch_beside(self, folder: Path, known: Callable[[str], bool]) -> None:
        """Bring here the files of a folder beside the cells whose names are `known`."""
        filesystem, path = self._opened
        with self._reaching():
            filesystem.invalidate_cache()
            away = f"{path}/{folder.name}"
            names = [name.rsplit("/", 1)[-1] for name in filesystem.find(away)] if filesystem.exists(away) else []
            for name in filter(known, names):
                self._get(f"{away}/{name}", folder / name)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise CrossoverError(
                masked(f"the store {self.url} needs another package ({error}); install it, s3fs for S3")
            ) from None
        except Exception as error:
            if not isinstance(error, OSError | ValueError) and not type(error).__module__.startswith("botocore"):
                raise
            raise CrossoverError(masked(f"the store {self.url} cannot be reached ({error})")) from None
