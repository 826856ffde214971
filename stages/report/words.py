"""The answer of a study in plain words, uncertainty included."""

from collections.abc import Iterator
from typing import Any

from stages.report.results import StudyResults


def answers(results: StudyResults) -> list[str]:
    """Sentences that lead the page: comparisons first, then optima."""
    return [*_comparisons(results), *_optima(results)]


def _comparisons(results: StudyResults) -> Iterator[str]:
    for pair in results.fit["comparisons"]:
        a, b = results.label(pair["a"]), results.label(pair["b"])
        for side in pair["sides"]:
            where = f"{side['name'].capitalize()} the width where the two are the same run ({_list(side['widths'])})"
            yield f"{where}, {_who(side['difference'], a, b)}."
        free = [rung for rung in pair["rungs"] if not rung["structural"]]
        if free:
            last = free[-1]
            reach = (
                ""
                if last["detectable"] is None
                else f" A true difference of {last['detectable']:.3f} would be seen with 80% power."
            )
            yield f"At the largest width, {last['width']}, {_who(last['difference'], a, b)}.{reach}"
        yield f"{_crossing(pair)} Nothing is claimed beyond width {max(results.losses['width'])}."


def _crossing(pair: dict[str, Any]) -> str:
    if pair["verdict"] == "crosses":
        left, right = pair["bracket"]
        met = [rung["width"] for rung in pair["rungs"] if rung["structural"] and left < rung["width"] < right]
        if met:
            return f"The sign changes across {_list(met)}, where the two are the same run by construction."
        return f"They cross between widths {left} and {right}."
    if pair["verdict"] == "no crossing in range":
        return "They do not cross on this ladder."
    return "Whether they cross on this ladder is undecided."


def _who(difference: dict[str, Any], a: str, b: str) -> str:
    value, low, high = difference["value"], difference["low"], difference["high"]
    if low is None or high is None:
        return f"{b} differs from {a} by {value:+.3f} nats, with no interval from one seed"
    span = f"[{abs(high):.3f}, {abs(low):.3f}]" if high < 0 else f"[{low:.3f}, {high:.3f}]"
    if high < 0:
        return f"{b} is better by {-value:.3f} nats {span}"
    if low > 0:
        return f"{a} is better by {value:.3f} nats {span}"
    return f"it is undecided whether {a} or {b} is better ({b} − {a} = {value:+.3f} nats [{low:+.3f}, {high:+.3f}])"


def _optima(results: StudyResults) -> Iterator[str]:
    for bowl in results.fit["bowls"]:
        name = f"{results.label(bowl['recipe'])}, width {bowl['width']}"
        if bowl["optimum"] is None:
            yield f"{name}: the best learning rate lies at the edge of the grid; widen it."
        else:
            best = f"best learning rate {bowl['optimum']:.4f}, held-out loss {bowl['loss_at_optimum']:.3f} nats"
            yield f"{name}: {best} (no interval)."
    for law in results.fit["optimum_laws"]:
        slope = law["slope"]
        span = f" [{slope['low']:.2f}, {slope['high']:.2f}]" if slope["low"] is not None else ""
        power = f"width^{slope['value']:.2f}{span} over {_list(law['widths'])}"
        yield f"{results.label(law['recipe'])}: the best learning rate goes as {power}."


def _list(widths: list[int]) -> str:
    return ("widths " if len(widths) > 1 else "width ") + ", ".join(map(str, widths))
