"""The stage `report`: results of all active studies -> data/report/index.html and PNGs.

python -m stages.report
"""

import sys
from pathlib import Path

from stages.report.page import figures, render
from stages.report.results import RESULTS, read_results
from stages.study.errors import guarded
from stages.study.files import read_json, write_bytes
from stages.study.params import load_params
from stages.study.processes import die_with_this_parent

REPORT = Path("data/report")


def main() -> None:
    """Write the page and its figures."""
    params = load_params()
    studies = []
    for key, item in params.active.items():
        results = read_results(key, params.study(item.study))
        shown = figures(results)
        for figure in shown:
            write_bytes(REPORT / f"{figure.name}.png", figure.png)
        studies.append((results, shown))
    tokens = read_json(RESULTS / "tokens.check.json", "run `dvc repro check_tokens`")
    write_bytes(REPORT / "index.html", render(studies, tokens).encode())
    print(f"open {REPORT / 'index.html'}")


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
