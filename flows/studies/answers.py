"""Questions about a study of params.yaml: which cells to train next, what a wider one will come to."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from stages.study.cell import Cell
from stages.study.costs import count_flops
from stages.study.params import Scale, Study, load_params
from stages.study.plan import hours, resolve

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice
    from crossover.answers.advising.arms import ArmsAdvice
    from crossover.cli.predict import Asked

RESULTS = Path("data/results")
_AXES = ("FLOP", "held-out loss")


def advise_study(
    study_name: str,
    scale_name: str,
    targets: Sequence[str],
    budget: float,
    only: str | None,
    widths: Sequence[int],
    seeds: int,
    noise: float | None,
    sure: float,
) -> "Advice | ArmsAdvice":
    """Advice on cells of a study, along 6 x non-embedding parameters x tokens; the budget is in hours.

    Candidates are the planned cells that are not finished, `seeds` further seeds, and both at further `widths`. Where
    all recipes are one run by construction, its cells say nothing of their difference and are left out.
    """
    from crossover.answers.advising.advise import advise
    from crossover.answers.advising.arms import advise_arms
    from crossover.answers.advising.choices import Candidates
    from crossover.runs.table import read_runs

    params = load_params()
    study, scale = params.study(study_name), params.scale(scale_name)
    if study.axes:
        raise UsageError(f"study '{study_name}' sweeps {', '.join(study.axes)}; advice is for studies without axes")
    names = _recipes(study, only)
    runs = read_runs(RESULTS / f"{study_name}-{scale_name}" / "losses.csv").table
    runs = runs[runs["recipe"].isin(names) & (runs["status"] == "done")]
    if len(names) > 1:
        runs = runs[~_met(study, scale, names, runs["width"].tolist())]
    done = set(zip(runs["recipe"], runs["width"], runs["seed"], strict=True))
    cells = [
        (name, cell) for name, cell in _cells(study, scale, names, widths, seeds)
        if (name, cell.width, cell.seed) not in done
    ]  # fmt: skip
    goals = [{"x": _flops(resolve(study.recipes[names[0]], scale, _width(text), 0, study.window))} for text in targets]
    given = Candidates(
        {"x": np.array([_flops(cell) for _, cell in cells])}, np.array([hours([cell], scale) for _, cell in cells]),
        [name for name, _ in cells], [cell.seed for _, cell in cells],
    )  # fmt: skip
    x, loss = runs["flops_6n"].to_numpy(float), runs["loss_validation"].to_numpy(float)
    recipe, seed = runs["recipe"].tolist(), runs["seed"].tolist()
    advice: Advice | ArmsAdvice
    if len(names) > 2:
        if len(goals) != 1:
            raise UsageError("which of several recipes wins is asked at one target; name one")
        advice = advise_arms(x, loss, recipe, np.array(seed), given, goals[0]["x"], budget, sure)
    else:
        advice = advise({"x": x}, loss, given, goals, budget, law="power_floor", recipe=recipe, pair=seed, noise=noise,
                        sure=sure)  # fmt: skip
    return replace(advice, unit="hours", pair="seed").on_axes(_AXES)


def ask_study(study: str, scale: str, at: str, law: str | None) -> "Asked":
    """What the runs of a study, along compute, say of the compute of its recipes at a width, as `width=96`."""
    from crossover.answers.predict import predict
    from crossover.cli.predict import Asked
    from flows.studies.prices import stored_cells
    from stages.fit.forecasts import study_runs
    from stages.study.plan import plan_rows

    params, width = load_params(), _width(at)
    declared, size = params.study(study), params.scale(scale)
    _require_width(width, size)
    key, there = f"{study}-{scale}", size.model_copy(update={"widths": [width]})
    planned = plan_rows(declared.model_copy(update={"rungs": None}), there)
    source = RESULTS / key / "losses.csv"
    runs, cells = study_runs(key)
    compute = {count_flops(row.cell).flops_6n for row in planned}
    if len(compute) > 1:
        raise UsageError(f"the recipes of {study} differ in compute at width {width}; a forecast needs one target")
    count = len(declared.seed_numbers(size))
    prediction = predict(runs, {"x": compute.pop()}, count=count, law=law, pairs=declared.pairs)
    return Asked(
        replace(prediction, axes=_AXES), f"{key} width {width}", source, {"x": "flops_6n", "width": str(width)}, key,
        cells, bool(stored_cells(planned, params, there)),
    )  # fmt: skip


def _recipes(study: Study, only: str | None) -> list[str]:
    known = list(study.recipes)
    names = known if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"--only: the study has no recipe '{name}'; {nearest(name, known)}")
    return names


def _cells(
    study: Study, scale: Scale, names: list[str], widths: Sequence[int], seeds: int
) -> Iterator[tuple[str, Cell]]:
    ladder = sorted({*study.widths(scale.widths), *widths})
    there = study.seed_numbers(scale)
    numbers = [*there, *range(max(there) + 1, max(there) + 1 + seeds)]
    for width in ladder:
        _require_width(width, scale)
        together = [
            [resolve(study.recipes[name], scale, width, seed, study.window) for seed in numbers] for name in names
        ]
        if len(names) > 1 and all(one == together[0] for one in together):
            continue
        for name, cells in zip(names, together, strict=True):
            yield from ((name, cell) for cell in cells)


def _met(
    study: Study, scale: Scale, names: list[str], widths: list[int]
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which of some widths all recipes are one run at."""
    met = {
        width: len({resolve(study.recipes[name], scale, width, 0, study.window) for name in names}) == 1
        for width in set(widths)
    }
    return np.array([met[width] for width in widths], bool)


def _flops(cell: Cell) -> float:
    return count_flops(cell).flops_6n


def _require_width(width: int, scale: Scale) -> None:
    if width < 1 or width % scale.head_dim:
        raise UsageError(f"width {width} is no multiple of the scale's head_dim {scale.head_dim}; choose one that is")


def _width(text: str) -> int:
    name, _, number = text.partition("=")
    if name.strip() != "width" or not number.strip().isdigit():
        raise UsageError(f"--at {text}: with --study write a width, as --at width=256")
    return int(number)
