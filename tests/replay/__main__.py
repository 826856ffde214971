"""`make replay`, or `python -m tests.replay [REPEATS] [DRAWS]`: is the advice worth following? Writes docs/replay.md.

Published runs are revealed one by one to four ways of choosing them, from the same first runs and at the same cost;
what they then say of the largest runs, which are held out, is compared. Whether the belief is as sure as it may be is
asked of five more tables and of our own studies. Two-recipe ladders of known truth are decided.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from scipy import stats

from tests.replay.ladders import SHAPES, TRUTHS, decide
from tests.replay.pairs import differences, studies
from tests.replay.strategies import FIRST, OTHERS, Chosen, believed, judge, replay, trial
from tests.replay.tables import EXAMS, chinchilla, gadre, steplaw, untouched

REPEATS, DRAWS = 100, 20
_TRIALS = 100
SHARES = (0.05, 0.1, 0.2)
DOCUMENT = Path("docs/replay.md")

INTRODUCTION = """# Advice, replayed

`make replay`: {repeats} repeats per line. Every repeat starts from the same {first} runs for all, drawn from
the cheapest quarter of the runs that may be chosen; the first runs count as spent. Each way of choosing may then spend
up to a share of the cost (6 N D) of all runs that may be chosen, and sees a loss only once it has chosen it; ours and
D-optimal look again after every run.

* **Chinchilla**: 240 points less the twelve of most compute, which are held out and predicted.
* **Step Law**: at each of 17 sizes the twelve runs nearest to its published optimum of learning rate and batch; the two
  largest sizes are held out and predicted.

Error: root mean square over the held-out runs of predicted minus measured log loss, in %, mean over repeats with its
90% t interval; no prediction can be better than the noise of the held-out runs, about 0.4%. *Belief* is the posterior
mean that the advice rests on, *Huber* the plain fit of L = E + A/N^a + B/D^b by Huber(1e-3) on log loss; both are shown
for every way of choosing. The last two columns are differences to `advise` by belief, repeat by repeat, with their 90%
intervals: above zero `advise` is better. *Same fit*: the other's runs are read by the belief too, which is a part of
ours, so only the choice of runs differs. *As usual*: the other's runs are read by Huber, as without `crossover`; choice
and fit differ. That the belief's discrepancy is smooth or rough, and its noise Student's, was chosen by how well it
predicts random subsets of these tables and of the three below, not by this comparison. That the smooth one is 3% rough
(of log scores about as good), and that ours and D-optimal look again after every run and not every quarter of the
budget, was chosen when the comparison had been seen.

"""

STOPPING = """
## When it says stop

The same repeats, each cut where the advice first said that all it could still buy would move the answer by less than a
third of one run's noise. (The third was chosen on sixteen of these repeats.) Where the error still grew, the small runs
that were all that the rest of a small budget could buy misled.

| data | budget | spent until then | runs | error then | error at the end |
|---|---|---|---|---|---|"""

HONESTY = """
## How sure the belief is, and whether it may be

{draws} draws of a few runs from the cheaper 60%, and the mean loss of the held-out runs: the median error of the belief
and the standard deviation that it says, both in %, and how often its 90% interval holds what was measured. The draws of
one line share the held-out runs, so their share is less sure than as many independent ones. Gadre et al.'s 104 models
are of three training sets; four of each are held out.

| data | runs | error | said | inside 90% |
|---|---|---|---|---|"""

UNTOUCHED = """
## Tables by which nothing was chosen

All runs but the largest, and what the belief then says of those. It takes Marin's optimisers one by one.

| data | runs | held out | predicted | s.d. | measured | error | in s.d. |
|---|---|---|---|---|---|---|---|"""

PAIRS = """
## Two recipes of our own studies

Every two recipes that a study trained at the same four widths: what the three smaller ones, by the law with a floor and
pair by pair, say of the difference in held-out loss at the largest, in nats; the median error, the median standard
deviation that the belief says, and how many lie within its 90% interval. Pairs of one study share cells.

| study | pairs | error | said | inside 90% |
|---|---|---|---|---|"""


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean in % and the ends of its 90% t interval."""
    mean, half = values.mean(), stats.t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return 100 * mean, 100 * (mean - half), 100 * (mean + half)


def spread(values: np.ndarray) -> str:
    """The same in words."""
    mean, low, high = interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def sides(differences: list[np.ndarray]) -> str:
    """How many intervals lie above zero, how many below."""
    ends = [interval(values)[1:] for values in differences]
    above, below = sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)
    return f"above zero in {above} of {len(ends)} comparisons, below in {below}"


def tables(workers: ProcessPoolExecutor, repeats: int) -> Iterator[str]:
    """One line per pool, share and way of choosing."""
    yield "| data | share of cost | chosen by | runs | error, belief | error, Huber | same fit | as usual |"
    yield "|---|---|---|---|---|---|---|---|"
    same: list[np.ndarray] = []
    usual: list[np.ndarray] = []
    stops = []
    for pool in (chinchilla(), steplaw()):
        every = judge(pool, pool.open)
        errors = f"{100 * every.belief:.2f} | {100 * every.huber:.2f}"
        yield f"| {pool.name} | 100% | all | {every.runs} | {errors} | – | – |"
        for share in SHARES:
            begun = time.perf_counter()
            found = list(workers.map(replay, repeat(pool), repeat(share), range(repeats)))
            ours = column(found, "advise", "belief")
            for name in ("advise", *OTHERS):
                belief, huber = column(found, name, "belief"), column(found, name, "huber")
                versus = "– | –"
                if name != "advise":
                    same, usual = [*same, belief - ours], [*usual, huber - ours]
                    versus = f"{spread(same[-1])} | {spread(usual[-1])}"
                cells = f"{column(found, name, 'runs').mean():.0f} | {spread(belief)} | {spread(huber)} | {versus}"
                yield f"| {pool.name} | {share:.0%} | {name} | {cells} |"
            spent, runs = column(found, "until stop", "share").mean(), column(found, "until stop", "runs").mean()
            errors = f"{spread(column(found, 'until stop', 'belief'))} | {spread(ours)}"
            stops.append(f"| {pool.name} | {share:.0%} | {spent:.1%} | {runs:.0f} | {errors} |")
            print(f"{pool.name} {share:.0%}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    yield ""
    yield f"Same fit: {sides(same)}. As usual: {sides(usual)}."
    yield from STOPPING.splitlines()
    yield from stops


def column(found: list[dict[str, Chosen]], name: str, field: str) -> np.ndarray:
    """One figure of one way of choosing, by repeats."""
    return np.array([getattr(one[name], field) for one in found])


def honesty(workers: ProcessPoolExecutor) -> Iterator[str]:
    """One line per pool and number of runs: what a belief says of its error, and the error."""
    yield from HONESTY.format(draws=_TRIALS).splitlines()
    for pool in (chinchilla(), steplaw(), *gadre()):
        for count in (8, 16):
            error, said = np.array(list(workers.map(trial, repeat(pool), repeat(count), range(_TRIALS)))).T
            inside = (np.abs(error) < 1.645 * said).mean()
            typical = f"{100 * np.median(np.abs(error)):.1f} | {100 * np.median(said):.1f}"
            yield f"| {pool.name} | {count} | {typical} | {inside:.0%} |"


def untouched_tables() -> Iterator[str]:
    """One line per held-out run of tables by which nothing was chosen."""
    yield from UNTOUCHED.splitlines()
    away = []
    for pool in untouched():
        noise, mean, cov = believed(pool, pool.open)
        sds = np.sqrt(np.diag(cov) + (noise.sd * mean) ** 2)
        for row, value, sd in zip(pool.held, mean, sds, strict=True):
            away.append((value - pool.loss[row]) / sd)
            place = f"{pool.n[row] / 1e9:.1f}B at {pool.d[row] / 1e9:,.0f}B tokens"
            error = f"{100 * (value / pool.loss[row] - 1):+.1f}%"
            said = f"{value:.3f} | {sd:.3f} | {pool.loss[row]:.3f} | {error} | {away[-1]:+.1f}"
            yield f"| {pool.name} | {len(pool.open)} | {place} | {said} |"
    inside = sum(abs(one) < 1.645 for one in away)
    yield ""
    yield f"{inside} of {len(away)} lie within the 90% interval; those of one table err together."


def own_pairs() -> Iterator[str]:
    """One line per own study with at least four widths."""
    yield from PAIRS.splitlines()
    for name, cells in studies():
        found = np.array(list(differences(cells)))
        if len(found):
            error, said = found.T
            inside = int((np.abs(error) < 1.645 * said).sum())
            typical = f"{np.median(np.abs(error)):.3f} | {np.median(said):.3f}"
            yield f"| {name} | {len(found)} | {typical} | {inside} |"


def ladders(workers: ProcessPoolExecutor, draws: int) -> Iterator[str]:
    """One line per ladder and truth, and the total with its interval."""
    yield from (
        "",
        "## Which of two recipes wins",
        "",
        "Ladders of `make calibrate`: two recipes with common noise; which one has the lower loss one decade above the",
        "top rung? The first runs are one of each recipe on the two smallest rungs; advice is followed until it says",
        "stop or half of the cost of the whole ladder is spent. Right: the recipe that then looks better is the better",
        "one. Settled: the advice said stop before the money was spent.",
        "",
        "| ladder | truth | draws | right | settled | share of the ladder's cost, median |",
        "|---|---|---|---|---|---|",
    )
    right = total = 0
    for ladder in SHAPES:
        for truth in TRUTHS:
            found = list(workers.map(decide, repeat(ladder), repeat(truth), range(1000, 1000 + draws)))
            wins, settled = sum(one.right for one in found), sum(one.settled for one in found)
            right, total = right + wins, total + draws
            share = float(np.median([one.share for one in found]))
            yield f"| {ladder.name} | {truth[0]} | {draws} | {wins} | {settled} | {share:.0%} |"
            print(f"{ladder.name}, {truth[0]}: {wins}/{draws}", file=sys.stderr, flush=True)
    low, high = stats.binomtest(right, total).proportion_ci(0.9)
    yield ""
    yield f"Right in {right} of {total} draws, {right / total:.1%} (90% interval {low:.1%} to {high:.1%}),"
    yield "each with at most half of the cost of the whole ladder."


def main() -> None:
    """Replay everything and write the document."""
    if not EXAMS.exists():
        raise SystemExit(f"no published runs in {EXAMS}: put the five tables there that tests/replay/tables.py reads")
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    draws = int(sys.argv[2]) if len(sys.argv) > 2 else DRAWS
    lines = [*INTRODUCTION.format(repeats=repeats, first=FIRST).splitlines()]
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # of each worker; they are one per core
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as workers:
        for line in chain(
            tables(workers, repeats), honesty(workers), untouched_tables(), own_pairs(), ladders(workers, draws)
        ):
            lines.append(line)
            print(line, flush=True)
    DOCUMENT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
