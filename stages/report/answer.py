"""What `make study` ends with: the answer of each study that it was asked for, and where the page shows it.

python -m stages.report.answer lr_crossover pocket
"""

import argparse
import sys

from crossover.base.entry import guarded
from stages.report.card import make_card
from stages.report.results import read_results
from stages.study.params import load_params
from stages.verdicts.words import read_verdicts

PAGE = "data/report/index.html"


def main() -> None:
    """Print the answers and the path of the page."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.answer", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    asked = parser.parse_args()
    params, verdicts = load_params(), read_verdicts()
    keys = [
        key for key, item in params.active.items() if item.scale == asked.scale and asked.study in ("all", item.study)
    ]
    for key in keys:
        card = make_card(read_results(key, params), verdicts, params)
        print("\n  ".join([f"\n{card.question}", *card.said()]))
    print(f"\nThe page: {PAGE}" + (f"#{keys[0]}" if len(keys) == 1 else ""))


if __name__ == "__main__":
    sys.exit(guarded(main))
