"""The stage `report`: results of all active studies and verdicts -> data/report/index.html, docs/findings.md.

python -m stages.report
"""

import sys
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.files import read_json, write_bytes
from crossover.ledger.chain import read_ledger
from crossover.ledger.outcomes import recorded
from crossover.ledger.scoring import score_all
from crossover.plots.house import javascript
from stages.fit.forecasts import own_losses
from stages.report.page import findings, render
from stages.report.regimes import on_one_map, regimes
from stages.report.results import RESULTS, read_results
from stages.study.params import load_params
from stages.study.processes import die_with_this_parent
from stages.verdicts.words import read_verdicts

REPORT, DOCS = Path("data/report"), Path("docs")


def main() -> None:
    """Write the page, the findings and their figure."""
    params = load_params()
    studies = [read_results(key, params) for key in params.active]
    tokens = read_json(RESULTS / "tokens.check.json", "run `dvc repro check_tokens`")
    verdicts = read_verdicts()
    panels = regimes({params.active[results.key].study: results for results in studies}, verdicts)
    ledger = read_ledger()
    record = score_all(ledger.forecasts, recorded(ledger.outcomes, own_losses), ledger)
    write_bytes(REPORT / "index.html", render(studies, tokens, verdicts, panels, params, record).encode())
    write_bytes(REPORT / "vega.js", javascript().encode())  # for `dvc plots`
    write_bytes(DOCS / "findings.md", findings(params, verdicts, bool(panels)).encode())
    if panels:
        write_bytes(DOCS / "regimes.png", on_one_map(panels).png())
    print(f"open {REPORT / 'index.html'}")


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
