"""The command `crossover advise`: which runs to make next, for their cost, and when to stop.

Two doors to one answer: anybody's table with a list of candidates, and a study of params.yaml, whose candidates are
cells that are not finished yet and cost hours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.base.errors import UsageError
from crossover.cli.options import Json, Loss, Where, parse_place, require_inputs
from crossover.cli.output import print_json
from crossover.cli.project import require_project

if TYPE_CHECKING:
    from crossover.answers.advise import Advice, Step
    from crossover.runs.table import Runs

_SHOWN = 20


def advise(
    target: Annotated[list[str], typer.Option(help="Where the loss is wanted, as N=7e9,D=2e12; may be repeated. "
                                              "With --study: width=256.")],
    budget: Annotated[float, typer.Option(help="What the next runs may cost together; hours with --study.")],
    file: Annotated[Path | None, typer.Argument(help="Runs as .csv, .parquet or .jsonl.", show_default=False)] = None,
    loss: Loss = "loss",
    x: Annotated[str | None, typer.Option(help="Column or expression: FLOPs, tokens, parameters.")] = None,
    n: Annotated[str | None, typer.Option("--n", help="Column or expression: parameters.")] = None,
    d: Annotated[str | None, typer.Option("--d", help="Column or expression: training tokens.")] = None,
    candidates: Annotated[Path | None, typer.Option(help="Cells that could be run, with the same columns less the "
                                                    "loss.", show_default="rows of the runs without a loss")] = None,
    cost: Annotated[str | None, typer.Option(help="Column or expression, in the budget's unit.",
                                             show_default="6 N D, or x")] = None,
    by: Annotated[str | None, typer.Option(help="Column that names one of two recipes: which wins?")] = None,
    pair: Annotated[str | None, typer.Option(help="Column that pairs runs of one size: the seed.")] = None,
    law: Annotated[str | None, typer.Option(help="power, power_floor, chinchilla, chinchilla_shared.",
                                            show_default="chinchilla with --n and --d, else power_floor")] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of a run's loss; estimated where absent.")]
    = None,
    sure: Annotated[float, typer.Option(help="Probability at which a decision is taken as settled.")] = 0.95,
    where: Where = None,
    study: Annotated[str | None, typer.Option(help="A study of params.yaml instead of a file.")] = None,
    scale: Annotated[str | None, typer.Option(help="Its scale.")] = None,
    only: Annotated[str | None, typer.Option(help="With --study: the recipes A,B, or one.")] = None,
    width: Annotated[list[int] | None, typer.Option(help="With --study: another width that could be run; may be "
                                                    "repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=0, help="With --study: further seeds that could be run.")] = 2,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Which runs to make next, and when to stop.

    The cells within a budget that tell most about the loss at a target, or about which of two recipes wins there.

    crossover advise runs.csv --n params --d tokens --candidates next.csv --target N=7e9,D=2e12 --budget 1e21
    """
    if (file is None) == (study is None):
        raise UsageError("name a file of runs, or --study and --scale")
    if study is not None:
        if scale is None:
            raise UsageError("--study needs --scale, as --scale pocket")
        advice = require_project().advise_study(study, scale, target, budget, only, width or [], seeds, noise, sure)
        unit, pair = "hours", "seed"
    else:
        assert file is not None
        columns = {name: text for name, text in (("x", x), ("N", n), ("D", d)) if text is not None}
        chosen = law or ("chinchilla" if n and d else "power_floor")
        advice = _advise_file(
            file, candidates, where, columns, chosen, (loss, cost, by, pair), target, budget, noise, sure
        )
        unit = "cost"
    if as_json:
        print_json(advice.to_json())
    else:
        _show(advice, unit, pair)


def _advise_file(
    file: Path,
    candidates: Path | None,
    where: str | None,
    columns: dict[str, str],
    law: str,
    named: tuple[str, str | None, str | None, str | None],
    target: Sequence[str],
    budget: float,
    noise: float | None,
    sure: float,
) -> "Advice":
    from dataclasses import replace

    from crossover.answers.advise import advise as advise_rows
    from crossover.answers.choices import Candidates
    from crossover.laws.laws import get_law
    from crossover.runs.table import read_runs

    loss, cost, by, pair = named
    inputs = get_law(law).inputs
    require_inputs(inputs, columns, law)
    runs = read_runs(file, where)
    runs, cells = (runs, read_runs(candidates)) if candidates else _without_loss(runs, loss)
    places = {name: cells.numbers(columns[name]) for name in inputs}
    price = cells.numbers(cost) if cost else _compute(places)
    advice = advise_rows(
        {name: runs.numbers(columns[name]) for name in inputs}, runs.numbers(loss),
        Candidates(places, price, _labels(cells, by), _labels(cells, pair)),
        [parse_place(text, inputs, "--target") for text in target], budget, law=law,
        recipe=_labels(runs, by), pair=_labels(runs, pair), noise=noise, sure=sure,
    )  # fmt: skip
    return replace(advice, left_out=[*runs.left_out, *advice.left_out])


def _labels(runs: "Runs", column: str | None) -> Any:
    return None if column is None else runs.labels(column)


def _compute(places: dict[str, Any]) -> Any:
    """6 N D, or x itself."""
    return 6.0 * places["N"] * places["D"] if "N" in places else places["x"]


def _without_loss(runs: "Runs", loss: str) -> tuple["Runs", "Runs"]:
    """Finished runs, and rows without a loss, which are the candidates."""
    import numpy as np

    from crossover.runs.table import Runs

    empty = np.isnan(runs.numbers(loss))
    if not empty.any():
        raise UsageError(f"{runs.path}: no row has an empty '{loss}' to be a candidate; name --candidates FILE")
    return Runs(runs.path, runs.table[~empty], runs.left_out), Runs(runs.path, runs.table[empty])


def _show(advice: "Advice", unit: str, pair: str | None) -> None:
    from rich.markup import escape

    from crossover.cli.said import console, make_table, note_left_out

    note_left_out(advice.left_out)
    for line in _headline(advice):
        console.print(line, markup=False)
    two = advice.now.regret is not None
    last = "expected regret" if two else "s.d. of the answer"
    title = "what further runs would bring" if advice.stop else "what to run next"
    table = make_table(title, "step", "cell", *(["recipe"] if two else []), unit, "together", last, left=2)
    for i, step in enumerate(advice.steps[:_SHOWN], 1):
        after = step.regret if step.regret is not None else step.sd
        recipe = [" and ".join(step.recipe)] if two else []
        cells = (str(i), _cell(step, pair), *recipe, f"{step.cost:.3g}", f"{step.cumulative_cost:.3g}", f"{after:.3g}")
        table.add_row(*map(escape, cells))
    if advice.steps:
        console.print(table)
    if len(advice.steps) > _SHOWN:
        final = advice.steps[-1]
        after = final.regret if final.regret is not None else final.sd
        more = len(advice.steps) - _SHOWN
        console.print(f"and {more} further steps, together {final.cumulative_cost:.3g}, to {after:.3g}", markup=False)
    console.print(("Stop: " if advice.stop else "Go on: ") + advice.why + ".", markup=False)
    if advice.steps and not advice.stop:
        console.print("Run the first steps, add their rows to the runs and ask again: results change the order.")


def _headline(advice: "Advice") -> list[str]:
    place = "; ".join(", ".join(f"{name} = {value:.4g}" for name, value in at.items()) for at in advice.targets)
    now = advice.now
    sizes = f"noise of a run there {advice.noise_sd:.2g}, what the law may miss {advice.discrepancy_sd:.2g} (s.d.)"
    if now.b_wins is None:
        return [f"loss at {place}: {now.value:.4f}, s.d. {now.sd:.2g}, from {advice.n_rows} runs", sizes]
    a, b = advice.recipes
    return [
        f"{b} beats {a} at {place} with probability {now.b_wins:.3f}, from {advice.n_rows} runs",
        f"loss({b}) - loss({a}) = {now.value:+.4f}, s.d. {now.sd:.2g}; choosing now costs {now.regret:.2g} on average",
        sizes,
    ]


def _cell(step: "Step", pair: str | None) -> str:
    at = ", ".join(f"{name} = {value:.4g}" for name, value in step.at.items())
    return f"{at}, {pair} {step.pair}" if step.pair else at
