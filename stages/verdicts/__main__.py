"""The stage `verdicts`: the claims of params.yaml and the results of all active studies -> data/verdicts.

python -m stages.verdicts
"""

import sys
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.files import write_json
from crossover.plots.blocks import show, table
from crossover.runs.estimates import plain
from stages.study.params import Params, load_params
from stages.study.processes import die_with_this_parent
from stages.verdicts.claims import Judged, centred, judge_claims, metrics
from stages.verdicts.tables import read_tables

RESULTS, VERDICTS = Path("data/results"), Path("data/verdicts")


def judge_all(params: Params, root: Path = RESULTS) -> list[Judged]:
    """Every claim at every scale that has its study among the active ones."""
    found: list[Judged] = []
    for scale in dict.fromkeys(item.scale for item in params.active.values()):
        keys = {item.study: key for key, item in params.active.items() if item.scale == scale}
        found += judge_claims(params.claims, read_tables(root, keys), scale)
    return found


def main() -> None:
    """Judge all claims, write and print the verdicts."""
    judged = judge_all(load_params())
    write_json(VERDICTS / "verdicts.json", [item.to_json() for item in judged])
    write_json(VERDICTS / "metrics.json", plain(metrics(judged)))
    out = table("", "claim", "verdict", "effect", "90% interval", "tolerance", "power", left=2)
    for item in judged:
        effect = item.effect and centred(item.effect, -item.centre)
        out.add(
            f"{item.id} ({item.scale})",
            item.verdict,
            "-" if effect is None else f"{effect.value:+.3g} {item.unit}",
            "-" if effect is None or effect.ci is None else f"[{effect.ci[0]:+.3g}, {effect.ci[1]:+.3g}]",
            "-" if item.tolerance is None else f"{item.tolerance:.3g}",
            "-" if item.power is None else f"{item.power:.2f}",
        )
    show([out])


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
