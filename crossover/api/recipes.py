"""The same answer for each recipe of a table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from crossover.base.errors import UsageError
from crossover.laws.optimum import Optima
from crossover.laws.result import Fit
from crossover.laws.words import left_out_lines
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block, Heading
from crossover.runs.roles import divided
from crossover.runs.table import LeftOut, Runs

if TYPE_CHECKING:
    from crossover.plots.house import Figure


Result = TypeVar("Result", Fit, Optima)


def by_recipe(runs: Runs, by: str | None, ask: Callable[[Runs], Result]) -> "Result | ByRecipe[Result]":
    """The answer for all runs where `by` is none, else for each recipe; those that have none are left out.

    Raises `UsageError` where no recipe has one.
    """
    if by is None:
        return ask(runs)
    found: dict[str, Result] = {}
    left_out, errors = list(runs.left_out), list[str]()
    for name, part in divided(runs, by):
        try:
            found[name] = ask(part)
        except UsageError as error:
            errors.append(f"{by} '{name}': {error}")
            left_out.append(LeftOut(errors[-1], len(part.table)))
    if not found:
        raise UsageError(errors[0])
    return ByRecipe(by, found, left_out)


@dataclass(frozen=True)
class ByRecipe(Answer, Generic[Result]):
    """Answers by recipe; `result["muon"]` is one of them."""

    by: str
    """The column that names the recipe."""
    recipes: Mapping[str, Result]
    left_out: list[LeftOut] = field(default_factory=list)

    def __getitem__(self, recipe: str) -> Result:
        """The answer for one recipe."""
        return self.recipes[recipe]

    def said(self) -> Iterator[Block]:
        """What is said of each, under its name."""
        yield from left_out_lines(self.left_out)
        for name, result in self.recipes.items():
            yield Heading(f"{self.by} {name}")
            yield from result.said()

    def draw(self) -> "Figure":
        """All in one figure, by recipe."""
        from crossover.plots.charts import draw_optima
        from crossover.plots.losses import draw_fits

        results: Any = dict(self.recipes)
        return draw_fits(results) if isinstance(next(iter(results.values())), Fit) else draw_optima(results)
