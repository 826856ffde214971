"""Ways to spend a budget on a pool of runs whose losses are revealed only when chosen."""

from collections.abc import Callable

import numpy as np

from stages.fit import Candidates, advise
from stages.fit.fitting import fit_law
from stages.fit.laws import LAWS
from stages.fit.objectives import Objective, huber_log, squares
from tests.replay.tables import Pool

LAW = LAWS["chinchilla"]
Strategy = Callable[[Pool, np.ndarray, float, np.random.Generator], np.ndarray]
"""From a pool, the rows known at the start, what may be spent and a generator: all rows known at the end."""
_PARTS = 4  # how often a strategy that learns looks again: after every quarter of the budget


def advised(pool: Pool, known: np.ndarray, budget: float, generator: np.random.Generator) -> np.ndarray:
    """Ours: the first steps of the advice, up to a quarter of the budget, then advice again."""
    left = budget
    while True:
        rest = np.setdiff1d(pool.open, known)
        rest = rest[pool.cost[rest] <= left]
        if not len(rest):
            return known
        targets = [{"N": n, "D": d} for n, d in zip(pool.n[pool.held], pool.d[pool.held], strict=True)]
        steps = advise(
            {"N": pool.n[known], "D": pool.d[known]}, pool.loss[known],
            Candidates({"N": pool.n[rest], "D": pool.d[rest]}, pool.cost[rest]), targets, left,
        ).steps  # fmt: skip
        if not steps:
            return known
        now = [step for i, step in enumerate(steps) if i == 0 or step.cumulative_cost <= budget / _PARTS]
        known = np.append(known, [rest[step.cells[0]] for step in now])
        left -= now[-1].cumulative_cost


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
    """The run that adds most to the determinant of the law's information at its fit (Wald 1943), refitted as ours."""
    left, spent, jacobian = budget, np.inf, np.empty(0)
    rest = np.setdiff1d(pool.open, known)
    while True:
        rest = rest[pool.cost[rest] <= left]
        if not len(rest):
            return known
        if spent > budget / _PARTS:
            theta, spent = fitted(pool, known, squares(True)), 0.0
            jacobian = LAW.at(np.log([pool.n, pool.d]), theta[None]).gradient_Bxpxn[0]
        information = jacobian[:, known] @ jacobian[:, known].T + 1e-6 * np.eye(len(jacobian))
        gain = np.einsum("pr,pq,qr->r", jacobian[:, rest], np.linalg.inv(information), jacobian[:, rest])
        row = rest[int(gain.argmax())]
        known, rest = np.append(known, row), rest[rest != row]
        left, spent = left - pool.cost[row], spent + pool.cost[row]


def fitted(pool: Pool, known: np.ndarray, objective: Objective) -> np.ndarray:
    """theta of the plain fit to the known rows."""
    inputs = {"N": pool.n[known], "D": pool.d[known]}
    return fit_law("chinchilla", inputs, pool.loss[known], objective=objective, starts=8, intervals=False).theta


def error_of_fit(pool: Pool, known: np.ndarray) -> float:
    """Root mean square of the error of log loss at the held-out runs, by the plain Huber fit of Hoffmann et al."""
    theta = fitted(pool, known, huber_log())
    log_x = np.log([pool.n[pool.held], pool.d[pool.held]])
    return float(np.sqrt(np.mean((LAW.log_loss(log_x, theta[None])[0] - np.log(pool.loss[pool.held])) ** 2)))


def error_of_belief(pool: Pool, known: np.ndarray) -> float:
    """The same by the posterior mean that advice rests on, whoever chose the runs."""
    from stages.fit.belief import Rows, believe

    log_x, none = np.log([pool.n, pool.d]), np.zeros(len(known), int)
    belief = believe(LAW, Rows(log_x[:, known], none, none - 1), pool.loss[known], 1, places=log_x)
    mean, _ = belief.at(log_x[:, pool.held], np.zeros(len(pool.held), int))
    return float(np.sqrt(np.mean((np.log(mean) - np.log(pool.loss[pool.held])) ** 2)))


STRATEGIES: dict[str, Strategy] = {
    "advise": advised, "random": at_random, "cheapest first": cheapest, "D-optimal": d_optimal,
}  # fmt: skip
