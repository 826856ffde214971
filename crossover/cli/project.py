"""What the checkout of a project adds to the command line: its commands, and answers for its own studies.

Found by the entry point `crossover.project`, so that whoever installed the library alone has neither.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from crossover.base.errors import UsageError

if TYPE_CHECKING:
    from crossover.answers.advise import Advice
    from crossover.cli.predict import Asked
    from crossover.ledger.body import Forecast
    from crossover.ledger.scoring import Realised


class Project(Protocol):
    """The module that the entry point names."""

    COMMANDS: Sequence[Callable[..., Any]]

    def advise_study(
        self, study_name: str, scale_name: str, targets: Sequence[str], budget: float, only: str | None,
        widths: Sequence[int], seeds: int, noise: float | None, sure: float,
    ) -> "Advice":  # fmt: skip
        """Which cells of a study to train next; the budget is in hours."""

    def ask_study(self, study: str, scale: str, width: int) -> "Asked":
        """The runs of a study and its target at a width."""

    def own_losses(self, forecast: "Forecast") -> "Mapping[str, Realised]":
        """What the recipes of a study came to at the forecast's width."""


@cache
def find_project() -> Project | None:
    """The project whose checkout is installed here, if one is."""
    for found in entry_points(group="crossover.project"):
        return cast(Project, found.load())
    return None


def require_project() -> Project:
    """The same. Raises `UsageError` where there is none."""
    project = find_project()
    if project is None:
        raise UsageError("studies of params.yaml need a checkout of the project and its environment: `make study`")
    return project
