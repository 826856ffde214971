"""The stage `fit`: losses.csv and curves.parquet -> fit.json and metrics.json of one study at one scale.

python -m stages.fit lr_crossover pocket
"""

import argparse
import sys
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.files import write_json
from crossover.runs.estimates import plain
from stages.cells.assemble import read_curves
from stages.fit.study import fit_study, metrics
from stages.study.params import load_params
from stages.study.processes import die_with_this_parent
from stages.study.tables import LOSSES, read_csv

RESULTS = Path("data/results")


def main() -> None:
    """Fit one study and write its results beside the losses."""
    parser = argparse.ArgumentParser(prog="python -m stages.fit", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    arguments = parser.parse_args()
    folder = RESULTS / f"{arguments.study}-{arguments.scale}"
    study = load_params().study(arguments.study)
    curves = read_curves(arguments.study, arguments.scale, ["fingerprint", "loss"]).to_pandas()
    fit = fit_study(read_csv(folder / "losses.csv", LOSSES).to_pandas(), study.pairs, curves)
    write_json(folder / "fit.json", fit.to_json())
    write_json(folder / "metrics.json", plain(metrics(fit)))
    for pair in fit.comparisons:
        print(f"{pair.b} against {pair.a}: {pair.verdict}")
        for side in pair.sides:
            ci = side.difference.ci
            span = f"[{ci[0]:+.3f}, {ci[1]:+.3f}]" if ci else "[no interval]"
            print(f"  {side.name} the meeting point: {side.difference.value:+.3f} {span} nats: {side.verdict}")
    for recipe, found in fit.optima.items():
        for cell in found.cells:
            place = "at the edge of the grid" if cell.optimum is None else f"{cell.optimum:.4g}"
            print(f"{recipe} width {cell.at['width']:g}: best learning rate {place}")


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
