"""What the checkout of a project adds to the command line: its commands, and answers for its own studies.

Found by the entry point `crossover.project`, so that whoever installed the library alone has neither.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast

from crossover.base.errors import UsageError

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice
    from crossover.answers.advising.arms import ArmsAdvice
    from crossover.cli.predict import Asked
    from crossover.ledger.body import Forecast
    from crossover.ledger.realised import Realised


@dataclass(frozen=True)
class Group:
    """Commands that stand together in the help, with one example."""

    title: str
    commands: Sequence[Callable[..., Any]]
    example: str


class Project(Protocol):
    """The module that the entry point names."""

    GROUPS: Sequence[Group]

    def advise_study(
        self, study_name: str, scale_name: str, targets: Sequence[str], budget: float, only: str | None,
        widths: Sequence[int], seeds: int, noise: float | None, sure: float,
    ) -> "Advice | ArmsAdvice":  # fmt: skip
        """Which cells of a study to train next; the budget is in hours."""

    def ask_study(self, study: str, scale: str, at: str, law: str | None) -> "Asked":
        """What the runs of a study say of a width, written as `width=96`; by a law instead of the usual one."""

    def own_losses(self, forecast: "Forecast") -> "Mapping[str, Realised]":
        """What the recipes of a study came to at the forecast's width."""


@cache
def find_project() -> Project | None:
    """The project whose checkout is installed here, if one is: a wheel has its entry point, and not its modules."""
    for found in entry_points(group="crossover.project"):
        if find_spec(found.module.partition(".")[0]) is not None:
            return cast(Project, found.load())
    return None


def require_project() -> Project:
    """The same. Raises `UsageError` where there is none."""
    project = find_project()
    if project is None:
        raise UsageError("studies of params.yaml need a checkout of the project and its environment: `make study`")
    return project
