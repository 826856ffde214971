"""The stage `report`: results of all active studies and verdicts -> data/report (page, PNGs), docs/findings.md.

python -m stages.report
"""

import sys
from pathlib import Path

from stages.report.page import figures, findings, render
from stages.report.results import RESULTS, read_results
from stages.report.verdicts import read_verdicts, regimes_figure
from stages.study.errors import guarded
from stages.study.files import read_json, write_bytes
from stages.study.params import load_params
from stages.study.processes import die_with_this_parent

REPORT, DOCS = Path("data/report"), Path("docs")


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
    verdicts = read_verdicts()
    regimes = regimes_figure({params.active[results.key].study: results for results, _ in studies}, verdicts)
    write_bytes(REPORT / "index.html", render(studies, tokens, verdicts, regimes).encode())
    text = findings(params, [results for results, _ in studies], verdicts, regimes is not None)
    write_bytes(DOCS / "findings.md", text.encode())
    if regimes is not None:
        write_bytes(DOCS / "regimes.png", regimes)
    print(f"open {REPORT / 'index.html'}")


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
