"""What makes two things the same: canonical JSON, its SHA-256, and digests of the source code that computes them.

A digest of source walks the abstract syntax of the modules that are really imported, so comments, docstrings and
layout do not count, and any change of meaning does. The walk is the same on every supported Python.
"""

import ast
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stages.study.files import sha256_text

ROOT = Path(__file__).resolve().parents[2]


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, shortest round-trip floats.

    Raises TypeError for anything without a deterministic form: sets, objects, NaN, infinities, non-string keys.
    """
    _require_text_keys([value])
    try:
        return _ENCODER.encode(value)
    except ValueError as error:
        raise TypeError(f"no canonical form: {error}") from None


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _require_text_keys(value: Any) -> None:
    """JSON turns other keys into text; whatever else has no form it refuses itself."""
    if isinstance(value, dict):
        if other := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"key {other[0]!r} is not a string")
        value = value.values()
    for item in value:
        if isinstance(item, (dict, list, tuple)):
            _require_text_keys(item)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hex digits."""
    return sha256_text(canonical_json(value))


@cache
def source_digest(*modules: str, ignore: str = "\0") -> str:
    """Digest of the named modules and of every `stages` module they import, directly or not.

    Modules whose name starts with `ignore` are left out.
    """
    files = sorted(source_files(*modules).items())
    return syntax_digest({name: ast.parse(path.read_bytes()) for name, path in files if not name.startswith(ignore)})


def syntax_digest(trees: Mapping[str, ast.AST]) -> str:
    """Digest of sources by name: equal where only comments, docstrings or layout differ."""
    return digest({name: _syntax(tree) for name, tree in trees.items()})


def source_files(*modules: str) -> dict[str, Path]:
    """The named modules and every `stages` module they import, directly or not, with their files."""
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
    if not name.startswith("stages."):
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
