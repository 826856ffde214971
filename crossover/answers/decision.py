"""Which of two recipes to choose at a target, and what the choice is expected to cost.

The difference D = loss(B) - loss(A) is known as m with standard error s: read as a distribution, m + s T with Student's
T of the estimate's degrees of freedom. Who chooses the better looking recipe loses |D| where D has the other sign, on
average

    E regret = s (f(z) (n + z^2) / (n - 1) - z S(z)),    z = |m| / s,

with density f and upper tail S of T and n degrees of freedom; for many of them it is s phi(z) - |m| Phi(-z), the unit
normal loss (Raiffa and Schlaifer 1961, chapter 5). It is the price of choosing now: the most that perfect knowledge of
D would be worth. In compute it is the factor by which the chosen recipe's x would have to grow to win it back, by the
slope of that recipe's own law at the target.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import special

_LARGEST = 300.0  # of the logarithm of a factor


@dataclass(frozen=True)
class Decision:
    """The recipe that looks better at the target, and what choosing it costs; losses in the unit of the loss."""

    choose: str
    p: float
    """Probability that the chosen recipe is the better one."""
    expected_regret: float | None
    """Expected loss above the better recipe's; None where the error is unknown or has one degree of freedom."""
    cost_if_wrong: float | None
    """The same, given that the choice is wrong."""
    regret_as_compute: float | None
    """Factor of x that wins the expected regret back, 1 or more; None where the chosen recipe's law does not fall."""
    cost_if_wrong_as_compute: float | None
    """Factor of x that wins the cost of a wrong choice back."""


def expected_regret(value: float, error: float, dof: float) -> float | None:
    """E of |D| where D has the other sign than `value`; None where it is not finite."""
    if not dof > 1:
        return None
    if error == 0:
        return 0.0
    z = abs(value) / error
    tail = float(special.stdtr(dof, -z))
    return max(0.0, error * (_density(z, dof) * (dof + z * z) / (dof - 1) - z * tail))


def _density(z: float, dof: float) -> float:
    """Student's density."""
    log = special.gammaln((dof + 1) / 2) - special.gammaln(dof / 2) - (dof + 1) / 2 * math.log1p(z * z / dof)
    return float(math.exp(log) / math.sqrt(math.pi * dof))


def p_wrong(value: float, error: float, dof: float) -> float:
    """Probability that D has the other sign than `value`."""
    if error == 0:
        return 0.0 if value else 0.5
    return float(special.stdtr(dof, -abs(value) / error))


def as_compute(loss: float | None, slope: float) -> float | None:
    """The factor of x that lowers the loss by so much, where it changes by `slope` per unit of log x."""
    if loss is None or not slope < 0 or loss / -slope > _LARGEST:
        return None
    return math.exp(loss / -slope)


def decide(
    names: tuple[str, str], value: float, error: float, dof: float, slopes: tuple[float, float] | None
) -> Decision | None:
    """The decision between A and B; None where the difference has no error, so that nothing is known of its sign.

    Args:
        names: of A and B.
        value: loss(B) - loss(A), with its standard `error` and degrees of freedom `dof`.
        error: standard error of the value.
        dof: degrees of freedom of the error.
        slopes: dL / dlog x of A and of B at the target, where they are known.
    """
    if not math.isfinite(error) or not dof > 0:
        return None
    chosen = int(value < 0)
    regret, wrong = expected_regret(value, error, dof), p_wrong(value, error, dof)
    cost = regret / wrong if regret is not None and wrong > 0 else None
    slope = math.nan if slopes is None else slopes[chosen]
    return Decision(names[chosen], 1 - wrong, regret, cost, as_compute(regret, slope), as_compute(cost, slope))


def decide_ahead(
    names: tuple[str, str], p_b: float, gains: tuple[float, float], slopes: tuple[float, float] | None
) -> Decision:
    """The decision of a difference that is known as a distribution.

    Args:
        names: of A and B.
        p_b: P(B has the lower loss).
        gains: E of max(D, 0) and of max(-D, 0), what choosing B and choosing A gives away.
        slopes: dL / dlog x of A and of B at the target, where they are known.
    """
    chosen = int(p_b > 0.5)
    wrong, regret = min(p_b, 1 - p_b), gains[1 - chosen]
    cost = regret / wrong if wrong > 0 else None
    slope = math.nan if slopes is None else slopes[chosen]
    return Decision(names[chosen], 1 - wrong, regret, cost, as_compute(regret, slope), as_compute(cost, slope))


def words(found: Mapping[str, Any], x: str = "compute", unit: str = "nats") -> str:
    """The decision, by its JSON, in a sentence: `choose B: P = 0.93; if wrong it costs on average 0.004 nats, ...`."""
    parts = [f"P = {_chance(found['p'])}"]
    if found["cost_if_wrong"] is not None:
        cost = _cost(found["cost_if_wrong"], found["cost_if_wrong_as_compute"], x, unit)
        parts.append(f"if wrong it costs on average {cost}")
    if found["expected_regret"] is not None:
        parts.append(f"expected regret {_cost(found['expected_regret'], found['regret_as_compute'], x, unit)}")
    return f"choose {found['choose']}: {'; '.join(parts)}"


def _chance(p: float) -> str:
    """Never rounded to certainty."""
    return "above 0.999" if p > 0.999 else f"{p:.3g}"


def _cost(loss: float, factor: float | None, x: str, unit: str) -> str:
    amount = f"{loss:.2g} {unit}".strip()
    if factor is None:
        return amount
    more = f"{factor:.3g} times the {x}" if factor >= 2 else f"{100 * (factor - 1):.2g}% of {x}"
    return f"{amount}, as much as {more}"
