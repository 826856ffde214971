"""A folder of DVCLive: `metrics.json` with the last values, `params.yaml`, a table per metric below `plots/metrics`.

https://dvc.org/doc/dvclive/how-it-works, "Directory structure".
"""

from pathlib import Path

import numpy as np

from crossover.base.errors import DamageError
from crossover.logs.logged import APART, LoggedRun, flatten, parse_json, read_yaml
from crossover.logs.points import Points
from crossover.runs.text import read_text


def is_dvclive(metrics: Path) -> bool:
    """Whether a `metrics.json` is DVCLive's, which has plots or parameters beside it."""
    beside = metrics.parent
    return metrics.name == "metrics.json" and ((beside / "plots" / "metrics").is_dir() or beside.name == "dvclive")


def read_dvclive(metrics: Path) -> list[LoggedRun]:
    """The run of a folder. Raises `DamageError` for a broken file."""
    folder = metrics.parent
    run = LoggedRun(folder.absolute().parent.name if folder.name == "dvclive" else folder.name, metrics)
    try:
        last = flatten(parse_json(metrics.read_bytes()))
    except ValueError as error:
        raise DamageError(f"{metrics} is not valid JSON ({error}); copy it again, or leave it out") from None
    plots = folder / "plots" / "metrics"
    for path in sorted(plots.rglob("*.tsv")):
        table, _ = read_text(path, keep_nan=True)
        name, values = path.relative_to(plots).with_suffix("").as_posix(), table.columns[-1]
        if "step" in table and values != "step":
            points = table[["step", values]].dropna(subset="step").itertuples(index=False)
            known = np.array([(step, value) for step, value in points if value is not None], float).reshape(-1, 2)
            run.curves |= {name: Points.sort(*known.T)} if len(known) else {}
    logged = {name.replace(".", "/"): value for name, value in last.items()}
    run.facts = {f"{APART}{name}": value for name, value in logged.items() if name not in run.curves}
    if (folder / "params.yaml").exists():
        run.facts |= flatten(read_yaml(folder / "params.yaml"))
    return [run]
