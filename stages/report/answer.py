"""What `make study` ends with: the answer of each study that it was asked for in a sentence, and where the page is.

python -m stages.report.answer lr_crossover pocket
"""

import argparse
import sys

from crossover.base.entry import guarded
from stages.report.results import read_results
from stages.report.words import headline
from stages.study.params import load_params

PAGE = "data/report/index.html"


def main() -> None:
    """Print the answers and the path of the page."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.answer", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    asked = parser.parse_args()
    params = load_params()
    for key, item in params.active.items():
        if item.scale == asked.scale and asked.study in ("all", item.study):
            said = headline(read_results(key, params))
            print(f"\n{params.study(item.study).title}" + (f"\n  {said}" if said else f"\n  see {PAGE}#{key}"))
    print(f"\nThe page: {PAGE}")


if __name__ == "__main__":
    sys.exit(guarded(main))
