"""The answer of a study in plain words, uncertainty included: which recipe is ahead, where they cross, best rates."""

from typing import Any

from crossover.base.numerals import short
from stages.report.results import StudyResults


def headline(results: StudyResults) -> str:
    """The answer of a study's first comparison in a sentence or two, and which of the others cross."""
    pair = results.fit["comparisons"][0]
    a, b = results.label(pair["a"]), results.label(pair["b"])
    free = [rung for rung in pair["rungs"] if not rung["structural"]]
    last = f"At width {free[-1]['name']}, {_who(free[-1]['difference'], a, b)}. " if free else ""
    if above := next((side for side in pair["sides"] if side["name"] == "above"), None):
        met = _list([rung["name"] for rung in pair["rungs"] if rung["structural"]])
        lead = f"{_who(above['difference'], a, b)}{_over(above)}{_growth(pair, above)}"
        last = f"Above {met}, where the two are one run, {lead}. "
    return f"{last}{crossing(pair)}{_others(results)}"


def _others(results: StudyResults) -> str:
    """Which of the other comparisons cross within the runs."""
    others = results.fit["comparisons"][1:]
    found = [pair for pair in others if pair["verdict"] == "crosses"]
    places = [f" (at {short(pair['crossover']['value'], 2)} FLOP)" if pair["crossover"] else "" for pair in found]
    named = [f"{results.label(pair['b'])}, against {results.label(pair['a'])}{place}"
             for pair, place in zip(found, places, strict=True)]  # fmt: skip
    verb = "crosses" if len(found) == 1 else "cross"
    return f" Of the other {len(others)} pairs {len(found)} {verb}: {'; '.join(named)}." if found else ""


def _over(side: dict[str, Any]) -> str:
    """Of which widths a difference is the mean."""
    return f" on average over {_list(side['rungs'])}" if len(side["rungs"]) > 1 else f" at {_list(side['rungs'])}"


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


def _span(ci: list[float | None], form: str = "") -> str:
    """With two digits where no form is given."""
    low, high = ("no bound" if end is None else f"{end:{form}}" if form else short(end, 2) for end in ci)
    return f"[{low}, {high}]"


def _who(difference: dict[str, Any], a: str, b: str) -> str:
    value = difference["value"]
    if difference["ci"] is None:
        return f"{b} differs from {a} by {value:+.3f} nats, with no interval from one seed"
    low, high = difference["ci"]
    span = f"[{abs(high):.3f}, {abs(low):.3f}]" if high < 0 else f"[{low:.3f}, {high:.3f}]"
    if high < 0:
        return f"{b} is better than {a} by {-value:.3f} nats {span}"
    if low > 0:
        return f"{a} is better than {b} by {value:.3f} nats {span}"
    return f"it is undecided whether {a} or {b} is better ({value:+.3f} nats [{low:+.3f}, {high:+.3f}])"


def law_words(results: StudyResults) -> list[tuple[str, str]]:
    """Of each recipe whose best rates follow a law across widths, a sentence and its short form."""
    told = []
    for recipe, found in results.fit["optima"].items():
        if found["law"] is not None:
            slope = found["law"]["params"]["p"]
            span = "" if slope["ci"] is None else f" {_span(slope['ci'], '.2f')}"
            power = f"width^{slope['value']:.2f}"
            name = results.label(recipe)
            sentence = f"{name[0].upper()}{name[1:]}: the best learning rate goes as {power}{span}; {_regret(found)}."
            told.append((sentence, f"best rate goes as {power}"))
    return told


def _regret(found: dict[str, Any]) -> str:
    left_out = found["regret_left_out"]
    beyond = "" if left_out is None else f", {_share(left_out['mean'])} when each width is left out of its law"
    return f"following that law costs {_share(found['regret']['mean'])} of the loss on average{beyond}"


def _share(value: float) -> str:
    return "under 0.01%" if value < 1e-4 else f"{value:.2%}"


def _list(widths: list[str]) -> str:
    return ("widths " if len(widths) > 1 else "width ") + ", ".join(map(str, widths))
