"""What one commit says: small results, verdicts, parameters and the code of the fits, from its files as bytes."""

import ast
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from stages.study.identity import syntax_digest

FOLDERS = ("data/results", "data/verdicts", "stages/fit")
PARAMS = "params.yaml"


@dataclass(frozen=True)
class StudySnapshot:
    """Results of one study at one scale."""

    losses: pd.DataFrame
    fit: dict[str, Any]
    claims: list[dict[str, Any]]
    """Its verdicts."""


@dataclass(frozen=True)
class Snapshot:
    """Results of all studies as one commit, or the workspace, has them."""

    name: str
    studies: dict[str, StudySnapshot]
    params: dict[str, Any]
    """Leaves of params.yaml by dotted name."""
    fit_code: str
    """Digest of the code that fitted, comments and docstrings left out."""


def read_snapshot(name: str, files: Mapping[str, bytes]) -> Snapshot:
    """From the files below `FOLDERS` and params.yaml; without studies where there are no results."""
    keys = [PurePosixPath(path).parent.name for path in files if path.endswith("/losses.csv")]
    verdicts = json.loads(files.get("data/verdicts/verdicts.json", b"[]"))
    return Snapshot(
        name=name,
        studies={key: _study(key, files, verdicts) for key in sorted(keys)},
        params=dict(leaves(YAML(typ="safe").load(files[PARAMS]))) if PARAMS in files else {},
        fit_code=_code({path: body for path, body in files.items() if path.startswith("stages/fit/")}),
    )


def _study(key: str, files: Mapping[str, bytes], verdicts: list[dict[str, Any]]) -> StudySnapshot:
    folder = f"data/results/{key}"
    return StudySnapshot(
        losses=pd.read_csv(io.BytesIO(files[f"{folder}/losses.csv"])),
        fit=json.loads(files.get(f"{folder}/fit.json", b"{}")),
        claims=[item for item in verdicts if f"{item['study']}-{item['scale']}" == key],
    )


def _code(files: Mapping[str, bytes]) -> str:
    return syntax_digest({path: ast.parse(body) for path, body in files.items() if path.endswith(".py")})


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by dotted name."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from leaves(item, f"{name}.{key}".lstrip("."))
