"""What `make study` ends with: the answer of each study that it was asked for, what changed, and where the page is.

python -m flows.studies.answer lr_crossover pocket
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.errors import CrossoverError
from flows.studies.snapshots import commit_snapshot, workspace_snapshot
from stages.diff.comparing import compare
from stages.report.card import Card, make_card
from stages.report.results import read_results
from stages.study.params import load_params
from stages.verdicts.words import VERDICTS, read_verdicts

PAGE = "data/report/index.html"
_MOST = 3


def cards(keys: Sequence[str]) -> list[Card]:
    """The answers of active studies; without verdicts where these failed."""
    params, verdicts = load_params(), read_verdicts() if VERDICTS.exists() else []
    return [make_card(read_results(key, params), verdicts, params) for key in keys]


def answer_lines(answers: Sequence[Card], changed: str) -> Iterator[str]:
    """Questions and answers, what changed, and the page, which opens with the study that was asked for."""
    for card in answers[:_MOST]:
        yield ""
        yield card.question
        yield from (f"  {line}" for line in card.said())
    if len(answers) > _MOST:
        yield f"\n{len(answers) - _MOST} more answers are on the page."
    if changed:
        yield f"\n{changed}"
    yield f"The page: {PAGE}" + (f"#{answers[0].key}" if answers else "")


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="python -m flows.studies.answer", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    asked = parser.parse_args()
    active = load_params().active
    keys = [key for key, item in active.items() if item.scale == asked.scale and asked.study in ("all", item.study)]
    print(*answer_lines(cards(keys), _since_the_commit()), sep="\n")


def _since_the_commit() -> str:
    """What moved against the results of the last commit; nothing outside git, as of a download."""
    try:
        return compare(commit_snapshot("HEAD", Path()), workspace_snapshot(Path(), "this run")).headline()
    except CrossoverError:
        return ""


if __name__ == "__main__":
    sys.exit(guarded(main))
