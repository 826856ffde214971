"""The answer of a study in plain words, uncertainty included."""

from collections.abc import Iterator
from typing import Any

from crossover.answers.words import decision_words
from crossover.base.numerals import short
from stages.report.results import StudyResults


def answers(results: StudyResults) -> list[str]:
    """Sentences that lead the page: comparisons first, then optima."""
    return [*_comparisons(results), *_optima(results)]


def headline(results: StudyResults) -> str:
    """The answer in a sentence or two: of the first comparison, or of the first law of optima."""
    pairs = results.fit["comparisons"]
    if not pairs:
        return next((f"{text[0].upper()}{text[1:]}" for text in _optima(results) if "goes as" in text), "")
    pair = pairs[0]
    a, b = results.label(pair["a"]), results.label(pair["b"])
    free = [rung for rung in pair["rungs"] if not rung["structural"]]
    last = f"At width {free[-1]['name']}, {_who(free[-1]['difference'], a, b)}. " if free else ""
    if above := next((side for side in pair["sides"] if side["name"] == "above"), None):
        met = _list([rung["name"] for rung in pair["rungs"] if rung["structural"]])
        last = f"Above {met}, where the two are one run, {_who(above['difference'], a, b)}{_growth(pair, above)}. "
    return f"{last}{crossing(pair)}{_chance(pair, a, b)}{_held_out(results, pair)}{_others(results)}"


def _others(results: StudyResults) -> str:
    """Which of the other comparisons cross within the runs."""
    others = results.fit["comparisons"][1:]
    found = [pair for pair in others if pair["verdict"] == "crosses"]
    places = [f" (at {short(pair['crossover']['value'], 2)} FLOP)" if pair["crossover"] else "" for pair in found]
    named = [f"{results.label(pair['b'])}, against {results.label(pair['a'])}{place}"
             for pair, place in zip(found, places, strict=True)]  # fmt: skip
    return f" Of the {len(others)} other pairs {len(found)} cross: {'; '.join(named)}." if found else ""


def _growth(pair: dict[str, Any], above: dict[str, Any]) -> str:
    """What becomes of the lead above the meeting point; nothing where nobody leads."""
    trend, ends = pair["trend"], above["difference"]["ci"]
    if not trend or not trend["ci"] or not ends or ends[0] <= 0 <= ends[1]:
        return ""
    sign = 1 if above["difference"]["value"] > 0 else -1
    low, high = sorted(sign * end for end in trend["ci"])
    value = sign * trend["value"]
    if low <= 0 <= high:
        return (
            f"; whether that lead grows is open ({value:+.3f} nats per doubling of compute [{low:+.3f}, {high:+.3f}])"
        )
    how = "grows" if value > 0 else "shrinks"
    low, high = sorted((abs(low), abs(high)))
    return f", and the lead {how} by {abs(value):.3f} nats per doubling of compute [{low:.3f}, {high:.3f}]"


def _chance(pair: dict[str, Any], a: str, b: str) -> str:
    """P(better) at the far end, where a crossover is estimated."""
    if pair["crossover"] is None or not pair["p_b_beats_a"]:
        return ""
    far = pair["p_b_beats_a"][-1]
    name, p = (b, far["p"]) if far["p"] >= 0.5 else (a, 1 - far["p"])
    return f" P({name} better at {short(far['x'], 2)} FLOP) = {short(min(p, 0.999), 2)}."


def _held_out(results: StudyResults, pair: dict[str, Any]) -> str:
    laws = [found[0] for name in (pair["a"], pair["b"]) if (found := results.fit["laws"].get(name))]
    errors = [law["rollout"]["mean_absolute_relative_error"] for law in laws if law["rollout"]]
    return f" Each law, fitted below, missed the next width by {max(errors):.1%} at most on average." if errors else ""


def _comparisons(results: StudyResults) -> Iterator[str]:
    for pair in results.fit["comparisons"]:
        a, b = results.label(pair["a"]), results.label(pair["b"])
        for side in pair["sides"]:
            where = f"{side['name'].capitalize()} the width where the two are the same run ({_list(side['rungs'])})"
            grows = _growth(pair, side) if side["name"] == "above" else ""
            yield f"{where}, {_who(side['difference'], a, b)}{grows}."
        free = [rung for rung in pair["rungs"] if not rung["structural"]]
        if free:
            last = free[-1]
            seen = last["detectable"]
            reach = "" if seen is None else f" A true difference of {seen:.3f} would be seen with 80% power."
            yield f"At the largest width, {last['name']}, {_who(last['difference'], a, b)}.{reach}"
        yield f"{crossing(pair)} Nothing is claimed beyond width {max(results.losses['width'])}."


def decisions(results: StudyResults) -> list[dict[str, Any]]:
    """Per pair with a gap beyond the runs: which recipe to choose there, and what that is expected to cost."""
    found = []
    for pair in results.fit["comparisons"]:
        if pair["gap"] and pair["gap"]["decision"]:
            a, b = results.label(pair["a"]), results.label(pair["b"])
            decision = pair["gap"]["decision"]
            named = {**decision, "choose": results.label(decision["choose"])}
            found.append({"pair": f"{b} − {a}", "gap": pair["gap"], "words": decision_words(named)})
    return found


def crossing(pair: dict[str, Any]) -> str:
    """Whether two recipes cross, and where, in a sentence."""
    if pair["verdict"] == "no crossing in range":
        return f"They do not cross on this ladder{_beyond(pair['crossover'])}."
    if pair["verdict"] == "undecided":
        return f"Whether they cross on this ladder is undecided{_guess(pair['crossover'])}."
    met = [rung["name"] for rung in pair["rungs"] if rung["structural"]]
    if met:
        return f"The sign changes across {_list(met)}, where the two are the same run by construction."
    place, bracket = pair["crossover"], pair["bracket"]
    near = f" near {_place(place)}" if place and not place["lever_arm_decades"] else ""
    names = {rung["x"]: rung["name"] for rung in pair["rungs"]}
    where = f"between widths {' and '.join(str(names[x]) for x in bracket)}" if bracket else "along the ladder"
    return f"They cross{near}; the sign changes {where}."


def _beyond(place: dict[str, Any] | None) -> str:
    """Where fitted differences would cross outside the runs, and how far that is."""
    if place is None or not place["lever_arm_decades"]:
        return ""
    far = f"{place['lever_arm_decades']:.1f} decades outside the runs"
    return f"; carried on, their difference vanishes near {_place(place)}, {far}"


def _guess(place: dict[str, Any] | None) -> str:
    """Where, if anywhere; nothing where the set has no bound on either side."""
    if place is None or not place["ci"] or place["ci"] == [None, None]:
        return ""
    return f"; if they do, near {_place(place)}"


def _place(place: dict[str, Any]) -> str:
    return f"{short(place['value'], 2)} FLOP" + (f" {_span(place['ci'])}" if place["ci"] else "")


def _span(ci: list[float | None], form: str = ".2g") -> str:
    low, high = (f"{end:{form}}" if end is not None else "no bound" for end in ci)
    return f"[{low}, {high}]"


def _who(difference: dict[str, Any], a: str, b: str) -> str:
    value = difference["value"]
    if difference["ci"] is None:
        return f"{b} differs from {a} by {value:+.3f} nats, with no interval from one seed"
    low, high = difference["ci"]
    span = f"[{abs(high):.3f}, {abs(low):.3f}]" if high < 0 else f"[{low:.3f}, {high:.3f}]"
    if high < 0:
        return f"{b} is better by {-value:.3f} nats {span}"
    if low > 0:
        return f"{a} is better by {value:.3f} nats {span}"
    return f"it is undecided whether {a} or {b} is better ({b} − {a} = {value:+.3f} nats [{low:+.3f}, {high:+.3f}])"


def _optima(results: StudyResults) -> Iterator[str]:
    for recipe, found in results.fit["optima"].items():
        for cell in found["cells"]:
            yield f"{results.label(recipe)}, width {cell['at']['width']:g}: {_best_rate(cell)}."
        if found["law"] is not None:
            slope = found["law"]["params"]["p"]
            span = "" if slope["ci"] is None else f" {_span(slope['ci'], '.2f')}"
            power = f"width^{slope['value']:.2f}{span}"
            yield f"{results.label(recipe)}: the best learning rate goes as {power}; {_regret(found)}."


def _best_rate(cell: dict[str, Any]) -> str:
    if cell["optimum"] is None:
        return "the best learning rate lies at the edge of the grid; widen it"
    low, high = cell["broad"]
    broad = f"rates tried from {low:.4f} to {high:.4f} are within 0.25% of the best loss"
    if low == high:
        broad = "no other rate tried is within 0.25% of the best loss"
    return f"best learning rate {cell['optimum']:.4f}, loss {cell['loss_at_optimum']:.3f} nats; {broad}"


def _regret(found: dict[str, Any]) -> str:
    left_out = found["regret_left_out"]
    beyond = "" if left_out is None else f", {left_out['mean']:.2%} when each width is left out of its law"
    return f"following that law costs {found['regret']['mean']:.2%} of the loss on average{beyond}"


def _list(widths: list[str]) -> str:
    return ("widths " if len(widths) > 1 else "width ") + ", ".join(map(str, widths))
