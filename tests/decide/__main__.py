"""`make decide`: what the belief says of real ladders, beside simple rules. Writes docs/decide.md.

python -m tests.decide --data DIR [--json OUT] [--sample N] [--models] [--freeze FILE]
"""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from tests.decide.asking import TRIED, columns, instead
from tests.decide.ladders import Question, questions, read_sets
from tests.decide.page import page
from tests.decide.scoring import arms, score

DOCUMENT = Path("docs/decide.md")
EARLIER = Path(__file__).with_name("earlier.json")
MODELS_SAMPLE = 9_000
"""Rows, sets alike, on which other models are scored where all are asked."""
KEY = ["set", "ladder", "a", "b", "range"]


def main() -> None:
    """Ask, score, print, and write the page where every row was asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.decide", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of sets")
    parser.add_argument("--json", type=Path, help="write the scores here")
    parser.add_argument("--sample", type=int, help="so many rows, sets alike, always the same")
    parser.add_argument("--freeze", type=Path, help="write what was said of the sample here")
    parser.add_argument("--models", action="store_true", help="score other models that were tried too")
    parser.add_argument("--page", action="store_true", help=f"write {DOCUMENT}")
    given = parser.parse_args()
    started = time.monotonic()
    sets = read_sets(given.data)
    rows = _ask(list(questions(sets, given.sample)))
    seconds = time.monotonic() - started
    found = {"all": score(rows), **{f"1/{reach}": score(part) for reach, part in rows.groupby("range")}}
    beside = {"In-sample: all ranges, by the constants of all sets": score(instead(rows, "_in"))}
    if given.models:
        some = _ask(list(questions(sets, given.sample or MODELS_SAMPLE)), tried=True)
        beside |= {f"Tried: {name} (in-sample, {len(some):,} questions)": score(instead(some, name)) for name in TRIED}
    if given.freeze:
        said = rows[[*KEY, "p", "mean", "q05", "q25", "q75", "q95"]].round(6)
        given.freeze.write_text(json.dumps(said.to_dict("split", index=False), separators=(",", ":")) + "\n")
    if given.json:
        given.json.write_text(json.dumps(found | beside, indent=1))
    text = page(found, beside, arms(rows), len(rows), seconds, _earlier(rows))
    print(text)
    if given.page:
        machine = f"Made on {os.cpu_count()} cores of {platform.machine()} by `make decide`.\n"
        DOCUMENT.write_text(text + "\n" + machine)


def _ask(asked: list[Question], tried: bool = False) -> pd.DataFrame:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(columns, asked, [tried] * len(asked), chunksize=4)
        return pd.DataFrame([row for part in said for row in part])


def _earlier(rows: pd.DataFrame) -> tuple[dict[str, dict[str, tuple[float, float, float]]], ...] | None:
    """Scores of the code of 2026-11-25 and of today's on the rows that it was asked, where they are among these."""
    if not EARLIER.exists():
        return None
    held = json.loads(EARLIER.read_text())
    before = pd.DataFrame(held["data"], columns=held["columns"])
    before[["ladder", "a", "b"]] = before[["ladder", "a", "b"]].astype(str)
    both = before[KEY].merge(rows, on=KEY)
    if both.empty:
        return None
    said = ["p", "mean", "q05", "q25", "q75", "q95"]
    old = both.drop(columns=said).merge(before, on=KEY)
    return score(old), score(both)


if __name__ == "__main__":
    sys.exit(main())
