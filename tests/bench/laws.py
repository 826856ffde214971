"""Our fits against SciPy loops and the PyPI package `chinchilla`, as ratios within one run.

Data: the 240 points of the Chinchilla refit where `../shared/exams` is at hand, else 240 synthetic ones like them. One
thread throughout. `chinchilla` runs in an environment of its own, from the package index; without one it is left out.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import optimize

from crossover.answers.compare import compare
from crossover.laws.intervals import bootstrap_weights
from crossover.laws.laws import get_law
from crossover.laws.objectives import huber_log
from crossover.laws.solver import Problem, minimise, projected_starts
from tests.bench.keeping import keep

POINTS = Path(__file__).resolve().parents[3] / "shared" / "exams" / "chinchilla_points.csv"
LAW, DELTA, SCALE = get_law("chinchilla"), 1e-3, 1e3
RESAMPLES = 4000
HOFFMANN = np.array(list(product(  # log E, log A, log B, alpha, beta; Hoffmann et al. 2022, appendix D.3
    np.arange(-1, 1.5, 0.5), np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(0, 2.5, 0.5), np.arange(0, 2.5, 0.5),
)))  # fmt: skip
OTHER_STARTS = 16


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """N, D, loss and where they are from."""
    if POINTS.exists():
        table = pd.read_csv(POINTS)
        table = table[table["loss"] < 3.44]
        n, loss = table["Model Size"].to_numpy(), table["loss"].to_numpy()
        return n, table["Training FLOP"].to_numpy() / (6 * n), loss, "Chinchilla, 240 points"
    generator = np.random.default_rng(0)
    n, d = 10 ** generator.uniform(7.5, 10, 240), 10 ** generator.uniform(9, 11.5, 240)
    loss = (1.817 + 478 / n**0.347 + 2143 / d**0.367) * np.exp(0.01 * generator.standard_t(2, 240))
    return n, d, loss, "240 synthetic points"


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of `work` and its seconds."""
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def scipy_objective(problem: Problem, weights: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The same objective, scaled, with its analytic gradient, as one would write it for SciPy."""
    log_n, log_d, log_y = *problem.log_x, problem.log_y

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        e, a, b, alpha, beta = theta
        terms = np.stack([np.full_like(log_n, e), a - alpha * log_n, b - beta * log_d])
        top = terms.max(0)
        powers = np.exp(terms - top)
        total = powers.sum(0)
        residual = top + np.log(total) - log_y
        size = np.abs(residual)
        rho = np.where(size <= DELTA, 0.5 * residual**2, DELTA * (size - 0.5 * DELTA))
        slope = weights * np.clip(residual, -DELTA, DELTA) * powers / total
        part = slope.sum(1)
        gradient = np.array([*part, -slope[1] @ log_n, -slope[2] @ log_d])
        return SCALE * float(weights @ rho), SCALE * gradient

    return value


def scipy_fit(problem: Problem, weights: np.ndarray, start: np.ndarray, method: str) -> tuple[np.ndarray, float]:
    """One SciPy minimisation; its theta and objective."""
    options = {"BFGS": {"gtol": 1e-10, "maxiter": 2000}, "L-BFGS-B": {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000}}
    with np.errstate(all="ignore"):
        found = optimize.minimize(
            scipy_objective(problem, weights), start, jac=True, method=method, options=options[method]
        )
    return found.x, found.fun / SCALE


def bench_bootstrap(problem: Problem, theta: np.ndarray) -> dict[str, Any]:
    """4,000 warm-started refits, on the same resamples."""
    weights = bootstrap_weights(np.arange(len(problem.log_y)), RESAMPLES, seed=42)
    ours, seconds = timed(lambda: minimise(problem, np.tile(theta, (RESAMPLES, 1)), weights))
    results: dict[str, Any] = {"ours": {"seconds": seconds, "converged": float(ours.converged.mean())}}
    for method in ("L-BFGS-B", "BFGS"):
        found, seconds = timed(lambda method=method: [scipy_fit(problem, row, theta, method) for row in weights])
        thetas, values = np.array([item[0] for item in found]), np.array([item[1] for item in found])
        both = np.abs(values / ours.value - 1) < 1e-11
        errors = [LAW.report(part[both]).std(0, ddof=1) for part in (thetas, ours.theta)]
        results[f"SciPy {method}"] = {
            "seconds": seconds,
            "ratio": seconds / results["ours"]["seconds"],
            "both_converge": float(both.mean()),
            "ours_lower": float(np.mean(ours.value < values * (1 - 1e-11))),
            "scipy_lower": float(np.mean(values < ours.value * (1 - 1e-11))),
            "largest_relative_difference_of_se": float(np.abs(errors[0] / errors[1] - 1).max()),
        }
    return results


def bench_starts(problem: Problem) -> dict[str, Any]:
    """The fit from Hoffmann's 4,500 starts, and from our own."""
    results: dict[str, Any] = {}

    def record(name: str, values: np.ndarray, seconds: float) -> None:
        results[name] = {"seconds": seconds, "objective": float(values.min()), "values": values}

    ours, seconds = timed(lambda: minimise(problem, HOFFMANN))
    record("ours, 4500 starts", ours.value, seconds)
    found, seconds = timed(lambda: minimise(problem, projected_starts(problem, 32)))
    record("ours, 32 projected starts", found.value, seconds)
    scipys, seconds = timed(lambda: [scipy_fit(problem, problem.weights, start, "L-BFGS-B")[1] for start in HOFFMANN])
    record("SciPy L-BFGS-B, 4500 starts", np.array(scipys), seconds)
    least = min(item["objective"] for item in results.values())
    for item in results.values():
        item["agree"] = float(np.mean(item.pop("values") <= least * (1 + 1e-6)))
    return results


OTHER = """
import json, sys, time, numpy as np
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
data = json.load(open(sys.argv[1]))
grid = dict(e=[0.0, 1.0], a=[5.0, 10.0], b=[5.0, 10.0], alpha=[0.5], beta=[0.5, 1.0])
cc = Chinchilla(sys.argv[2], param_grid=grid, loss_fn=lambda y, p: log_huber(y, p, 1e-3), log_level=50)
for n, d, loss in zip(data["N"], data["D"], data["loss"]):
    cc.append(N=n, D=d, loss=loss)
begin = time.perf_counter()
cc.fit(parallel=False)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, *(float(getattr(cc, name)) for name in ("E", "A", "B", "alpha", "beta"))]))
"""


def bench_chinchilla(problem: Problem, n: np.ndarray, d: np.ndarray, loss: np.ndarray) -> dict[str, Any]:
    """PyPI `chinchilla` (BFGS with numerical gradients) on the same points, from 16 of its starts."""
    with tempfile.TemporaryDirectory() as folder:
        data, script = Path(folder) / "data.json", Path(folder) / "fit.py"
        data.write_text(json.dumps({"N": n.tolist(), "D": d.tolist(), "loss": loss.tolist()}))
        script.write_text(OTHER)
        command = [
            "uv",
            "run",
            "-q",
            "--no-project",
            "--python",
            sys.executable,
            "--with",
            "chinchilla==0.2.0",
            "python",
        ]
        done = subprocess.run(
            [*command, str(script), str(data), str(Path(folder) / "project")],
            capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "Agg"}, cwd=folder, check=False,
        )  # fmt: skip
    if done.returncode:
        print(f"chinchilla could not be run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    seconds, e, a, b, alpha, beta = json.loads(done.stdout.strip().splitlines()[-1])
    value = problem.value(np.array([[np.log(e), np.log(a), np.log(b), alpha, beta]]))[0]
    return {
        "seconds": seconds,
        "starts": OTHER_STARTS,
        "seconds_per_start": seconds / OTHER_STARTS,
        "objective": float(value),
    }


def bench_compare() -> dict[str, Any]:
    """100,000 runs of 50 recipes: 200 sizes, 10 seeds, 1,225 pairs."""
    generator = np.random.default_rng(0)
    x, recipe, seed = (
        part.ravel() for part in np.meshgrid(np.geomspace(1e18, 1e22, 200), np.arange(50), np.arange(10))
    )
    loss = 1.7 + 200 * x ** (-0.11 - 1e-4 * recipe) + generator.normal(0, 0.002, len(x))
    names = np.char.add("r", recipe.astype(int).astype(str))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result, seconds = timed(lambda: compare(x, loss, names, pair=seed))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": len(x),
        "pairs": len(result.pairs),
        "seconds": seconds,
        "peak_mb": peak / 1e3,
        "before_mb": before / 1e3,
    }


def _against(item: dict[str, Any]) -> str:
    equal = f"s.e. equal to {item['largest_relative_difference_of_se']:.0e}"
    return f"{item['ratio']:.0f}x ours; {equal} on the {item['both_converge']:.1%} where both converge"


def main() -> None:
    """Measure, print and keep."""
    compared = bench_compare()
    n, d, loss, source = points()
    problem = Problem(LAW, huber_log(DELTA), np.log([n, d]), np.log(loss), np.ones(len(loss)))
    best = minimise(problem, projected_starts(problem, 32))
    theta = best.theta[best.value.argmin()]
    boot, starts = bench_bootstrap(problem, theta), bench_starts(problem)
    other = bench_chinchilla(problem, n, d, loss)
    console, table = Console(), Table("fit", "seconds", "note", title=f"{source}, Huber(1e-3), one thread")
    for name, item in boot.items():
        note = f"{item['converged']:.1%} converged" if "converged" in item else _against(item)
        table.add_row(f"4,000 bootstraps, {name}", f"{item['seconds']:.2f}", note)
    for name, item in starts.items():
        table.add_row(
            name, f"{item['seconds']:.2f}", f"objective {item['objective']:.9e}; {item['agree']:.0%} of starts agree"
        )
    if other:
        table.add_row("chinchilla 0.2.0, 16 starts", f"{other['seconds']:.2f}", f"objective {other['objective']:.9e}")
    note = f"{compared['pairs']} pairs; peak {compared['peak_mb']:.0f} MB, {compared['before_mb']:.0f} MB before"
    table.add_row("compare, 100,000 runs of 50 recipes", f"{compared['seconds']:.2f}", note)
    console.print(table)
    keep("laws", {"data": source, "bootstrap": boot, "starts": starts, "chinchilla": other, "compare": compared})


if __name__ == "__main__":
    main()
