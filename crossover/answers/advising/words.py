"""What is said of advice: where the choice stands, what to run next, and whether to go on."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from crossover.answers.words import best_said, standing_at
from crossover.base.numerals import chance, short
from crossover.laws.words import left_out_lines
from crossover.plots.blocks import Block, Lead, Table, table

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice, Step
    from crossover.answers.advising.arms import ArmsAdvice

_STEPS = 20
_TINY = 1e-9  # in losses


def arms_said(advice: "ArmsAdvice") -> Iterator[Block]:
    """Of many recipes: where the choice stands, who is dropped, and what to run."""
    yield from left_out_lines(advice.left_out)
    yield from best_said(advice.best)
    if advice.dropped:
        yield f"dropped, best with less than 1 in 50: {', '.join(advice.dropped)}"
    x = advice.comparisons.x if advice.comparisons else "x"
    places = [f"{x} = {short(step.x, 4)}" + _label(advice.pair, step.pair) for step in advice.steps]
    if not advice.stop:
        first = advice.steps[0]
        yield Lead(f"Next: {first.recipe} at {places[0]}, for {_paid(first.cost, advice.unit)}.")
    if advice.steps:
        title = "what further runs would bring" if advice.stop else "what to run next"
        out = table(title, "step", "cell", "recipe", advice.unit, "together", "saves", left=3)
        for i, step in enumerate(advice.steps[:_STEPS], 1):
            cost = (short(step.cost), short(step.cumulative_cost))
            out.add(str(i), places[i - 1], step.recipe, *cost, short(step.saves, 2))
        yield out
    yield from _whether(advice)


def advice_said(advice: "Advice") -> Iterator[Block]:
    """Where the answer stands, the next steps, and whether to go on."""
    yield from left_out_lines(advice.left_out)
    yield Lead(_standing(advice))
    if not advice.stop:
        yield Lead(_first(advice))
    yield from _doubts(advice)
    if advice.steps:
        yield _steps(advice)
    if len(advice.steps) > _STEPS:
        final, more = advice.steps[-1], len(advice.steps) - _STEPS
        yield f"and {more} further steps, together {short(final.cumulative_cost)}, to {short(_after(final))}"
    yield from _whether(advice)


def _whether(advice: "Advice | ArmsAdvice") -> Iterator[Block]:
    """Whether to go on."""
    if advice.stop:
        yield Lead(f"Stop: {advice.why}.")
    else:
        yield f"Go on: {advice.why}."
        yield "Run the first steps, add their rows to the runs and ask again: results change the order."


def _standing(advice: "Advice") -> str:
    now, pairs = advice.now, advice.comparisons.pairs if advice.comparisons else []
    place = "; ".join(_at(target, advice) for target in advice.targets)
    if now.b_wins is None:
        return f"Loss at {place}: {now.value:.4f}, s.d. {short(now.sd, 2)}, from {advice.n_rows} runs."
    if pairs and (gap := pairs[0].gap):
        return standing_at(pairs[0], gap, *advice.axes)
    return f"At {place}, P({advice.recipes[1]} better) {chance(now.b_wins)}."


def _doubts(advice: "Advice") -> Iterator[str]:
    """The difference, what choosing now may cost, and what the answer's uncertainty is made of."""
    now = advice.now
    if now.b_wins is not None:
        a, b = advice.recipes
        yield f"{b} - {a} = {now.value:+.4f}, s.d. {short(now.sd, 2)}, from {advice.n_rows} runs"
        yield f"choosing now costs {_small(now.regret)} on average"
    missed = short(advice.discrepancy_sd, 2)
    yield f"noise of a run there {short(advice.noise_sd, 2)}, what the law may miss {missed} (s.d.)"


def _steps(advice: "Advice") -> Table:
    two = advice.now.regret is not None
    last = "expected regret" if two else "s.d. of the answer"
    title = "what further runs would bring" if advice.stop else "what to run next"
    out = table(title, "step", "cell", *(["recipe"] if two else []), advice.unit, "together", last, left=2)
    for i, step in enumerate(advice.steps[:_STEPS], 1):
        recipe = [" and ".join(step.recipe)] if two else []
        cell = _cell(step, advice)
        out.add(str(i), cell, *recipe, short(step.cost), short(step.cumulative_cost), short(_after(step)))
    return out


def _small(value: float | None) -> str:
    return "nothing" if value is None or value < _TINY else short(value, 2)


def _after(step: "Step") -> float:
    return step.regret if step.regret is not None else step.sd


def _first(advice: "Advice") -> str:
    """What to run first, with its partner where that comes second, and what is expected to be left, in the end too."""
    two = advice.now.regret is not None
    what, now = ("the regret of choosing", advice.now.regret) if two else ("the answer's s.d.", advice.now.sd)
    first, *others = advice.steps
    paired = [step for step in others[:1] if (step.at, step.pair) == (first.at, first.pair)]
    last = [first, *paired][-1]
    recipes = [name for step in (first, *paired) for name in step.recipe]
    who = " and ".join(recipes) + " at " if two else ""
    paid = f"for {_paid(last.cumulative_cost, advice.unit)}"
    left = f"is expected to take {what} from {_small(now)} to {_small(_after(last))}"
    end = advice.steps[-1]
    rest = f"; all {len(advice.steps)} steps, for {short(end.cumulative_cost)}, to {_small(_after(end))}"
    return f"Next: {who}{_cell(first, advice)}, {paid}, which {left}{rest if end is not last else ''}."


def _paid(cost: float, unit: str) -> str:
    return f"{short(cost)} in cost" if unit == "cost" else f"{short(cost)} {unit}"


def _cell(step: "Step", advice: "Advice") -> str:
    return _at(step.at, advice) + _label(advice.pair, step.pair)


def _label(pair: str | None, label: str | None) -> str:
    return f", {pair} {label}" if label else ""


def _at(place: Mapping[str, float], advice: "Advice") -> str:
    """A place by the columns' names: `x` is what the table calls it."""
    return ", ".join(f"{advice.axes[0] if name == 'x' else name} = {short(value, 4)}" for name, value in place.items())
