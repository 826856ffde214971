"""Tables with the faults of real ones, whose truth is known: what misleads a comparison, and how often it is misled.

Recipe A is a power law above a floor of 1.7, as in `tests.calibration`; B is A and a difference. Rungs and seeds are
paired unless a fault says otherwise, and every run has noise of its own (0.003 or 0.01 nats) and noise that its pair
shares (0.03). Tuning errors and lasting effects of seeds come on top.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Comparison
from crossover.answers.predict import Evidence, predict

NO, CROSSES, UNDECIDED = "no crossing in range", "crosses", "undecided"
Floats = np.ndarray
_SURE = 0.95


@dataclass(frozen=True)
class Fault:
    """Tables of one kind: rungs in decades above 1e15, seeds, and how a table is made of them."""

    name: str
    difference: Callable[[Floats], Floats]
    """True loss(B) - loss(A) at decades, on the ladder and beyond."""
    rungs: int = 5
    seeds: int = 3
    decades: float = 2.5
    noise: Callable[[Floats], Floats] = lambda decades: np.full_like(decades, 0.003)
    """S.d. of a run's own, at decades."""
    tuning: Callable[[np.random.Generator, Floats], Floats] | None = None
    """By how much B's rungs, or [2, rungs] both recipes', lie above their truth."""
    lasting: float = 0.0
    """S.d. of what a seed adds to all runs of a recipe."""
    twice: float = 0.0
    """S.d. of what rows that stand for a second seed are off the first one's: the same runs, logged again."""
    recipes: int = 2
    ahead: float = 1.0
    """Decades from the top to the target."""
    right: tuple[str, ...] = (NO,)
    """Verdicts that are no mistake, beside `undecided`."""

    @property
    def at(self) -> Floats:
        """Decades of the rungs."""
        return np.linspace(0, self.decades, self.rungs)

    @property
    def target(self) -> float:
        """In x."""
        return float(1e15 * 10 ** (self.decades + self.ahead))

    def table(self, generator: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
        """x, loss, recipe and seed of every run."""
        decades = np.repeat(self.at, self.seeds)
        seed = np.tile(np.arange(self.seeds), self.rungs)
        shared = generator.normal(0, 0.03, len(decades))
        off = np.zeros((self.recipes, self.rungs))
        if self.tuning is not None:
            found = self.tuning(generator, self.at)
            off[1 if found.ndim == 1 else slice(None)] = found
        parts = []
        for r in range(self.recipes):
            lasts = generator.normal(0, 1, self.seeds)[seed] * self.lasting
            own = generator.normal(0, 1, len(decades)) * self.noise(decades)
            loss = law(decades) + (self.difference(decades) if r == 1 else 0.0)
            loss = loss + np.repeat(off[r], self.seeds) + lasts + own + shared
            if self.twice:
                loss = np.repeat(loss[seed == 0], self.seeds) + generator.normal(0, self.twice, len(decades))
            parts.append(loss)
        names = np.repeat([f"r{r}" for r in range(self.recipes)], len(decades))
        x = np.tile(1e15 * 10**decades, self.recipes)
        return x, np.concatenate(parts), names, np.tile(seed, self.recipes)


def law(decades: Floats) -> Floats:
    """Loss of A."""
    return np.asarray(1.7 + 2.6 * 10 ** (-0.08 * decades))


def apart(value: float) -> Callable[[Floats], Floats]:
    """B is A and a constant."""
    return lambda decades: np.full_like(decades, value)


def floors(higher: float, middle: float) -> Callable[[Floats], Floats]:
    """B's floor is higher, and it is steeper by 0.02; they meet in the middle."""

    def difference(decades: Floats) -> Floats:
        above = 2.6 * 10 ** (-0.08 * middle) - higher
        return np.asarray(higher + above * 10 ** (-0.1 * (decades - middle)) - 2.6 * 10 ** (-0.08 * decades))

    return difference


def one_rung(where: int, error: float) -> Callable[[np.random.Generator, Floats], Floats]:
    """One rung of B is tuned badly."""

    def off(_: np.random.Generator, at: Floats) -> Floats:
        out = np.zeros(len(at))
        out[where] = error
        return out

    return off


def one_sided(mean: float) -> Callable[[np.random.Generator, Floats], Floats]:
    """Every rung of both is tuned as well as it happened to be: exponential errors."""
    return lambda generator, at: generator.exponential(mean, (2, len(at)))


def bend(top: float) -> Callable[[Floats], Floats]:
    """B's lead grows by 0.01 a decade up to the top, and is lost six times as fast above it."""
    return lambda decades: np.where(decades <= top, -0.01 * decades, -0.01 * top + 0.06 * (decades - top))


def allocated(decades: Floats) -> Floats:
    """One law of N and D, of which A has 20 tokens per parameter and B 40, at the same compute."""
    compute = 1e15 * 10.0**decades

    def loss(ratio: float) -> Floats:
        n, d = np.sqrt(compute / 6 / ratio), np.sqrt(compute * ratio / 6)
        return np.asarray(406 * n**-0.34 + 410 * d**-0.28)

    return loss(40) - loss(20)


def twice(low: float, high: float) -> Callable[[Floats], Floats]:
    """Two crossings."""
    return lambda decades: 0.03 * (decades - low) * (decades - high)


FAULTS = (
    Fault("top rung of B 0.02 too high, B better by 0.01", apart(-0.01), tuning=one_rung(-1, 0.02)),
    Fault("middle rung of B 0.04 too high, B better by 0.01", apart(-0.01), tuning=one_rung(2, 0.04)),
    Fault("tuning errors of mean 0.003, 8 rungs, B better by 0.003", apart(-0.003), 8, tuning=one_sided(0.003)),
    Fault("tuning errors of mean 0.01, 8 rungs, B better by 0.003", apart(-0.003), 8, tuning=one_sided(0.01)),
    Fault("floors 0.05 apart, 13 single runs", floors(0.05, 3.0), 13, 1, 6.0, right=(CROSSES,)),
    Fault("floors 0.05 apart, 13 rungs of 3 seeds", floors(0.05, 3.0), 13, 3, 6.0, right=(CROSSES,)),
    Fault("floors 0.10 apart, 13 single runs", floors(0.10, 3.0), 13, 1, 6.0, right=(CROSSES,)),
    Fault("floors 0.10 apart, 13 rungs of 3 seeds", floors(0.10, 3.0), 13, 3, 6.0, right=(CROSSES,)),
    Fault("four sizes, two decades out", apart(-0.02), rungs=4, decades=1.9, ahead=2.0),
    Fault("the same, effects of seeds that last (0.01)", apart(0.0), lasting=0.01, right=()),
    Fault("the same, effects of seeds that last (0.03)", apart(0.0), lasting=0.03, right=()),
    Fault("noise from 0.03 down to 0.003, B better by 0.01", apart(-0.01), noise=lambda d: 0.03 * 10 ** (-d / 2.5)),
    Fault("noise from 0.003 up to 0.03, B better by 0.01", apart(-0.01), noise=lambda d: 0.003 * 10 ** (d / 2.5)),
    Fault(
        "the same, single runs logged twice, 0.0001 apart",
        apart(0.0),
        seeds=2,
        twice=1e-4,
        right=(),
        noise=lambda d: np.full_like(d, 0.01),
    ),
    Fault("20 and 40 tokens per parameter", allocated),
    Fault("two crossings, 9 rungs", twice(0.8, 2.2), rungs=9, decades=3.0, right=(CROSSES,)),
    Fault("a bend just above the top", bend(2.5), right=(NO, CROSSES)),
    Fault("eight that are the same", apart(0.0), noise=lambda d: np.full_like(d, 0.01), recipes=8, right=()),
)


@dataclass(frozen=True)
class Misled:
    """Of one table."""

    wrong: bool
    """A verdict that is a mistake, of any pair."""
    gap: bool
    """The interval of the difference at the target holds the truth (of the first pair)."""
    p_wrong: bool
    """P beyond .95 for the recipe that is the worse one there, or for either of equal ones; of any pair."""
    covered: bool | None
    """The set of the crossover holds a true one; None where there is none."""
    loss: bool
    """The interval of A's loss at the target holds the truth."""


def ask(index: int, seed: int, forecast: bool = True) -> Misled:
    """Compare one table of a fault, and forecast A."""
    fault = FAULTS[index]
    x, loss, recipe, pair = fault.table(np.random.default_rng(seed))
    pairs = compare(x, loss, recipe, pair=pair, settings=Settings(sensitivity=False, target=fault.target)).pairs
    decades = np.array([fault.decades + fault.ahead])
    truth = float(fault.difference(decades)[0])
    first = pairs[0]
    return Misled(
        wrong=any(item.verdict not in (UNDECIDED, *fault.right) for item in pairs),
        gap=_holds(first, truth),
        p_wrong=any(_sure_of_the_worse(item, truth) for item in pairs),
        covered=_covered(first, fault),
        loss=not forecast or _forecast(x, loss, recipe, fault.target, float(law(decades)[0])),
    )


def _holds(item: Comparison, truth: float) -> bool:
    assert item.gap is not None
    assert item.gap.difference.ci is not None
    low, high = item.gap.difference.ci
    return bool(low is not None and high is not None and low <= truth <= high)


def _sure_of_the_worse(item: Comparison, truth: float) -> bool:
    assert item.gap is not None
    p = item.gap.p_b_beats_a
    return (p > _SURE and truth >= 0) or (p < 1 - _SURE and truth <= 0)


def _covered(item: Comparison, fault: Fault) -> bool | None:
    fine = np.linspace(0, fault.decades, 4001)
    values = fault.difference(fine)
    roots = 1e15 * 10 ** fine[1:][np.sign(values[1:]) != np.sign(values[:-1])]
    if not len(roots):
        return None
    pieces = item.crossover.pieces if item.crossover else [(None, None)]
    return any((low or 0) <= root <= (high or np.inf) for low, high in pieces for root in roots)


def _forecast(x: Floats, loss: Floats, recipe: Floats, target: float, truth: float) -> bool:
    rows = recipe == "r0"
    runs = Evidence({"x": x[rows]}, loss[rows], recipe[rows].astype(object))
    (found,) = predict(runs, {"x": target}, count=10**6).recipes.values()
    return found.low <= truth <= found.high
