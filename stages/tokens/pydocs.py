"""The embedded corpus: docstrings and prose of the standard library and of installed packages.

Real technical English that every installation already has; not web text. It depends on the lock and on the Python
version, nothing else. Docstrings come in the order of their digest, so that any prefix of the stream is an even mix of
all packages. (Shuffled a few hundred files at a time, unseen text lay 0.3 nats above seen text by its kind alone.)
"""

import ast
import gc
import hashlib
import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

from crossover.base.errors import UsageError

_SHORTEST = 80  # characters; shorter docstrings are labels rather than prose
_SKIPPED = {"tests", "test", "testing", "idlelib", "site-packages", "turtledemo", "_vendor", "vendored"}
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")  # where statements hold statements
_SENTENCE = re.compile(r"[a-z]+[ ,][a-z]+ ?[a-z]* ?", re.IGNORECASE)


def source_files(package: str) -> list[tuple[str, Path]]:
    """Python files of a package as (name, path). `python` is the standard library."""
    if package == "python":
        root = Path(sysconfig.get_paths()["stdlib"])
        paths = [(f"python/{path.relative_to(root).as_posix()}", path) for path in root.rglob("*.py")]
    else:
        paths = [(str(file), Path(str(file.locate()))) for file in _distribution_files(package) if file.suffix == ".py"]
    return sorted((name, path) for name, path in paths if not _SKIPPED & set(PurePosixPath(name).parts))


def _distribution_files(package: str) -> list[importlib.metadata.PackagePath]:
    try:
        return importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"corpus pydocs: package '{package}' is not installed; remove it from params.yaml") from None


def versions(packages: list[str]) -> dict[str, str]:
    """What the corpus is made of: a version per package."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {name: python if name == "python" else _version(name) for name in packages}


def _version(package: str) -> str:
    _distribution_files(package)
    return importlib.metadata.version(package)


def documents(packages: Sequence[str], held_out: bool, share: float) -> Iterator[str]:
    """One document per docstring, without exact repeats; of the training or of the held-out packages."""
    files = [file for package in packages for file in source_files(package) if _held_out(file[0], share) == held_out]
    passages = {_key(passage): passage for found in _extract_all([path for _, path in files]) for passage in found}
    yield from (passages[key] for key in sorted(passages))


def _held_out(name: str, share: float) -> bool:
    """Whole subpackages (scipy/stats, python/asyncio) go to one side, as their docstrings resemble each other."""
    subpackage = "/".join(PurePosixPath(name).parts[:2])
    return int.from_bytes(_key(subpackage)[:8], "big") < share * 2**64


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def _extract_all(paths: list[Path]) -> Iterator[list[str]]:
    """Passages of every file, parsed in parallel. Syntax trees have no cycles, so nobody need look for any."""
    with ProcessPoolExecutor(mp_context=get_context("forkserver"), initializer=gc.disable) as pool:
        yield from pool.map(extract, paths, chunksize=16)


def extract(path: Path) -> list[str]:
    """The prose of one source file's docstrings."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []  # templates and files for another Python
    return [prose for text in _docstrings(tree) if len(prose := _prose(text)) >= _SHORTEST]


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Statements only: `ast.walk` would visit every expression too, at twice the time."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        for block in _BLOCKS:
            waiting.extend(getattr(node, block, ()))


def _prose(text: str) -> str:
    """Paragraphs that read as sentences; examples, tables, field lists and rules are left out."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if not part.lstrip().startswith(">>>"))
    return "\n".join(part for part in paragraphs if _reads_as_prose(part)).encode("utf-8", "ignore").decode()


def _reads_as_prose(paragraph: str) -> bool:
    words = sum(len(match) for match in _SENTENCE.findall(paragraph))
    return len(paragraph) >= 30 and words > 0.4 * len(paragraph)
