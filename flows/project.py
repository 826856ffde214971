"""What this checkout adds to the command `crossover`: see `crossover.cli.project`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crossover.cli.project import Group
from flows.commands.accept import accept
from flows.commands.diff import diff
from flows.commands.doctor import doctor
from flows.commands.gc import gc
from flows.commands.plan import plan
from flows.commands.report import report
from flows.commands.run import run
from flows.commands.serve import serve
from flows.commands.status import status
from flows.commands.verify import verify
from flows.commands.watch import watch

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice
    from crossover.answers.advising.arms import ArmsAdvice
    from crossover.cli.predict import Asked
    from crossover.ledger.body import Forecast
    from crossover.ledger.realised import Realised

GROUPS = (
    Group(
        "A project's studies",
        (plan, status, run, watch, serve, report, diff),
        "crossover diff main --html changed.html",
    ),
    Group("Care for what is stored", (verify, accept, doctor, gc), "crossover accept --verify 5"),
)


def advise_study(*arguments: Any) -> "Advice | ArmsAdvice":
    """Which cells of a study to train next."""
    from flows.studies.answers import advise_study

    return advise_study(*arguments)


def ask_study(study: str, scale: str, at: str, law: str | None) -> "Asked":
    """What the runs of a study say of a width."""
    from flows.studies.answers import ask_study

    return ask_study(study, scale, at, law)


def own_losses(forecast: "Forecast") -> "Mapping[str, Realised]":
    """What the recipes of a study came to at the forecast's width."""
    from stages.fit.forecasts import own_losses

    return own_losses(forecast)
