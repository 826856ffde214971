"""What `crossover plan --detect` prints: which seeds and rungs show a difference of a given size, and at what price."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover.base.errors import DamageError, UsageError
from crossover.base.numerals import short
from stages.study.params import Params, Recipe, Scale, Study, load_params
from stages.study.plan import hours, plan_rows

if TYPE_CHECKING:
    from stages.verdicts.design import Noise

_SEEDS = (2, 3, 4, 6, 8, 12, 16, 24)
_RESULTS = Path("data/results")


@dataclass(frozen=True)
class Design:
    """Seeds and rungs with what they detect (nats) and their price."""

    seeds: int
    rungs: int
    widths: list[int]
    informative: int
    """Rungs at which the recipes of every compared pair differ."""
    dof: int
    detectable_mean: float
    detectable_one_rung: float
    cells: int
    hours: float


@dataclass(frozen=True)
class Question:
    """What is to be detected, with which recipes."""

    detect: float
    power: float
    study: Study
    scale: Scale
    noise: "Noise"

    def design(self, rungs: int, seeds: int) -> Design | None:
        """The smallest so many widths of the ladder with so many seeds; None where no rung says anything."""
        from stages.verdicts.design import reach

        one_seed = self.study.one_seed(rungs=rungs)
        free = _informative(one_seed, self.scale)
        if not free or seeds < 2:
            return None
        found, cells = reach(self.noise, free, seeds, self.power), {row.cell for row in plan_rows(one_seed, self.scale)}
        widths, price = one_seed.widths(self.scale.widths), seeds * hours(cells, self.scale)
        dof, count = free * (seeds - 1), seeds * len(cells)
        return Design(seeds, rungs, widths, free, dof, found.mean, found.one_rung, count, price)

    def ladders(self) -> range:
        """How many rungs a design may have."""
        return range(1, len(self.scale.widths) + 1)

    def smallest(self, alone: bool) -> Iterator[Design]:
        """For every number of rungs the fewest seeds that detect it."""
        from stages.verdicts.design import seeds_needed

        for rungs in self.ladders():
            free = _informative(self.study.one_seed(rungs=rungs), self.scale)
            seeds = seeds_needed(self.noise, free, self.detect, self.power, alone) if free else None
            if seeds is not None and (found := self.design(rungs, seeds)):
                yield found


def show_designs(
    detect: float, noise: float | None, power: float, study: str | None, scale: str | None, as_json: bool
) -> None:
    """Table of designs and the cheapest that detects the difference. Raises `UsageError` for what cannot be planned."""
    from crossover.cli.common import print_json

    params = load_params()
    if not detect > 0:
        raise UsageError(f"--detect must be positive, in nats; got {detect:g}")
    if not 0.05 < power < 1:
        raise UsageError(f"--power must lie between 0.05, which chance alone has, and 1; got {power:g}")
    name = scale or _only_scale(params)
    question = Question(detect, power, _study(params, study), params.scale(name), _noise(params, name, noise))
    designs = [found for s in _SEEDS for r in question.ladders() if (found := question.design(r, s))]
    cheapest = {
        kind: min(question.smallest(alone), key=lambda item: (item.hours, item.cells), default=None)
        for kind, alone in (("mean", False), ("one_rung", True))
    }
    if as_json:
        print_json(_json(question, name, study, designs, cheapest))
    else:
        _show(question, name, designs, cheapest)


def _only_scale(params: Params) -> str:
    active = list(dict.fromkeys(item.scale for item in params.active.values()))
    if len(active) != 1:
        raise UsageError(f"--detect plans at one scale; name it with --scale, of {', '.join(params.scales)}")
    return active[0]


def _study(params: Params, name: str | None) -> Study:
    """The study whose recipes are priced, or two plain recipes where none is named."""
    if name is None:
        plain = {"a": Recipe(), "b": Recipe(beta1=0.95)}  # any two that differ at every width and cost the same
        return Study(title="Two recipes", recipes=plain)
    study = params.study(name)
    if len(study.recipes) < 2:
        raise UsageError(f"study {name} has one recipe, so no difference; name one of two, or leave --study out")
    if study.axes:
        axes = ", ".join(study.axes)
        raise UsageError(f"study {name} sweeps {axes}; --detect plans one value of each setting, name another")
    return study


def _informative(study: Study, scale: Scale) -> int:
    """At how many widths the recipes of every pair differ: where they are one run, nothing is learned."""
    cells = {(row.recipe, row.cell.width): row.cell for row in plan_rows(study, scale)}
    widths = study.widths(scale.widths)
    pairs = study.pairs or list(combinations(study.recipes, 2))
    return min(sum(cells[a, width] != cells[b, width] for width in widths) for a, b in pairs)


def _noise(params: Params, scale: str, stated: float | None) -> "Noise":
    """The seed SD as stated, or as the study `noise` measured it at the scale, by the verdicts' own rule."""
    from crossover.runs.groups import NotMeasurableError
    from stages.verdicts.design import Noise
    from stages.verdicts.noise import NOISE, seed_noise
    from stages.verdicts.tables import read_losses

    if stated is not None:
        if not 0 < stated < float("inf"):
            raise UsageError(f"--noise must be positive, the seed SD of one run in nats; got {stated:g}")
        return Noise(stated, "stated")
    remedy = "state the seed SD with --noise, or run the study"
    key = f"{NOISE}-{scale}"
    if NOISE not in params.studies:
        raise UsageError(f"params.yaml has no study '{NOISE}' to take the seed SD from; {remedy}")
    try:
        return Noise(*seed_noise(read_losses(_RESULTS, {NOISE: key})))
    except (DamageError, NotMeasurableError) as reason:
        raise UsageError(f"no seed SD at scale {scale}: {reason}; {remedy}") from None


def _json(
    question: Question, scale: str, study: str | None, designs: list[Design], cheapest: dict[str, Design | None]
) -> dict[str, Any]:
    return {
        "detect": question.detect,
        "power": question.power,
        "confidence": 0.9,
        "study": study,
        "scale": scale,
        "machine": question.scale.machine.name,
        "noise": {"seed_sd": question.noise.seed_sd, "pair_sd": question.noise.pair_sd, "from": question.noise.source},
        "designs": [asdict(item) for item in designs],
        "cheapest": {kind: item and asdict(item) for kind, item in cheapest.items()},
    }


def _show(question: Question, scale: str, designs: list[Design], cheapest: dict[str, Design | None]) -> None:
    from crossover.plots.blocks import show, table
    from flows.studies.prices import duration

    noise = question.noise
    columns = ("seeds", "rungs", "detectable, mean of rungs", "at one rung", "cells", "time", "")
    title = f"nats detected with {question.power:.0%} power at the 90% level; {question.scale.machine.name}"
    out = table(title, *columns, left=0)
    for item in designs:
        mark = "mean" * (item.detectable_mean <= question.detect)
        mark += " and one rung" * (item.detectable_one_rung <= question.detect)
        out.add(
            str(item.seeds), str(item.rungs), f"{item.detectable_mean:.4f}", f"{item.detectable_one_rung:.4f}",
            str(item.cells), duration(item.hours), mark,
        )  # fmt: skip
    show([
        f"scale {scale}; seed SD {short(noise.seed_sd, 4)} nats ({noise.source}); "
        f"of a pair's difference {short(noise.pair_sd, 4)}, as if its runs shared nothing",
        out,
        *(f"cheapest that detects {question.detect:g} {where}: {_words(cheapest[kind])}"
          for kind, where in (("mean", "in the mean over its rungs"), ("one_rung", "at one rung alone"))),
    ])  # fmt: skip


def _words(found: Design | None) -> str:
    from flows.studies.prices import duration
    from stages.verdicts.design import MOST_SEEDS

    if found is None:
        return f"no design up to {MOST_SEEDS} seeds"
    widths = ", ".join(map(str, found.widths))
    price = f"{found.cells} cells, {duration(found.hours)}"
    return f"{found.seeds} seeds at {found.rungs} rung(s), widths {widths}: {price}"
