"""A program that tries one change after the other, does what `keep` says, and goes on from what is kept."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossover.answers.keeping.change import KEEP, MORE, Asked
from crossover.answers.keeping.keep import Keep, keep
from crossover.answers.keeping.series import Place

Noise = Callable[[np.random.Generator, int], np.ndarray[Any, Any]]
SIZES = (1e18, 4e18, 16e18)


@dataclass(frozen=True)
class Change:
    """A recipe whose loss is by `gain` lower than that of what it changes, in s.d. of the difference of two runs."""

    gain: float
    fading: float = 0.0
    """Of the gain, by the largest size: 1 leaves nothing, 2 turns it round."""


@dataclass
class Lab:
    """Runs made so far; each has noise of its own and shares some with the runs of its seed."""

    generator: np.random.Generator
    noise: Noise
    sizes: tuple[float, ...] = (1.0,)
    rows: list[tuple[float, float, str, str]] = field(default_factory=list)
    level: dict[str, tuple[float, ...]] = field(default_factory=dict)
    seeds: dict[tuple[float, str], float] = field(default_factory=dict)

    def run(self, recipe: str, x: float, pair: str) -> None:
        """One more run."""
        shared = self.seeds.setdefault((x, pair), float(self.generator.normal()))
        own = float(self.noise(self.generator, 1)[0]) / 2**0.5
        base = 3.0 * x**-0.05 if len(self.sizes) > 1 else 3.0
        worse = float(np.interp(np.log(x), np.log(self.sizes), self.level[recipe]))
        self.rows.append((x, base + 0.01 * (worse + shared + own), recipe, pair))

    def change(self, name: str, of: str, change: Change) -> None:
        """A new recipe; its gain falls evenly from size to size."""
        share = np.linspace(1, 1 - change.fading, len(self.sizes)) if len(self.sizes) > 1 else np.ones(1)
        self.level[name] = tuple(np.array(self.level[of]) - change.gain * share)

    def ask(self, a: str, b: str, asked: Asked) -> Keep:
        """What `keep` says of the runs so far."""
        x, loss, recipe, pair = zip(*self.rows, strict=True)
        return keep(np.array(x), np.array(loss), recipe, a, b, pair=pair, asked=asked)


def normal(generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
    """Of s.d. 1."""
    return generator.normal(size=count)


def heavy(generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
    """Student's t of four degrees of freedom, of s.d. 1: one run in a hundred is off by more than 2.6."""
    return generator.standard_t(4, count) / 2**0.5


def series(
    lab: Lab, changes: Iterable[Change], asked: Asked, of: int | None = None, most: int = 60
) -> Iterator[tuple[Change, str, int, int]]:
    """Change by change: verdict (`run more` where `most` runs did not decide), runs made, looks taken.

    With `of` in a series of so many, as `--log` has it. What is kept is the base of what comes.
    """
    base, keeps = "base", 0
    lab.level[base] = (0.0,) * len(lab.sizes)
    for x in lab.sizes:
        for seed in range(3):
            lab.run(base, x, str(seed))
    for number, change in enumerate(changes):
        name = f"change {number}"
        lab.change(name, base, change)
        before, looks = len(lab.rows), 1
        lab.run(name, lab.sizes[0], "0")
        level = asked.level if of is None else min(asked.level, Place("", number + 1, of, keeps, None).level)
        now = Asked(asked.target, asked.worth, asked.noise, level, asked.miss)
        while (found := lab.ask(base, name, now)).verdict == MORE and len(lab.rows) - before < most:
            assert found.next is not None
            for recipe in found.next.recipes:
                lab.run(recipe, found.next.x, found.next.pair or "")
            looks += 1
        yield change, found.verdict, len(lab.rows) - before, looks
        if found.verdict == KEEP:
            base, keeps = name, keeps + 1
