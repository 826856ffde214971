"""Files that are either whole or absent: temporary name, fsync, rename; and JSON that carries its own digest."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from crossover.base.errors import DamageError, UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        _fsync(draft)
        draft.replace(path)
        _fsync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def write_named(path: Path, content: bytes) -> None:
    """Write what the user named a place for. Raises `UsageError` that names it where it cannot be written."""
    try:
        write_bytes(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another place, or make room") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path, remedy: str) -> Any:
    """Read JSON; a missing or broken file is a `DamageError` that ends with `remedy`."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DamageError(f"{path} is missing; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{path} is not valid JSON ({error}); {remedy}") from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """SHA-256 of UTF-8 text, as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _sealed(body: bytes) -> bytes:
    """JSON of a body, itself in JSON, with the SHA-256 of its bytes."""
    return b'{\n"sha256": "%b",\n"body": %b\n}\n' % (hashlib.sha256(body).hexdigest().encode(), body)


_BODY = slice(_sealed(b"").index(b"\n}\n"), -len(b"\n}\n"))


def write_sealed(path: Path, body: dict[str, Any]) -> None:
    """Write `body` together with its SHA-256, so that `read_sealed` notices a changed byte."""
    write_bytes(path, _sealed(json.dumps(body, indent=1, allow_nan=False).encode()))


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The body written by `write_sealed`, or None where the file is absent.

    Raises `DamageError` where the file is not what was written.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if content != _sealed(content[_BODY]):
        raise DamageError(f"{path} does not match its digest; delete it and run again")
    body: dict[str, Any] = from_json(content[_BODY])  # half the time of `json`, and there may be 100,000
    return body
