"""How the settings of scales were chosen, by the rule of `tests/scan/settings.py`.

python -m tests.scan FOLDER pocket c    a project is made there, and goes on if it is; batches are scanned for c alone.
python -m tests.scan FOLDER desk        the rate at its pivot
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from stages.cells.runs import read_runs
from stages.store.store import Store
from stages.study.params import load_params
from stages.verdicts.design import detectable
from stages.verdicts.measures import paired_difference
from stages.verdicts.tables import Tables, read_losses
from tests.conftest import REPOSITORY, Project, make_project
from tests.scan.settings import CANDIDATES, DESK, OCTAVES, declared

_ABLATE = """
import sys
from pathlib import Path
import numpy as np
from safetensors.torch import load_file
from stages.cells.plan import read_plan
from stages.evaluate.losses import losses_per_token
from stages.model.transformer import build
from stages.shards.reading import read_prefix
from stages.store.store import store_from_environment
plan, store = read_plan("ladder", sys.argv[1]), store_from_environment()
for row in plan.rows:
    if row.recipe == "inverse":
        cell, record = row.cell, store.record(row.fingerprint)
        weights = load_file(store.verified(record, "weights.safetensors"))
        held = read_prefix(plan.text_name, plan.text, "validation", plan.validation_tokens + 1)
        windows = np.arange(plan.validation_tokens // cell.seq_len)
        losses = []
        for kept in (1.0, 0.0):
            model = build(cell)
            out = "attention.out.weight"
            model.load_state_dict({k: v * kept if k.endswith(out) else v for k, v in weights.items()})
            losses.append(losses_per_token(model, cell, held, windows).mean())
        print(cell.width, cell.seed, losses[1] - losses[0])
"""


def stage(project: Project, *words: str) -> float:
    """Run a stage; seconds it took."""
    started = time.monotonic()
    project.run(sys.executable, "-m", *words)
    return time.monotonic() - started


def measure(project: Project, study: str, scale: str) -> None:
    """Plan, train and evaluate, unless that is done."""
    if (project.root / f"data/results/{study}-{scale}/losses.csv").exists():
        return
    stage(project, "stages.cells", "plan", study, scale)
    took = stage(project, "stages.cells", "train", study, scale)
    stage(project, "stages.cells", "evaluate", study, scale)
    (project.root / f"data/results/{study}-{scale}/seconds.json").write_text(json.dumps(took))
    print(f"{study}-{scale}: {took:.0f} s", file=sys.stderr, flush=True)


def tables(project: Project, study: str, scale: str) -> Tables:
    return read_losses(project.root / "data/results", {study: f"{study}-{scale}"})


def best_rate(project: Project, name: str) -> tuple[float, pd.Series]:
    """The rate of the least mean loss over seeds, and all means; nan at the edge."""
    losses = tables(project, "rate", name).losses["rate"]
    means = losses.assign(octave=losses["axis_lr_octaves"]).groupby("octave")["loss_validation"].mean()
    best = means.idxmin()
    return (math.nan if best in (min(OCTAVES), max(OCTAVES)) else 2.0 ** float(best)), means


def ladder(project: Project, name: str) -> dict[str, Any]:
    """What a candidate decides, and at what price."""
    scale = f"{name}_tuned"
    found = tables(project, "ladder", scale)
    plan = json.loads((project.root / f"data/studies/ladder-{scale}/plan.json").read_text())
    runs = read_runs(Store(project.root / "data/store"), {row["fingerprint"] for row in plan["rows"]}).to_pandas()
    said: dict[str, Any] = {
        "train": json.loads((project.root / f"data/results/ladder-{scale}/seconds.json").read_text()),
        "core": float(runs["seconds"].sum()),
    }
    for label, (a, b) in {"with": ("constant", "inverse"), "without": ("plain", "inverse_plain")}.items():
        whole = paired_difference(found, "ladder", a, b, "all")
        above = paired_difference(found, "ladder", a, b, "above")
        said[label] = {
            "widths": {str(w): (p.effect.value, p.effect.ci) for w, p in whole.parts.items()},
            "above": (above.effect.value, above.effect.ci),
            "detectable": detectable(above.effect.se or math.nan, above.dof, 0.8),
        }
    losses = found.losses["ladder"]
    spread = losses[losses["recipe"] == "inverse"].groupby("width")["loss_validation"]
    said["sd"] = spread.std().round(4).to_dict()
    said["loss"] = spread.mean().round(3).to_dict()
    lines = project.run(sys.executable, "-c", _ABLATE, scale).stdout.split("\n")
    cost = pd.DataFrame([line.split() for line in lines if line], columns=["width", "seed", "nats"]).astype(float)
    said["attention"] = cost.groupby("width")["nats"].mean().round(3).to_dict()
    return said


def batches(project: Project, name: str) -> dict[str, Any]:
    """Tuned loss by batch at two widths, and where the best batch lies."""
    losses = tables(project, "batch", f"{name}_tuned").losses["batch"]
    tuned = losses.groupby(["width", "batch", "seed"])["loss_validation"].min().reset_index()
    means = tuned.groupby(["width", "batch"])["loss_validation"].mean().unstack()
    return {str(w): {int(b): round(v, 4) for b, v in row.items()} for w, row in means.iterrows()}


def main() -> None:
    """Everything, in order; what is there is not made again."""
    root, names = Path(sys.argv[1]).resolve(), {"pocket": CANDIDATES, "desk": DESK}[sys.argv[2]]
    project = Project(root) if (root / "params.yaml").exists() else make_project(root)
    project.environment.pop("CROSSOVER_CHECKPOINT_SECONDS", None)
    corpora = {"pydocs": load_params(REPOSITORY / "params.yaml").corpora["pydocs"].model_dump()}
    project.params(declared(names, corpora, {}))
    stage(project, "stages.tokens")
    rates: dict[str, float] = {}
    for name in names:
        measure(project, "rate", name)
        rates[name], means = best_rate(project, name)
        print(name, "rate 2^", math.log2(rates[name]), means.round(4).to_dict(), flush=True)
    if names is DESK:
        return
    project.params(declared(names, corpora, {name: rate for name, rate in rates.items() if not math.isnan(rate)}))
    stage(project, "stages.tokens")
    for name in [name for name in rates if not math.isnan(rates[name])]:
        measure(project, "ladder", f"{name}_tuned")
        print(name, json.dumps(ladder(project, name)), flush=True)
    for name in sys.argv[3:]:
        measure(project, "batch", f"{name}_tuned")
        print(name, json.dumps(batches(project, name)), flush=True)


if __name__ == "__main__":
    main()
