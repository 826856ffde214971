"""What one commit says: small results, verdicts, parameters and the code of the fits, from its files as bytes."""

import ast
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from crossover.base.errors import UsageError
from stages.study.identity import syntax_digest

_CODE = {
    "fit": ("crossover/answers", "crossover/belief", "crossover/laws", "crossover/runs", "stages/fit"),
    "verdicts": ("stages/verdicts",),
}
FOLDERS = ("data/results", "data/verdicts", *_CODE["fit"], *_CODE["verdicts"])
PARAMS = "params.yaml"


@dataclass(frozen=True)
class StudySnapshot:
    """Results of one study at one scale."""

    losses: pd.DataFrame
    fit: dict[str, Any]
    claims: list[dict[str, Any]]
    """Its verdicts, each with the `definition` of what it measures, and the `rule` that judges it."""


@dataclass(frozen=True)
class Snapshot:
    """Results of all studies as one commit, or the workspace, has them."""

    name: str
    studies: dict[str, StudySnapshot]
    params: dict[str, Any]
    """Leaves of params.yaml by dotted name."""
    codes: dict[str, str]
    """Digests of the code that fitted and of the code that judged, comments and docstrings left out."""


def read_snapshot(name: str, files: Mapping[str, bytes]) -> Snapshot:
    """From the files below `FOLDERS` and params.yaml; without studies where there are no results.

    Raises `UsageError` for a file that cannot be read.
    """
    keys = [PurePosixPath(path).parent.name for path in files if path.endswith("/losses.csv")]
    params = _read(name, files, PARAMS, YAML(typ="safe").load, {})
    verdicts = _read(name, files, "data/verdicts/verdicts.json", json.loads, [])
    claims = [
        {**item, "definition": _definition(params, item["id"]), "rule": _rule(params, item)}
        for item in verdicts
        if "id" in item
    ]
    return Snapshot(
        name=name,
        studies={key: _study(name, key, files, claims) for key in sorted(keys)},
        params=dict(leaves(params)),
        codes={what: _code(name, files, folders) for what, folders in _CODE.items()},
    )


def _read(name: str, files: Mapping[str, bytes], path: str, parse: Callable[[bytes], Any], absent: Any) -> Any:
    if path not in files:
        return absent
    try:
        return parse(files[path])
    except (ValueError, YAMLError, SyntaxError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"{path} of {name} cannot be read: {first}; restore it or name another commit") from None


def _definition(params: dict[str, Any], claim: str) -> str:
    """What the effect of a claim is: not what is expected of it, nor how it is told."""
    found = params.get("claims", {}).get(claim) or {}
    return json.dumps({key: found.get(key) for key in ("study", "measure", "given", "centre", "unit")}, sort_keys=True)


def _rule(params: dict[str, Any], item: dict[str, Any]) -> str:
    """All of what is claimed but for its words, and the smallest effect of interest of its scale."""
    told = ("statement", "paper", "differs", "published")
    claim = {key: value for key, value in (params.get("claims", {}).get(item["id"]) or {}).items() if key not in told}
    scale = params.get("scales", {}).get(item.get("scale")) or {}
    return json.dumps([claim, scale.get("interest")], sort_keys=True)


def _study(name: str, key: str, files: Mapping[str, bytes], claims: list[dict[str, Any]]) -> StudySnapshot:
    folder = f"data/results/{key}"
    return StudySnapshot(
        losses=_read(name, files, f"{folder}/losses.csv", lambda body: pd.read_csv(io.BytesIO(body)), None),
        fit=_read(name, files, f"{folder}/fit.json", json.loads, {}),
        claims=[item for item in claims if f"{item.get('study')}-{item.get('scale')}" == key],
    )


def _code(name: str, files: Mapping[str, bytes], folders: tuple[str, ...]) -> str:
    inside = tuple(f"{folder}/" for folder in folders)
    sources = [path for path in files if path.startswith(inside) and path.endswith(".py")]
    return syntax_digest({path: _read(name, files, path, ast.parse, None) for path in sources})


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by dotted name."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from leaves(item, f"{name}.{key}".lstrip("."))
