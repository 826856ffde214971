"""Which runs of many recipes to make next: losers are dropped, and the best one is found for less."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.answers.advising.arms import ArmsAdvice, _gradient
from crossover.cli.app import app

SIZES = np.geomspace(1e15, 1e16, 3)
NEXT, TARGET = np.geomspace(2e16, 1e17, 3), 2e17


class Lab:
    """Recipes whose losses fall by powers of their own."""

    def __init__(self, draw: int, recipes: int = 6) -> None:
        self.generator = np.random.default_rng(draw)
        self.powers = dict(zip("abcdefgh"[:recipes], 0.05 + 0.004 * self.generator.normal(size=recipes), strict=True))

    def run(self, recipe: str, x: float, seed: int) -> dict[str, Any]:
        loss = 3 * (x / 1e15) ** -self.powers[recipe] + 0.004 * self.generator.normal()
        return {"recipe": recipe, "flops": x, "seed": seed, "loss": loss}

    def regret(self, recipe: str) -> float:
        best = max(self.powers.values())
        return 3 * ((TARGET / 1e15) ** -self.powers[recipe] - (TARGET / 1e15) ** -best)

    def begin(self) -> pd.DataFrame:
        return pd.DataFrame([self.run(name, x, seed) for name in self.powers for x in SIZES for seed in (0, 1)])


def candidates(done: pd.DataFrame, lab: Lab) -> pd.DataFrame:
    """Two seeds of every recipe at the next sizes, less what is done."""
    made = set(zip(done["recipe"], done["flops"], done["seed"], strict=True))
    rows = [(name, x, seed) for name in lab.powers for x in NEXT for seed in (0, 1) if (name, x, seed) not in made]
    return pd.DataFrame(rows, columns=["recipe", "flops", "seed"])


def ask(runs: pd.DataFrame, cells: pd.DataFrame, budget: float) -> ArmsAdvice:
    found = xo.advise(runs, cells, x="flops", by="recipe", pair="seed", at=TARGET, budget=budget)
    assert isinstance(found, ArmsAdvice)
    return found


def test_the_gradient_is_what_choosing_after_a_move_saves() -> None:
    """Against a million draws."""
    level, moves = np.array([0.0, 0.1, 0.3]), np.array([0.2, 0.1, 0.4])
    gains = _gradient(level, np.arange(3), moves)
    normal = np.random.default_rng(0).normal(size=1_000_000)
    for i in range(3):
        rest = np.delete(level, i).min()
        after = np.minimum(level[i] + moves[i] * normal, rest).mean()
        assert gains[i] == pytest.approx(level.min() - after, abs=5e-4)


def test_losers_are_dropped_and_no_cell_of_theirs_is_run() -> None:
    lab = Lab(0, 4)
    lab.powers |= {"a": 0.01, "b": 0.06, "c": 0.061, "d": 0.05}
    runs = lab.begin()
    found = ask(runs, candidates(runs, lab), 5e17)
    assert "a" in found.dropped
    assert found.steps
    assert "a" not in {step.recipe for step in found.steps}
    assert found.steps[-1].cumulative_cost <= 5e17
    assert not found.stop
    said = str(found)
    assert "dropped, best with less than 1 in 50: a" in said
    assert "what to run next" in said


def test_who_is_far_ahead_is_told_to_stop() -> None:
    lab = Lab(0, 3)
    lab.powers |= {"a": 0.02, "b": 0.1, "c": 0.03}
    runs = lab.begin()
    found = ask(runs, candidates(runs, lab), 1e18)
    assert (found.stop, found.best.choose) == (True, "b")
    assert found.why.startswith("b is best with probability 0.9")


@pytest.mark.slow
@pytest.mark.long
def test_it_finds_a_better_recipe_than_the_same_compute_spread_evenly() -> None:
    """Six recipes, one cell at a time; beside it cells in turn, the smallest sizes of all recipes first."""
    budget, ours, even = 4e17, [], []
    for draw in range(24):
        lab = Lab(draw)
        begun = lab.begin()
        runs, left = begun, budget
        while left > 0:
            cells = candidates(runs, lab)
            found = ask(runs, cells, left)
            if found.stop:
                break
            cell = cells.iloc[found.steps[0].cell]
            runs = pd.concat([runs, pd.DataFrame([lab.run(cell["recipe"], cell["flops"], cell["seed"])])])
            left -= cell["flops"]
        ours.append(lab.regret(xo.compare(runs, pair="seed", at=TARGET).best.choose))
        spread, spent = [begun], 0.0
        for _, cell in candidates(begun, lab).sort_values(["flops", "seed", "recipe"]).iterrows():
            if (spent := spent + cell["flops"]) > budget:
                break
            spread.append(pd.DataFrame([lab.run(cell["recipe"], cell["flops"], cell["seed"])]))
        even.append(lab.regret(xo.compare(pd.concat(spread), pair="seed", at=TARGET).best.choose))
    assert np.mean(ours) < np.mean(even), (np.mean(ours), np.mean(even))


def test_the_command_and_its_mistakes(tmp_path: Path) -> None:
    lab = Lab(1, 4)
    runs = lab.begin()
    runs.to_csv(tmp_path / "runs.csv", index=False)
    candidates(runs, lab).to_csv(tmp_path / "next.csv", index=False)
    asked = ["advise", str(tmp_path / "runs.csv"), "--x", "flops", "--by", "recipe", "--pair", "seed",
             "--candidates", str(tmp_path / "next.csv"), "--budget", "1e17"]  # fmt: skip
    done = CliRunner().invoke(app, [*asked, "--at", "x=1e18", "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert {"best", "regret", "dropped", "steps", "stop", "why"} <= set(found)
    for more, said in ((["--at", "x=1e19"], "name one"), (["--sure", "2"], "sure must")):
        wrong = CliRunner().invoke(app, [*asked, "--at", "x=1e18", *more])
        assert said in str(wrong.exception)
