"""Ways to spend a budget on a pool of runs whose losses are revealed only when chosen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossover.answers.advising.advise import advise
from crossover.answers.advising.choices import Candidates
from crossover.belief.posterior import Noise, Rows, believe
from crossover.laws.fit import fit_law
from crossover.laws.laws import LAWS
from crossover.laws.objectives import Objective, huber_log, squares
from tests.replay.tables import Pool

FIRST = 6
"""Runs known at the start, drawn from the cheapest quarter."""
LAW = LAWS["chinchilla"]
Strategy = Callable[[Pool, np.ndarray, float, np.random.Generator], np.ndarray]
"""From a pool, the rows known at the start, what may be spent and a generator: all rows known at the end."""


def follow(pool: Pool, known: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
    """Ours: the first step of the advice, then advice again; the runs in the end and when it first said stop."""
    left, until = budget, None
    while True:
        rest = np.setdiff1d(pool.open, known)
        rest = rest[pool.cost[rest] <= left]
        if not len(rest):
            return known, known if until is None else until
        targets = [{"N": n, "D": d} for n, d in zip(pool.n[pool.held], pool.d[pool.held], strict=True)]
        advice = advise(
            {"N": pool.n[known], "D": pool.d[known]}, pool.loss[known],
            Candidates({"N": pool.n[rest], "D": pool.d[rest]}, pool.cost[rest]), targets, left,
        )  # fmt: skip
        if advice.stop and until is None:
            until = known
        if not advice.steps:
            return known, known if until is None else until
        known = np.append(known, rest[advice.steps[0].cells[0]])
        left -= advice.steps[0].cost


def at_random(pool: Pool, known: np.ndarray, budget: float, generator: np.random.Generator) -> np.ndarray:
    """Any run that is still affordable, until none is."""
    return _affordable(pool, known, budget, generator.permutation(np.setdiff1d(pool.open, known)))


def cheapest(pool: Pool, known: np.ndarray, budget: float, generator: np.random.Generator) -> np.ndarray:
    """From the cheapest run upwards."""
    return _affordable(pool, known, budget, pool.open[~np.isin(pool.open, known)])


def _affordable(pool: Pool, known: np.ndarray, budget: float, order: np.ndarray) -> np.ndarray:
    chosen = []
    for row in order:
        if pool.cost[row] <= budget:
            chosen.append(row)
            budget -= pool.cost[row]
    return np.append(known, chosen).astype(int)


def d_optimal(pool: Pool, known: np.ndarray, budget: float, generator: np.random.Generator) -> np.ndarray:
    """The run that adds most to the determinant of the law's information at its fit (Wald 1943), fitted anew each time.

    While all runs are of one size or of one number of tokens no law can be fitted, and the cheapest other one is run.
    """
    left = budget
    while True:
        rest = np.setdiff1d(pool.open, known)
        rest = rest[pool.cost[rest] <= left]
        if not len(rest):
            return known
        fixed = [values for values in (pool.n, pool.d) if np.ptp(values[known]) == 0]
        if fixed:
            other = rest[fixed[0][rest] != fixed[0][known[0]]]
            row = other[pool.cost[other].argmin()]
        else:
            theta = fitted(pool, known, squares(True))
            jacobian = LAW.at(np.log([pool.n, pool.d]), theta[None]).gradient_Bxpxn[0]
            information = jacobian[:, known] @ jacobian[:, known].T + 1e-6 * np.eye(len(jacobian))
            gain = np.einsum("pr,pq,qr->r", jacobian[:, rest], np.linalg.inv(information), jacobian[:, rest])
            row = rest[int(gain.argmax())]
        known, left = np.append(known, row), left - pool.cost[row]


def fitted(pool: Pool, known: np.ndarray, objective: Objective) -> np.ndarray:
    """theta of the plain fit to the known rows."""
    inputs = {"N": pool.n[known], "D": pool.d[known]}
    return fit_law("chinchilla", inputs, pool.loss[known], objective=objective, starts=8, intervals=False).theta


def error_of_fit(pool: Pool, known: np.ndarray) -> float:
    """Root mean square of the error of log loss at the held-out runs, by the plain Huber fit of Hoffmann et al."""
    theta = fitted(pool, known, huber_log())
    log_x = np.log([pool.n[pool.held], pool.d[pool.held]])
    return float(np.sqrt(np.mean((LAW.log_loss(log_x, theta[None])[0] - np.log(pool.loss[pool.held])) ** 2)))


def believed(pool: Pool, known: np.ndarray) -> tuple[Noise, np.ndarray, np.ndarray]:
    """Noise, and mean and covariance of the held-out losses, after the known runs."""
    log_x, none = np.log([pool.n, pool.d]), np.zeros(len(known), int)
    belief = believe(LAW, Rows(log_x[:, known], none, none - 1), pool.loss[known], 1)
    return belief.noise, *belief.at(log_x[:, pool.held], np.zeros(len(pool.held), int))


def error_of_belief(pool: Pool, known: np.ndarray) -> float:
    """The same by the posterior mean that advice rests on, whoever chose the runs."""
    _, mean, _ = believed(pool, known)
    return float(np.sqrt(np.mean((np.log(mean) - np.log(pool.loss[pool.held])) ** 2)))


OTHERS: dict[str, Strategy] = {"random": at_random, "cheapest first": cheapest, "D-optimal": d_optimal}


@dataclass(frozen=True)
class Chosen:
    """What some runs say of the held-out ones."""

    belief: float
    """Root mean square of the error of log loss, by belief."""
    huber: float
    """The same by the plain Huber fit."""
    runs: int
    share: float
    """Of the cost of all runs that may be chosen."""


def judge(pool: Pool, known: np.ndarray) -> Chosen:
    """The errors that some runs leave."""
    share = float(pool.cost[known].sum() / pool.full)
    return Chosen(error_of_belief(pool, known), error_of_fit(pool, known), len(known), share)


def replay(pool: Pool, share: float, seed: int) -> dict[str, Chosen]:
    """Every way of choosing, ours to the end of the budget and until it says stop."""
    generator = np.random.default_rng(seed)
    first = generator.choice(pool.open[: len(pool.open) // 4], FIRST, replace=False)
    budget = share * pool.full - pool.cost[first].sum()
    ours, until = follow(pool, first, budget)
    found = {"advise": judge(pool, ours), "until stop": judge(pool, until)}
    return found | {name: judge(pool, choose(pool, first, budget, generator)) for name, choose in OTHERS.items()}


def trial(pool: Pool, count: int, seed: int) -> tuple[float, float]:
    """Error of the held-out runs' mean loss and what the belief expects it to be, relative to that loss.

    The belief is after `count` runs drawn at random from the cheaper 60%. What is expected includes the noise of the
    held-out runs.
    """
    cheaper = pool.open[: len(pool.open) * 6 // 10]
    noise, mean, cov = believed(pool, np.random.default_rng(seed).choice(cheaper, count, replace=False))
    measured = pool.loss[pool.held].mean()
    expected = np.sqrt(cov.mean() + (noise.sd * mean.mean()) ** 2 / len(mean))
    return float((mean.mean() - measured) / measured), float(expected / measured)
