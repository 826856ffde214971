"""`make calibrate`: do 90% intervals cover 90%, are verdicts right? Thousands of synthetic ladders of known truth.

A ladder is like ours: two recipes, the loss of each an exact power law with a floor, the same rungs and seeds for both,
noise that pairs share and noise that they do not. Nothing below uses the fitting code but through its public functions.
Writes docs/calibration.md.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import optimize, stats

from crossover.answers.compare import Settings, compare
from crossover.laws.fit import fit
from tests.calibration.faults import FAULTS, Misled, ask

DRAWS = 500
EARLIER = json.loads(Path(__file__).with_name("earlier.json").read_text())
"""Of the code of 2026-11-25. `power`: how often it said what is true of these ladders. `faults`, of 100 tables each (20
of eight recipes): wrong verdicts, P beyond .95 of the worse recipe, gaps and sets that hold the truth."""
DOCUMENT = Path("docs/calibration.md")
NO, CROSSES, UNDECIDED = "no crossing in range", "crosses", "undecided"


@dataclass(frozen=True)
class Ladder:
    """Rungs from 1e15 to 1e15 x 10^decades FLOP, seeds, and the noise of a run in nats."""

    name: str
    rungs: int
    seeds: int
    decades: float
    noise: float
    shared: float
    floor: float
    unpaired: bool = False

    @property
    def x(self) -> np.ndarray:
        return np.geomspace(1e15, 1e15 * 10**self.decades, self.rungs)

    def truth(
        self, x: np.ndarray, cross: float | None, gap: float = 0.0, lean: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Losses of A and B.

        `cross`: where they meet, in decades from the bottom, B being steeper by `lean` with a floor higher by `gap`;
        where it is None, B is A + gap throughout.
        """
        a = self.floor + 2.6 * (x / 1e15) ** -0.08
        if cross is None:
            return a, a + gap
        place = 10.0**cross
        above = 2.6 * place**-0.08 - gap
        return a, self.floor + gap + above * (x / 1e15 / place) ** -(0.08 + lean)

    def runs(
        self, generator: np.random.Generator, cross: float | None, gap: float, lean: float
    ) -> tuple[np.ndarray, ...]:
        """x, loss, recipe and seed of every run."""
        x = np.repeat(self.x, self.seeds)
        seed = np.tile(np.arange(self.seeds), self.rungs)
        common = generator.normal(0, self.shared, len(x))
        xs, losses = [], []
        for index in range(2):
            at = x * np.exp(generator.normal(0, 0.2, len(x))) if self.unpaired else x
            shared = generator.normal(0, self.shared, len(x)) if self.unpaired else common
            xs.append(at)
            losses.append(self.truth(at, cross, gap, lean)[index] + shared + generator.normal(0, self.noise, len(x)))
        names = np.repeat(["A", "B"], len(x))
        return np.concatenate(xs), np.concatenate(losses), names, np.tile(seed, 2)

    def root(self, cross: float, gap: float, lean: float) -> float:
        """Where the true losses meet."""

        def apart(log_x: float) -> float:
            a, b = self.truth(np.exp(np.array([log_x])), cross, gap, lean)
            return float(b[0] - a[0])

        middle = np.log(1e15 * 10.0**cross)
        return float(np.exp(optimize.brentq(apart, middle - 0.5, middle + 0.5, xtol=1e-13)))

    def beyond(self, x: float, cross: float | None, gap: float, lean: float) -> tuple[float, float]:
        """The true gap at x, and the factor of x by which A reaches B's loss there."""
        a, b = (float(part[0]) for part in self.truth(np.array([x]), cross, gap, lean))
        return b - a, ((b - self.floor) / 2.6) ** (-1 / 0.08) * 1e15 / x


LADDERS = (
    Ladder("4 rungs, 3 seeds", 4, 3, 1.9, 0.010, 0.03, 1.0),
    Ladder("5 rungs, 3 seeds", 5, 3, 2.5, 0.010, 0.03, 1.7),
    Ladder("7 rungs, 1 seed", 7, 1, 3.0, 0.010, 0.02, 1.0),
    Ladder("13 rungs, 1 seed", 13, 1, 6.0, 0.010, 0.02, 1.7),
    Ladder("4 rungs, 1 seed", 4, 1, 1.9, 0.005, 0.02, 0.0),
    Ladder("8 x 2 runs, no pairs", 8, 2, 3.0, 0.005, 0.005, 1.0, unpaired=True),
)
TRUTHS: tuple[tuple[str, float | None, float, float], ...] = (
    # name, meeting point as a share of the ladder, gap in nats (of floors, where they cross), difference of exponents
    ("cross at the middle", 0.5, 0.0, 0.02),
    ("cross near the top", 0.8, 0.0, 0.02),
    ("cross weakly", 0.5, 0.0, 0.006),
    ("cross, exponents 0.08 and 0.15", 0.5, 0.0, 0.07),
    ("cross, floors 0.05 apart", 0.5, 0.05, 0.02),
    ("B worse by 0.05", None, 0.05, 0.0),
    ("B worse by 0.01", None, 0.01, 0.0),
    ("the same", None, 0.0, 0.0),
)


@dataclass
class Tally:
    """Counts over the draws of one ladder and truth."""

    draws: int = 0
    crosses: int = 0
    no_crossing: int = 0
    wrong: int = 0
    sets: int = 0
    covered: int = 0
    unbounded: int = 0
    gaps: int = 0
    """Gaps one decade beyond the ladder whose interval holds the truth."""
    factors: int = 0
    """The same for the equivalent compute."""

    @property
    def decided(self) -> int:
        return self.crosses + self.no_crossing


def _holds(ci: tuple[float | None, float | None] | None, truth: float) -> bool:
    low, high = ci or (None, None)
    return (-np.inf if low is None else low) <= truth <= (np.inf if high is None else high)


def simulate(ladder: Ladder, truth: tuple[str, float | None, float, float], draws: int, seed: int) -> Tally:
    """Compare on `draws` synthetic ladders."""
    _, share, gap, lean = truth
    cross = None if share is None else share * ladder.decades
    root = None if cross is None else ladder.root(cross, gap, lean)
    target = ladder.x[-1] * 10
    true_gap, true_factor = ladder.beyond(target, cross, gap, lean)
    settings = Settings(sensitivity=False, target=target)
    right = {NO} if cross is None and gap else {CROSSES} if cross is not None else set()
    generator, tally = np.random.default_rng(seed), Tally(draws)
    for _ in range(draws):
        x, loss, recipe, seeds = ladder.runs(generator, cross, gap, lean)
        pair = None if ladder.unpaired else seeds
        found = compare(x, loss, recipe, pair=pair, settings=settings).pairs[0]
        tally.crosses += found.verdict == CROSSES
        tally.no_crossing += found.verdict == NO
        tally.wrong += found.verdict != UNDECIDED and found.verdict not in right
        assert found.gap
        tally.gaps += _holds(found.gap.difference.ci, true_gap)
        tally.factors += found.gap.equivalent_compute is None or _holds(found.gap.equivalent_compute.ci, true_factor)
        if root is not None:
            pieces = found.crossover.pieces if found.crossover else [(None, None)]
            tally.sets += found.crossover is not None
            tally.unbounded += found.crossover is None or None in found.crossover.ci
            tally.covered += any((low or 0) <= root <= (high or np.inf) for low, high in pieces)
    return tally


def exponents(rungs: int, seeds: int, law: str, floor: float, noise: float, draws: int, seed: int) -> tuple[int, int]:
    """How often the interval of the exponent holds the truth, and how often it has no end on a side."""
    generator, hits, unbounded = np.random.default_rng(seed), 0, 0
    x = np.repeat(np.geomspace(1e15, 1e18 if rungs < 10 else 1e21, rungs), seeds)
    truth, exponent = floor + 2.6 * (x / 1e15) ** -0.15, 0.15
    for _ in range(draws):
        result = fit(law, {"x": x}, truth + generator.normal(0, noise, len(x)), roll_out=False)
        low, high = result.params["a"].ci or (None, None)
        unbounded += None in (low, high)
        hits += (low or -np.inf) <= exponent <= (high or np.inf)
    return hits, unbounded


EXPONENTS = (
    (4, 3, "power", 0.0, 0.01),
    (5, 1, "power", 0.0, 0.01),
    (5, 3, "power_floor", 1.0, 0.005),
    (7, 1, "power_floor", 1.0, 0.005),
    (13, 1, "power_floor", 1.7, 0.01),
)


INTRODUCTION = """# Calibration

`make calibrate`: {draws} synthetic ladders per line, nominal 90% intervals. Losses are E + A x^-a plus noise that pairs
share (0.02 to 0.03 nats) and noise that they do not (0.005 to 0.01 nats); see `tests/calibration`.

## Crossovers and verdicts

Covered: the confidence set of the crossover holds the true one, over all draws (a draw without a root counts as the
whole line, and as unbounded). Unbounded: the piece of the set that holds the root has no end within 1.5 decades of the
runs. Gap and compute: the intervals of the difference one decade beyond the ladder, and of the equivalent compute
there, hold the truth. Wrong: a verdict other than `undecided` that is not the truth; where the recipes are the same,
any verdict is wrong. All of it is asked of one belief, which takes no law as exact: it is as wide as published ladders
ask (docs/decide.md), and so wider than these exact laws would need.

"""


def report(draws: int) -> Iterator[str]:
    """The document, line by line."""
    yield from INTRODUCTION.format(draws=draws).splitlines()
    yield "| ladder | truth | crosses | no crossing | undecided | wrong | covered | unbounded | gap | compute |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    total, bounded, power = Tally(), [0, 0], []
    cells = [(ladder, truth, 100 * i + j) for i, ladder in enumerate(LADDERS) for j, truth in enumerate(TRUTHS)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(simulate, *zip(*((ladder, truth, draws, seed) for ladder, truth, seed in cells), strict=True))
        for (ladder, truth, _), tally in zip(cells, found, strict=True):
            has_root = truth[1] is not None
            parts = [tally.crosses, tally.no_crossing, draws - tally.decided, tally.wrong]
            shares = [f"{part / draws:.1%}" for part in parts]
            shares += [f"{part / draws:.1%}" if has_root else "–" for part in (tally.covered, tally.unbounded)]
            shares += [f"{part / draws:.1%}" for part in (tally.gaps, tally.factors)]
            line = f"| {ladder.name} | {truth[0]} | " + " | ".join(shares) + " |"
            print(line, file=sys.stderr, flush=True)
            yield line
            total.draws += draws
            total.crosses += tally.crosses
            total.no_crossing += tally.no_crossing
            total.wrong += tally.wrong
            if has_root:
                bounded[0] += tally.covered
                bounded[1] += draws
            if (name := f"{ladder.name}: {truth[0]}") in EARLIER["power"]:
                said = tally.no_crossing if truth[0].startswith("B worse") else tally.crosses
                power.append((name, said / draws, EARLIER["power"][name]))
    limit = stats.binom.ppf(0.975, total.decided, 0.05) / total.decided
    yield ""
    yield f"Over all {total.draws} draws {total.decided} verdicts were given and {total.wrong} were wrong:"
    yield f"{total.wrong / total.decided:.2%} (5% to the binomial 97.5% bound: {limit:.2%})."
    yield f"The sets covered {bounded[0] / bounded[1]:.1%}."
    yield ""
    yield from _power(power)
    yield from _faults(draws)
    yield "## Exponents"
    yield ""
    yield "| ladder | law | covered | no end on a side |"
    yield "|---|---|---|---|"
    for k, (rungs, seeds, law, floor, noise) in enumerate(EXPONENTS):
        hits, unbounded = exponents(rungs, seeds, law, floor, noise, draws, 1000 + k)
        name = f"{rungs} rungs, {seeds} seed(s), E = {floor:g}, noise {noise:g}"
        line = f"| {name} | {law} | {hits / draws:.1%} | {unbounded / draws:.1%} |"
        print(line, file=sys.stderr, flush=True)
        yield line


def _power(cells: list[tuple[str, float, float]]) -> Iterator[str]:
    """Against the code of 2026-11-25, of ladders that it decided at all."""
    known = [(name, now / then) for name, now, then in cells if then]
    least = sorted(known, key=lambda item: item[1])[:8]
    yield "## Power"
    yield ""
    yield "How often the truth is said, over how often the code of 2026-11-25 said it, which took laws as exact: mean"
    mean = np.mean([min(ratio, 1.0) for _, ratio in known])
    yield f"{mean:.2f} over {len(known)} ladders (1 each at most); the least:"
    yield ""
    yield "| ladder | now over then | then |"
    yield "|---|---|---|"
    for name, ratio in least:
        yield f"| {name} | {ratio:.2f} | {EARLIER['power'][name]:.1%} |"
    yield ""


def _faults(draws: int) -> Iterator[str]:
    """Tables with the faults of real ones."""
    yield from FAULTY.splitlines()
    yield "| fault | wrong verdict | P > .95 of the worse | gap | crossover's set | A's loss |"
    yield "|---|---|---|---|---|---|"
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for index, fault in enumerate(FAULTS):
            count = draws if fault.recipes == 2 else max(draws // 5, 20)
            found = list(pool.map(ask, [index] * count, range(1000 * index, 1000 * index + count), chunksize=10))
            shares = [_share(found, name) for name in ("wrong", "p_wrong", "gap", "covered")]
            then = ["–" if share is None else f"{share:.0%}" for share in EARLIER["faults"][fault.name]]
            both = [f"{now} ({before})" if now != "–" else now for now, before in zip(shares, then, strict=True)]
            line = f"| {fault.name} | {' | '.join(both)} | {_share(found, 'loss')} |"
            print(line, file=sys.stderr, flush=True)
            yield line
    yield ""


def _share(found: list[Misled], name: str) -> str:
    said = [getattr(item, name) for item in found if getattr(item, name) is not None]
    return f"{np.mean(said):.1%}" if said else "–"


FAULTY = """## Faults of real tables

Tables made wrong as real ones are (`tests/calibration/faults.py`). Wrong: a verdict that is not the truth, of any pair.
P > .95 of the worse: that sure, of any pair, of the recipe that is the worse one at the target, or of either of two
that are the same. The 90% intervals of the gap at the target (a decade above the ladder, unless it says two), the set
of the crossover, and `predict`'s interval of A's loss there hold the truth. In brackets what the code of 2026-11-25
said of a hundred such tables.

"""


def main() -> None:
    """Simulate everything and write the document."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    lines = list(report(draws))
    DOCUMENT.write_text("\n".join(lines) + "\n")
    print(f"written to {DOCUMENT}")


if __name__ == "__main__":
    main()
