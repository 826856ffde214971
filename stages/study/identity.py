"""What makes two cells the same beside their settings: digests of the source code that computes them.

A digest of source walks the abstract syntax of the modules that are really imported, so comments, docstrings and
layout do not count, and any change of meaning does. The walk is the same on every supported Python.
"""

import ast
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from crossover.base.canonical import digest
from crossover.base.files import sha256_file

ROOT = Path(__file__).resolve().parents[2]


@cache
def source_digest(*modules: str, ignore: str | tuple[str, ...] = ()) -> str:
    """Digest of the named modules and of every module of ours that they import, directly or not.

    Modules whose name starts with `ignore` are left out.
    """
    files = sorted(source_files(*modules).items())
    return syntax_digest({name: ast.parse(path.read_bytes()) for name, path in files if not name.startswith(ignore)})


def syntax_digest(trees: Mapping[str, ast.AST]) -> str:
    """Digest of sources by name: equal where only comments, docstrings or layout differ."""
    return digest({name: _syntax(tree) for name, tree in trees.items()})


def file_digest(path: Path) -> str:
    """Digest of a file: of its syntax where it is Python that can be read, else of its bytes."""
    if path.suffix == ".py":
        with suppress(SyntaxError, ValueError):
            return syntax_digest({path.name: ast.parse(path.read_bytes())})
    return sha256_file(path)


def source_files(*modules: str) -> dict[str, Path]:
    """The named modules and every module of ours that they import, directly or not, with their files."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or (path := _file_of(name)) is None:
            continue
        found[name] = path
        waiting += _imports(ast.parse(path.read_bytes()))
    return found


def _file_of(name: str) -> Path | None:
    if not name.startswith(("stages.", "crossover.")):
        return None
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _syntax(node: Any) -> Any:
    """The tree as nested lists, without docstrings, positions and empty fields (which vary between Pythons)."""
    if isinstance(node, ast.Constant):
        return ["Constant", repr(node.value)]
    if isinstance(node, ast.AST):
        fields = [[name, _syntax(value)] for name, value in ast.iter_fields(node)]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    if isinstance(node, list):
        return [_syntax(item) for item in node if not _is_docstring(item)]
    return node


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
