"""The embedded corpus: docstrings and prose of the standard library and of installed packages.

Real technical English that every installation already has; not web text. It depends on the lock and on the Python
version, nothing else. Files are visited in the order of a digest of their path, so that any prefix of
the stream is an even mix of all packages.
"""

import ast
import hashlib
import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

from stages.study.errors import UsageError

_SHORTEST = 40  # characters; shorter docstrings are labels rather than prose
_SKIPPED = {"tests", "test", "testing", "idlelib", "site-packages", "turtledemo", "_vendor", "vendored"}
_SENTENCE = re.compile(r"[a-z]+[ ,][a-z]+ ?[a-z]* ?", re.IGNORECASE)


def source_files(package: str) -> list[tuple[str, Path]]:
    """Python files of a package as (name inside the package, path). `python` is the standard library."""
    if package == "python":
        root = Path(sysconfig.get_paths()["stdlib"])
        paths = [(path.relative_to(root).as_posix(), path) for path in root.rglob("*.py")]
    else:
        paths = [(str(file), Path(str(file.locate()))) for file in _distribution_files(package) if file.suffix == ".py"]
    return sorted((f"{package}/{name}", path) for name, path in paths if not _SKIPPED & set(PurePosixPath(name).parts))


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


def documents(packages: list[str]) -> Iterator[str]:
    """Docstrings of the packages, one document per file, without exact repeats."""
    files = [file for package in packages for file in source_files(package)]
    files.sort(key=lambda file: hashlib.sha256(file[0].encode()).digest())
    known: set[bytes] = set()
    for passages in _extract_all(path for _, path in files):
        fresh = []
        for passage in passages:
            key = hashlib.sha256(passage.encode()).digest()[:16]
            if key not in known:
                known.add(key)
                fresh.append(passage)
        if fresh:
            yield "\n\n".join(fresh)


def _extract_all(paths: Iterator[Path]) -> Iterator[list[str]]:
    """Parse in parallel, in order, without running far ahead of what is consumed."""
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        while batch := list(islice(paths, 256)):
            yield from pool.map(extract, batch, chunksize=16)


def extract(path: Path) -> list[str]:
    """Prose of one source file, in its order: the cleaned docstrings, and the topics of `pydoc_data`."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []  # templates and files for another Python
    texts = _topics(tree) if path.parent.name == "pydoc_data" else _docstrings(tree)
    return [prose for text in texts if len(prose := _prose(text)) >= _SHORTEST]


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _topics(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _prose(text: str) -> str:
    """Paragraphs that read as sentences; examples, tables, field lists and rules are left out."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if not part.lstrip().startswith(">>>"))
    return "\n".join(part for part in paragraphs if _reads_as_prose(part)).encode("utf-8", "ignore").decode()


def _reads_as_prose(paragraph: str) -> bool:
    words = sum(len(match) for match in _SENTENCE.findall(paragraph))
    return len(paragraph) >= 30 and words > 0.4 * len(paragraph)
