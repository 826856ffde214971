"""What is said of comparisons, forecasts and advice, line by line and table by table."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from crossover.answers.decision import words as decision_words
from crossover.laws.words import left_out_lines, number, span
from crossover.plots.blocks import Block, Heading, Table, table

if TYPE_CHECKING:
    from crossover.answers.advise import Advice, Step
    from crossover.answers.comparison import Comparison, Comparisons, Gap
    from crossover.answers.crossing import Crossover
    from crossover.answers.predict import Prediction

_MANY = 12  # pairs, above which each gets one line
_STEPS = 20
_TINY = 1e-9  # in losses


def comparisons_said(result: "Comparisons") -> Iterator[Block]:
    """Every pair with all there is to say of it; of many pairs one line each."""
    yield from left_out_lines(result.left_out)
    if len(result.pairs) > _MANY:
        yield _many(result.pairs)
        return
    for item in result.pairs:
        yield from _pair(item, result.x)


def _pair(item: "Comparison", x: str) -> Iterator[Block]:
    """Verdict, crossover, rungs, baseline, gap, sensitivity."""
    yield Heading(f"{item.b} against {item.a}: {item.verdict}")
    yield from _crossing(item, x)
    if item.rungs:
        yield _rungs(item, x)
    elif item.p_b_beats_a:
        yield f"P({item.b} better): " + ", ".join(f"{c.p:.2f} at {c.x:.3g}" for c in item.p_b_beats_a[::2])
    if item.baseline and item.baseline.better:
        yield f"plain ranking at the largest common size, {item.baseline.x:.4g}: {item.baseline.better}"
    if item.gap:
        yield _gap(item, x)
        if item.gap.decision:
            yield _decision(item.gap, x)
    for variant in item.sensitivity:
        moved = "" if variant.crossover is None else f", crossover {variant.crossover:.4g}"
        yield f"{variant.change}: {variant.verdict}{moved}"
    yield from (f"note: {flag}" for flag in item.flags)


def _gap(item: "Comparison", x: str) -> str:
    gap = item.gap
    assert gap
    factor = "" if gap.equivalent_compute is None else (
        f", as if {item.a} had {gap.equivalent_compute.value:.3g}x {span(gap.equivalent_compute.ci, 3)} the {x}"
    )  # fmt: skip
    return (
        f"{gap.lever_arm_decades:.2f} decades outside the runs, at {gap.x:.4g}: {gap.difference.value:+.4f} "
        f"{span(gap.difference.ci, 3, '+')}{factor}; P({item.b} better) = {gap.p_b_beats_a:.3f}; "
        f"assumes {gap.basis or item.model}"
    )


def _decision(gap: "Gap", x: str) -> str:
    return f"at {gap.x:.4g}, {decision_words(asdict(gap)['decision'], x, 'in loss')}"


def _crossing(item: "Comparison", x: str) -> Iterator[str]:
    if item.crossover is not None:
        yield from _crossover(item.crossover, x)
    if item.bracket:
        yield f"the measured sign changes between {item.bracket[0]:.6g} and {item.bracket[1]:.6g}"
    if len(item.roots) > 1:
        yield f"all roots: {', '.join(f'{root:.4g}' for root in item.roots)}"


def _crossover(place: "Crossover", x: str) -> Iterator[str]:
    where = "" if not place.lever_arm_decades else f", {place.lever_arm_decades:.2f} decades outside the runs"
    yield f"crossover at {x} = {place.value:.4g} {span(place.ci)}{where}"
    if len(place.pieces) > 1:
        yield f"its confidence set has {len(place.pieces)} pieces: {', '.join(map(span, place.pieces))}"
    if None in place.ci:
        yield "the runs do not bound it on both sides within 1.5 decades of them"


def _rungs(item: "Comparison", x: str) -> Table:
    seeds = any(rung.difference.ci for rung in item.rungs)
    columns = (f"{item.b} − {item.a}", *(("90% interval",) if seeds else ()), f"P({item.b} better)")
    out = table("", x, "pairs", *columns)
    chances = {chance.x: chance.p for chance in item.p_b_beats_a}
    for rung in item.rungs:
        chance = f"{chances[rung.x]:.3f}" if rung.x in chances else "–"
        value = "same run" if rung.structural else f"{rung.difference.value:+.5f}"
        around = (span(rung.difference.ci, 3, "+"),) if seeds else ()
        out.add(rung.name, str(rung.pairs), value, *around, chance)
    return out


def _many(pairs: "list[Comparison]") -> Table:
    """One line per pair."""
    out = table(f"{len(pairs)} pairs", "A", "B", "verdict", "crossover", "90% interval", "best at the top")
    for item in pairs:
        place = item.crossover if item.verdict == "crosses" else None
        out.add(
            item.a, item.b, item.verdict, number(place.value if place else None, 4),
            span(place.ci) if place else "–", (item.baseline.better if item.baseline else None) or "–",
        )  # fmt: skip
    return out


def prediction_said(result: "Prediction", name: str = "forecast") -> Iterator[Block]:
    """Every recipe's law and loss at the target, and who wins."""
    yield from left_out_lines(result.left_out)
    at = ", ".join(f"{key} = {value:.4g}" for key, value in result.at.items())
    title = f"{name}: {at}, {result.lever_arm_decades:.2f} decades outside the runs"
    out = table(title, "recipe", "law", f"mean loss of {result.runs} run(s)", "90% interval", left=2)
    for recipe, item in result.recipes.items():
        out.add(recipe, item.formula, f"{item.value:.5g}", f"[{item.low:.5g}, {item.high:.5g}]")
    yield out
    for chance in result.pairs:
        words = f"P({chance.b} ends below {chance.a}) = {chance.p_b_wins:.3f}; {chance.b} - {chance.a} = "
        yield f"{words}{chance.difference:+.4f}, s.d. {chance.sd:.2g}"


def advice_said(advice: "Advice") -> Iterator[Block]:
    """Where the answer stands, the next steps, and whether to go on."""
    yield from left_out_lines(advice.left_out)
    yield from _standing(advice)
    if advice.steps:
        yield _steps(advice)
    if len(advice.steps) > _STEPS:
        final, more = advice.steps[-1], len(advice.steps) - _STEPS
        yield f"and {more} further steps, together {final.cumulative_cost:.3g}, to {_after(final):.3g}"
    yield ("Stop: " if advice.stop else "Go on: ") + advice.why + "."
    if advice.steps and not advice.stop:
        yield "Run the first steps, add their rows to the runs and ask again: results change the order."


def _standing(advice: "Advice") -> Iterator[str]:
    place = "; ".join(", ".join(f"{name} = {value:.4g}" for name, value in at.items()) for at in advice.targets)
    now = advice.now
    if now.b_wins is None:
        yield f"loss at {place}: {now.value:.4f}, s.d. {now.sd:.2g}, from {advice.n_rows} runs"
    else:
        a, b = advice.recipes
        yield f"{b} beats {a} at {place} with probability {now.b_wins:.3f}, from {advice.n_rows} runs"
        yield (
            f"loss({b}) - loss({a}) = {now.value:+.4f}, s.d. {now.sd:.2g}; "
            f"choosing now costs {_small(now.regret)} on average"
        )
    yield f"noise of a run there {advice.noise_sd:.2g}, what the law may miss {advice.discrepancy_sd:.2g} (s.d.)"


def _steps(advice: "Advice") -> Table:
    two = advice.now.regret is not None
    last = "expected regret" if two else "s.d. of the answer"
    title = "what further runs would bring" if advice.stop else "what to run next"
    out = table(title, "step", "cell", *(["recipe"] if two else []), advice.unit, "together", last, left=2)
    for i, step in enumerate(advice.steps[:_STEPS], 1):
        recipe = [" and ".join(step.recipe)] if two else []
        cell = _cell(step, advice.pair)
        out.add(str(i), cell, *recipe, f"{step.cost:.3g}", f"{step.cumulative_cost:.3g}", f"{_after(step):.3g}")
    return out


def _small(value: float | None) -> str:
    return "nothing" if value is None or value < _TINY else f"{value:.2g}"


def _after(step: "Step") -> float:
    return step.regret if step.regret is not None else step.sd


def _cell(step: "Step", pair: str | None) -> str:
    at = ", ".join(f"{name} = {value:.4g}" for name, value in step.at.items())
    return f"{at}, {pair} {step.pair}" if step.pair else at
