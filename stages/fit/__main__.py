"""The stage `fit`: losses.csv -> fit.json and metrics.json of one study at one scale.

python -m stages.fit lr_crossover pocket
"""

import argparse
import sys
from pathlib import Path

from stages.fit.study import fit_study, metrics
from stages.study.errors import guarded
from stages.study.files import write_json
from stages.study.tables import LOSSES, read_csv

RESULTS = Path("data/results")


def main() -> None:
    """Fit one study and write its results beside the losses."""
    parser = argparse.ArgumentParser(prog="python -m stages.fit", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    arguments = parser.parse_args()
    folder = RESULTS / f"{arguments.study}-{arguments.scale}"
    fit = fit_study(read_csv(folder / "losses.csv", LOSSES).to_pandas())
    write_json(folder / "fit.json", fit.to_json())
    write_json(folder / "metrics.json", metrics(fit))
    for pair in fit.comparisons:
        for side in pair.sides:
            low, high = side.difference.low, side.difference.high
            span = f"[{low:+.3f}, {high:+.3f}]" if low is not None and high is not None else "[no interval]"
            where = f"{pair.b} - {pair.a} {side.name} the meeting point"
            print(f"{where}: {side.difference.value:+.3f} {span} nats: {side.verdict}")
        print(f"{pair.b} against {pair.a}: {pair.verdict}")
    for bowl in fit.bowls:
        place = "at the edge of the grid" if bowl.optimum is None else f"{bowl.optimum:.4g}"
        print(f"{bowl.recipe} width {bowl.width}: best learning rate {place}")


if __name__ == "__main__":
    sys.exit(guarded(main))
