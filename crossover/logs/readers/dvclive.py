"""A folder of DVCLive: `metrics.json` with the last values, `params.yaml`, a table per metric below `plots/metrics`.

https://dvc.org/doc/dvclive/how-it-works, "Directory structure".
"""

import math
from pathlib import Path

from crossover.base.errors import DamageError, UsageError
from crossover.logs.launches import join
from crossover.logs.logged import APART, LoggedRun, as_number, flatten, parse_json, read_yaml
from crossover.runs.table import read_runs


def is_dvclive(metrics: Path) -> bool:
    """Whether a `metrics.json` is DVCLive's, which has plots or parameters beside it."""
    beside = metrics.parent
    return metrics.name == "metrics.json" and ((beside / "plots" / "metrics").is_dir() or beside.name == "dvclive")


def read_dvclive(metrics: Path) -> list[LoggedRun]:
    """The runs of a folder, one unless it was begun anew. Raises `DamageError` for a broken file."""
    folder = metrics.parent
    run = LoggedRun(folder.absolute().parent.name if folder.name == "dvclive" else folder.name, metrics)
    try:
        last = flatten(parse_json(metrics.read_bytes()))
    except ValueError as error:
        raise DamageError(f"{metrics} is not valid JSON ({error}); copy it again, or leave it out") from None
    plots, names = folder / "plots" / "metrics", set[str]()
    for path in sorted(plots.rglob("*.tsv")):
        name = path.relative_to(plots).with_suffix("").as_posix()
        names.add(name)
        run.begin()
        _add_plot(run, name, path)
    logged = {name.replace(".", "/"): value for name, value in last.items()}
    run.facts = {f"{APART}{name}": value for name, value in logged.items() if name not in names}
    if (folder / "params.yaml").exists():
        run.facts |= flatten(read_yaml(folder / "params.yaml"))
    return join([run])


def _add_plot(run: LoggedRun, name: str, path: Path) -> None:
    try:
        table = read_runs(path, keep_nan=True).table
    except UsageError as error:
        run.notes.append(f"skipped: {error}")
        return
    if "step" not in table or table.columns[-1] == "step":
        run.notes.append(f"skipped: {path} has no step and value in its columns")
        return
    for step, value in zip(table["step"].tolist(), table[table.columns[-1]].tolist(), strict=True):
        at, number = as_number(step), as_number(value)
        if at is not None and math.isfinite(at) and number is not None:
            run.log(at, {name: number})
