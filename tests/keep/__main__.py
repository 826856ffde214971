"""`make keep`: how often `crossover keep` is wrong, and what it costs, on changes of known worth. Two cores, a quarter
of an hour. Writes the tables of docs/keep.md.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from crossover.answers.keeping.change import DISCARD, KEEP, MORE, Asked
from crossover.answers.keeping.keep import keep
from tests.conftest import SHARED
from tests.keep.loop import SIZES, Change, Lab, Noise, heavy, normal, series

DOCUMENT = Path("docs/keep.md")
SERIES, CHANGES = 2000, 50
NONE = [Change(0.0)] * CHANGES
MIXED = [Change(gain) for gain in (2.0, 0.0, 0.0, -1.0, 0.0)] * (CHANGES // 5)
_STUBBORN = 1e-9  # of `miss`: never discarded

Outcome = tuple[Change, str, int, int]


def tried(
    draw: int, changes: Sequence[Change], noise: Noise, of: int | None, asked: Asked, most: int = 60,
    sizes: tuple[float, ...] = (1.0,),
) -> list[Outcome]:  # fmt: skip
    """One series."""
    lab = Lab(np.random.default_rng([draw, len(changes)]), noise, sizes)
    return list(series(lab, changes, asked, of, most))


def many(count: int, run: Callable[[int], list[Outcome]]) -> list[list[Outcome]]:
    """So many series, on all cores."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(run, range(count), chunksize=max(count // 64, 1)))


def real() -> list[str]:
    """Corpora of DataDecide: are changes that are kept for the largest size better there? The sizes below are shown."""
    table = pd.read_csv(SHARED / "decide/datadecide/runs.csv")
    top = float(table["x"].max())
    came = table[table["x"] == top].groupby("recipe")["loss"].mean()
    pairs = list(permutations(came.index, 2))
    names = ("pairs", "kept", "of these better there", "discarded", "of these worse", "run more")
    lines = head("sizes up to, of the target", *names)
    for part in (2, 4, 8, 16):
        shown = table[table["x"] <= top / part * 1.001]
        columns = (shown["x"].to_numpy(float), shown["loss"].to_numpy(float), shown["recipe"].tolist())
        ask = partial(keep, *columns, pair=shown["seed"].tolist(), asked=Asked(target=top))
        told = [(ask(a, b).verdict, bool(came[b] < came[a])) for a, b in pairs]
        count = {verdict: [better for said, better in told if said == verdict] for verdict in (KEEP, DISCARD, MORE)}
        kept, gone = count[KEEP], count[DISCARD]
        lines.append(
            f"| 1/{part} | {len(pairs)} | {len(kept)} | {sum(kept)} | {len(gone)} | {len(gone) - sum(gone)} "
            f"| {len(count[MORE])} |"
        )
        print(lines[-1], flush=True)
    return lines


def head(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def share(hits: int, of: int) -> str:
    """With its 90% interval (Clopper and Pearson 1934)."""
    low = stats.beta.ppf(0.05, hits, of - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.95, hits + 1, of - hits) if hits < of else 1.0
    return f"{hits / of:.2%} [{low:.2%}, {high:.2%}]"


def is_false(outcome: Outcome) -> bool:
    """A keep of what is no better."""
    return outcome[1] == "keep" and outcome[0].gain <= 0


def falsely(found: list[list[Outcome]]) -> tuple[str, str]:
    """Of changes that are no better, how many were kept; of all keeps of a series, how many were false on average."""
    none = [item for outcomes in found for item in outcomes if item[0].gain <= 0]
    shares = np.array([
        sum(map(is_false, outcomes)) / max(sum(item[1] == "keep" for item in outcomes), 1) for outcomes in found
    ])  # fmt: skip
    around = 1.645 * shares.std() / np.sqrt(len(shares))
    return share(sum(map(is_false, none)), len(none)), f"{shares.mean():.2%} ± {around:.2%}"


def rates() -> list[str]:
    """False keeps."""
    rows = [
        ("each change alone, what to run and when to stop by its answers", NONE, normal, None, Asked(), SERIES, 60),
        ("each change alone, never discarded, 40 runs", NONE, normal, None, Asked(miss=_STUBBORN), SERIES // 20, 40),
        ("a series of 50, none better", NONE, normal, CHANGES, Asked(), SERIES, 60),
        ("the same, heavy tails (t of 4 degrees)", NONE, heavy, CHANGES, Asked(), SERIES, 60),
        ("the same, every fifth better by 2 s.d., every fifth worse by 1", MIXED, normal, CHANGES, Asked(), SERIES, 60),
    ]  # fmt: skip
    lines = head("50 changes each", "series", "no better, and kept", "false of all keeps", "runs per change")
    for name, changes, noise, of, asked, count, most in rows:
        found = many(count, partial(tried, changes=changes, noise=noise, of=of, asked=asked, most=most))
        runs = np.mean([item[2] for outcomes in found for item in outcomes])
        lines.append(f"| {name} | {count:,} | {' | '.join(falsely(found))} | {runs:.1f} |")
        print(lines[-1], flush=True)
    return lines


def fixed_pairs(gain: float, level: float = 0.05, power: float = 0.8) -> int:
    """Pairs that a one-sided t test of a fixed sample needs to show a gain so often, with a noise of its own."""

    def reached(n: int) -> bool:
        return float(stats.nct.sf(stats.t.ppf(1 - level, n - 1), n - 1, gain * n**0.5)) >= power

    return next(n for n in range(2, 1000) if reached(n))


def power() -> list[str]:
    """What a gain costs until it is kept, beside a test of a fixed sample."""
    columns = ("kept", "looks: median, nine in ten")
    lines = head("gain, in s.d. of the difference of two runs", "pairs of a t test, 80% power", *columns,
                 *(f"in a series: {name}" for name in columns))  # fmt: skip
    for gain in (0.5, 1.0, 2.0, 4.0):
        cells = []
        for of in (None, CHANGES):
            found = many(500, partial(tried, changes=[*NONE[:4], Change(gain)], noise=normal, of=of, asked=Asked()))
            mine = [outcomes[-1] for outcomes in found]
            looks = [item[3] for item in mine if item[1] == "keep"]
            often = f"{np.median(looks):.0f}, {np.quantile(looks, 0.9):.0f}" if looks else "–"
            cells += [f"{sum(item[1] == 'keep' for item in mine) / len(mine):.0%}", often]
        lines.append(f"| {gain:g} | {fixed_pairs(gain)} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def sizes() -> list[str]:
    """Gains of 2 s.d. at the smallest of three sizes that hold, fade or turn."""
    lines = head("gain at the largest of three sizes", "kept", "discarded", "undecided after 60 runs", "runs")
    for fading, name in ((0.0, "as at the smallest"), (0.5, "half"), (1.0, "none"), (1.5, "a loss of half")):
        found = many(200, partial(tried, changes=[Change(2.0, fading)], noise=normal, of=None,
                                  asked=Asked(target=SIZES[-1]), sizes=SIZES))  # fmt: skip
        mine = [outcomes[0] for outcomes in found]
        verdicts = [item[1] for item in mine]
        told = [f"{verdicts.count(verdict) / len(mine):.1%}" for verdict in ("keep", "discard", "run more")]
        lines.append(f"| {name} | {' | '.join(told)} | {np.mean([item[2] for item in mine]):.0f} |")
        print(lines[-1], flush=True)
    return lines


def between(text: str, name: str, table: list[str]) -> str:
    """The page with a table where it is marked."""
    mark, body = re.compile(f"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL), "\n".join(table) + "\n"
    assert mark.search(text), name
    return mark.sub(lambda _: body, text, count=1)


def main() -> None:
    """All tables."""
    os.environ["OMP_NUM_THREADS"] = "1"
    text = DOCUMENT.read_text()
    for name, table in (("rates", rates), ("power", power), ("sizes", sizes), ("real", real)):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            text = between(text, name, table())
            DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
