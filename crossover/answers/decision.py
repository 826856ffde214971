"""What is said of B against A at a place: the difference, its worth in compute, which to choose, and what that costs.

The difference D = loss(B) - loss(A) is known as a distribution, the belief's (`crossover.belief.difference`). Who
chooses the recipe that is likelier to be better loses |D| where D has the other sign: on average E max(D, 0) of B,
E max(-D, 0) of A. It is the price of choosing now, the most that perfect knowledge of D would be worth (Raiffa and
Schlaifer 1961, chapter 5). In compute it is the factor by which the chosen recipe's x would have to grow to win it
back, by the slope of that recipe's own law there; and B is worth the factor of x at which A's law has fallen, from
where it stands at the place, by the difference that B has.
"""

import math

import numpy as np
from scipy import special

from crossover.answers.comparison import Backtest, Decision, Gap, NextPair, Worth
from crossover.answers.crossing import SURE
from crossover.base.arrays import Floats, sections
from crossover.belief.difference import Outlook
from crossover.belief.spread import Spread
from crossover.laws.fit import Fitted
from crossover.runs.estimates import ENDS, Estimate

_DECADE = math.log(10)
_FARTHEST = 50.0  # of the logarithm of a factor
_LARGEST = 300.0  # of the logarithm of a factor


def gap_at(a: str, b: str, ahead: Outlook, target: float, laws: tuple[Fitted, Fitted] | None) -> Gap:
    """The difference of B from A at `target`, and the choice between them; compute where A's law is known."""
    place, rungs = math.log(target), ahead.track.log_x
    spread = ahead.at(place)
    p, (value, low, high) = spread.p_b_wins, map(float, spread.quantiles(np.array([0.5, *ENDS])))
    slopes = None if laws is None else (_slope(laws[0], place), _slope(laws[1], place))
    return Gap(
        lever_arm_decades=max(0.0, place - float(rungs[-1]), float(rungs[0]) - place) / _DECADE,
        x=target,
        difference=Estimate(value, spread.sd, (low, high)),
        equivalent_compute=None if laws is None else _as_factor((value, low, high), laws[0], place),
        p_b_beats_a=p,
        p_one_run=spread.with_noise(ahead.track.noise).p_b_wins,
        decision=decide((a, b), p, spread.gains, slopes),
        spread=spread,
        next_pair=None if max(p, 1 - p) >= SURE else _next_pair(ahead, place, spread),
    )


def _next_pair(ahead: Outlook, place: float, spread: Spread) -> NextPair:
    """By the gain of choosing after it, per x; sizes go on as they rose."""
    rungs, value = ahead.track.log_x, spread.expected
    top = float(rungs[-1])
    options = [top, top + float(np.median(np.diff(rungs)))]
    moves = spread.sd * np.sqrt([*(ahead.tells(option, place) for option in options), 1.0])
    gains = knowledge_gradient(value, moves)
    best = int(np.argmax(gains[:-1] / np.exp(np.array(options) - top)))
    left = min(spread.gains) * max(1 - float(gains[best] / max(gains[-1], 1e-300)), 0.0)
    return NextPair(math.exp(options[best]), left, float(special.ndtr(-abs(value) / max(float(moves[best]), 1e-300))))


def backtest(ahead: Outlook) -> Backtest | None:
    """How the top rung is told from those below it; None below three rungs."""
    below = ahead.track.without(len(ahead.track.log_x) - 1)
    if below is None:
        return None
    top, variance = float(ahead.track.log_x[-1]), float(ahead.track.variance[-1])
    runs = 1 if not variance else max(1, round(ahead.track.noise / variance))
    told = Outlook(below).at(top, runs)
    low, high = map(float, told.quantiles(ENDS))
    return Backtest(float(ahead.track.x[-1]), told.p_b_wins, (low, high), float(ahead.track.difference[-1]))


def _losses(fitted: Fitted, log_x: Floats | float) -> Floats:
    """By a law at places of any shape."""
    places = np.asarray(log_x, float)
    logs = fitted.problem.law.log_loss(places.reshape(1, -1), fitted.theta[None])
    losses: Floats = np.exp(logs).reshape(places.shape)
    return losses


def _slope(fitted: Fitted, log_x: float) -> float:
    """dL / dlog x, by central difference."""
    before, after = _losses(fitted, log_x + 1e-5 * np.array([-1, 1]))
    return float(after - before) / 2e-5


def _as_factor(differences: tuple[float, float, float], law_a: Fitted, place: float) -> Estimate | None:
    """Factors of x that change A's loss by so much; an end is None where none does."""
    wanted = _losses(law_a, place) + np.array(differences)
    ends = np.full(3, _FARTHEST)
    logs = sections(lambda tried: _losses(law_a, place + tried) > wanted, -ends, ends, rounds=7)
    reached = (_losses(law_a, place - ends) > wanted) & (_losses(law_a, place + ends) < wanted)
    value, low, high = (math.exp(log) if there else None for log, there in zip(logs, reached, strict=True))
    return None if value is None else Estimate(value, None, (high, low))


def worth_along(
    ahead: Outlook, places: Floats, target: float, laws: tuple[Fitted, Fitted] | None, price: Estimate | None
) -> list[Worth]:
    """What B is worth at rungs and at the target, in x and in cost."""
    if laws is None:
        return []
    found = []
    for place in dict.fromkeys([*places.tolist(), target]):
        value, low, high = map(float, ahead.at(math.log(place)).quantiles(np.array([0.5, *ENDS])))
        factor = _as_factor((value, low, high), laws[0], math.log(place))
        found.append(Worth(place, factor, None if factor is None or price is None else _at_price(factor, price)))
    return found


def _at_price(factor: Estimate, price: Estimate) -> Estimate:
    """The factor over the price; distances of their ends in logarithms are added in quadrature."""
    value = factor.value / price.value
    if factor.ci is None or price.ci is None:
        return Estimate(value)

    def end(side: int, own: float | None, paid: float | None) -> float | None:
        if own is None or paid is None:
            return None
        return value * math.exp(side * math.hypot(math.log(own / factor.value), math.log(paid / price.value)))

    return Estimate(value, None, (end(-1, factor.ci[0], price.ci[1]), end(1, factor.ci[1], price.ci[0])))


def as_compute(loss: float | None, slope: float) -> float | None:
    """The factor of x that lowers the loss by so much, where it changes by `slope` per unit of log x."""
    if loss is None or not slope < 0 or loss / -slope > _LARGEST:
        return None
    return math.exp(loss / -slope)


def decide(
    names: tuple[str, str], p_b: float, gains: tuple[float, float], slopes: tuple[float, float] | None
) -> Decision:
    """The decision of a difference.

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


def knowledge_gradient(mean: float, moves: Floats) -> Floats:
    """Expected gain of choosing between two by the sign of a difference, after its estimate has moved.

    With today's estimate `mean` and a move of standard deviation `moves` [J]: s phi(mean/s) - |mean| Phi(-|mean|/s)
    (Frazier, Powell and Dayanik 2008), in the unit of the mean. A total move gives the regret of choosing now.
    """
    moves = np.maximum(moves, 1e-300)
    ratio = np.minimum(abs(mean) / moves, 1e6)
    gain = moves * np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi) - abs(mean) * special.ndtr(-ratio)
    least: Floats = np.maximum(gain, 0.0)
    return least
