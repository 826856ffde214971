"""The file store of MLflow: `mlruns/<experiment>/<run id>` with `meta.yaml`, and a file per metric, parameter and tag.

A metric's file has a line `timestamp value step` per point, in the order of their logging
(https://mlflow.org/docs/latest/ml/tracking/backend-stores/, `mlflow/store/tracking/file_store.py`). Status is a number:
1 running, 2 scheduled, 3 finished, 4 failed, 5 killed.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from crossover.logs.launches import join
from crossover.logs.logged import LoggedRun, read_yaml
from crossover.runs.text import number

_STATUS = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}
_ABOUT = ("run_id", "experiment_id")


def is_mlflow(meta: Path) -> bool:
    """Whether a `meta.yaml` is that of a run: experiments have one too, without metrics."""
    return meta.name == "meta.yaml" and (meta.parent / "metrics").is_dir()


def read_mlflow(meta: Path) -> list[LoggedRun]:
    """The run that a `meta.yaml` describes; one that was deleted is none. Raises `DamageError` for a broken file."""
    about, folder = read_yaml(meta), meta.parent
    if about.get("lifecycle_stage") == "deleted":
        return []
    status = about.get("status")
    run = LoggedRun(str(about.get("run_name") or _tag(folder, "mlflow.runName") or folder.name), meta)
    run.facts = {name: str(about[name]) for name in _ABOUT if about.get(name) is not None}
    run.facts["status"] = _STATUS.get(status, str(status)) if isinstance(status, int) else str(status).lower()
    for name, path in _files(folder / "params"):
        text = path.read_text(errors="replace").strip()
        value = number(text)
        run.facts[name] = text if value is None else int(value) if text.lstrip("-").isdigit() else value
    for name, path in _files(folder / "metrics"):
        run.begin()
        for line in path.read_text(errors="replace").splitlines():
            parts = line.split()
            values = [number(part) for part in parts]
            if len(parts) == 3 and math.isfinite(step := _or_nan(values[2])) and (value := values[1]) is not None:
                run.log(step, {name: value})
            elif line.strip():
                run.notes.append(f"left out a line of metrics/{name} that is no `timestamp value step`")
    return join([run], same=str(about.get("run_id")))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names with a slash are folders."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _tag(folder: Path, name: str) -> str:
    path = folder / "tags" / name
    return path.read_text(errors="replace").strip() if path.is_file() else ""
