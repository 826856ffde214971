"""The stage `verdicts`: the claims of params.yaml and the results of all active studies -> data/verdicts.

python -m stages.verdicts
"""

import sys
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.files import write_json
from crossover.plots.blocks import show, table
from stages.study.params import Params, load_params
from stages.study.processes import die_with_this_parent
from stages.verdicts.claims import Judged, judge_claims
from stages.verdicts.tables import read_tables
from stages.verdicts.words import counts, lines

RESULTS, VERDICTS = Path("data/results"), Path("data/verdicts")


def judge_all(params: Params, root: Path = RESULTS) -> list[Judged]:
    """Every claim at every scale that has its study among the active ones."""
    found: list[Judged] = []
    for scale in dict.fromkeys(item.scale for item in params.active.values()):
        keys = {item.study: key for key, item in params.active.items() if item.scale == scale}
        size = params.scale(scale)
        found += judge_claims(params.claims, read_tables(root, keys, size), scale, size.interest)
    return found


def main() -> None:
    """Judge all claims, write and print the verdicts."""
    judged = judge_all(load_params())
    said = [item.to_json() for item in judged]
    write_json(VERDICTS / "verdicts.json", said)
    out = table("", "claim", "verdict", "effect", "direction", "size", "of interest", "power", left=5)
    for line in lines(said):
        out.add(f"{line.id} ({line.scale})", line.verdict, line.brief, line.direction, line.size, line.interest,
                line.power)  # fmt: skip
    show([out, counts(said)])


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
