"""What is read first of a study: its question, who wins, how sure that is, and what to run next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossover.base.numerals import chance, short
from crossover.plots.house import COLOURS
from stages.fit.study import AHEAD
from stages.report.results import StudyResults
from stages.report.words import headline, law_words
from stages.study.params import Params
from stages.verdicts.design import detectable
from stages.verdicts.words import Line, lines

_MOST = 2  # claims that a card names
POWER = 0.8


@dataclass(frozen=True)
class Card:
    """The answer of a study at one scale."""

    key: str
    question: str
    badge: str
    """Direction and size in a few words."""
    sure: bool
    """Whether the badge speaks of what the interval shows."""
    answer: str
    confidence: str
    """How sure that is, for whoever has to choose; may be empty."""
    next: str
    colour: int | None = None
    """Of the recipe that is ahead, by its place: the badge has it."""

    def said(self) -> list[str]:
        """Line by line, as a terminal shows it."""
        parts = (self.answer, self.confidence, f"Next: {self.next}")
        return [part for part in parts if part]


def make_card(results: StudyResults, verdicts: Sequence[dict[str, Any]], params: Params) -> Card:
    """From the comparisons of a study, else its best learning rates, its claims, or the spread of its seeds."""
    item = params.active.get(results.key)
    own = lines([v for v in verdicts if item and (v["study"], v["scale"]) == (item.study, item.scale)])
    if results.fit["comparisons"]:
        return _of_pair(results, results.fit["comparisons"][0], params)
    if own:
        return _of_claims(results, own, params)
    if laws := law_words(results):
        text, badge = laws[0]
        return Card(results.key, results.study.title, badge, True, text, "", _larger(results, params))
    return _of_seeds(results)


def _of_pair(results: StudyResults, pair: dict[str, Any], params: Params) -> Card:
    a, b = results.label(pair["a"]), results.label(pair["b"])
    badge, sure = _badge(_difference(pair), a, b)
    gap = pair["gap"]
    confidence = _choice(results, pair, gap) if gap else ""
    following = _next_runs(results, pair, params)
    ahead = _difference(pair)
    winner = pair["b"] if ahead and ahead["value"] < 0 else pair["a"]
    colour = list(results.study.recipes).index(winner) % len(COLOURS) if sure else None
    return Card(results.key, results.study.title, badge, sure, headline(results), confidence, following, colour)


def _choice(results: StudyResults, pair: dict[str, Any], gap: dict[str, Any]) -> str:
    """Which recipe to take beyond the runs, how far it is expected to be ahead there, and how sure that is."""
    decision, ends = gap["decision"], gap["difference"]["ci"]
    sign = 1 if decision["choose"] == pair["a"] else -1
    low, high = sorted(sign * end for end in ends) if ends and None not in ends else (None, None)
    span = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    ahead = f"by {sign * gap['difference']['value']:.3f} nats{span}, P(better) {chance(decision['p'])}"
    return f"At {AHEAD:g} times the compute, beyond the runs, {results.label(decision['choose'])} is ahead {ahead}."


def _difference(pair: dict[str, Any]) -> dict[str, Any] | None:
    """Above the width where both are one run, else at the largest width."""
    above = next((side["difference"] for side in pair["sides"] if side["name"] == "above"), None)
    free = [rung["difference"] for rung in pair["rungs"] if not rung["structural"]]
    return above or (free[-1] if free else None)


def _badge(difference: dict[str, Any] | None, a: str, b: str) -> tuple[str, bool]:
    if difference is None:
        return "the same runs", False
    value, ends = difference["value"], difference["ci"]
    if ends is None:
        return f"{b if value < 0 else a} ahead by {abs(value):.3f} nats, one seed", False
    if ends[0] <= 0 <= ends[1]:
        return "no difference shown", False
    return f"{f'{b} beats {a}' if value < 0 else f'{a} beats {b}'} by {abs(value):.3f} nats", True


def _next_runs(results: StudyResults, pair: dict[str, Any], params: Params) -> str:
    found = pair["gap"] and pair["gap"]["next_pair"]
    if not found:
        return _larger(results, params)
    names = [rung["name"] for rung in pair["rungs"] if abs(rung["x"] / found["x"] - 1) < 0.02]
    times = found["x"] / max(rung["x"] for rung in pair["rungs"])
    far = f"a run of both at {short(found['x'], 2)} FLOP, {short(times, 2)} times the largest"
    run = f"one more seed of both at width {names[0]}" if names else far
    turns = f"would reverse that choice with probability {short(found['p_flip'], 2)}"
    return f"{run}; it {turns} and leave an expected regret of {short(found['regret'], 2)} nats."


def _larger(results: StudyResults, params: Params) -> str:
    """What decided here is open at larger sizes still."""
    scales = list(params.scales)
    later = scales[scales.index(results.scale.name) + 1 :] if results.scale.name in scales else []
    study = results.key.removesuffix(f"-{results.scale.name}")
    if f"{study}-{later[0]}" in params.active if later else False:
        return f"nothing more at this scale; see {study}-{later[0]} below, the same question with larger models."
    if not later:
        return "nothing more at this scale."
    return f"nothing more at this scale; `crossover plan --study {study} --scale {later[0]}` prices the next one."


def _of_claims(results: StudyResults, own: list[Line], params: Params) -> Card:
    """Of a study that asks more than which recipe wins: its claims, one by one."""
    counts = {name: sum(line.verdict == name for line in own) for name in ("SUPPORTED", "REFUTED", "MIXED")}
    left = [line for line in own if line.verdict == "INCONCLUSIVE"]
    told = [f"{count} {name.lower()}" for name, count in counts.items() if count]
    badge = ", ".join([*told, *([f"{len(left)} open"] if left else [])])
    decided = [line for line in own if line not in left]
    answer = " ".join(_claim(line) for line in decided[:_MOST]) or "Nothing is decided yet."
    more = len(decided) - _MOST
    answer += f" And {more} more under Claims." if more > 0 else ""
    following = next((f"for {line.id}, {line.why}." for line in left if "would decide it" in line.why), "")
    following = following or next((f"for {line.id}, {line.why}." for line in left), _larger(results, params))
    size = f"{badge} of {len(own)} claim{'s' * (len(own) > 1)}"
    return Card(results.key, results.study.title, size, bool(told), answer, "", following)


def _claim(line: Line) -> str:
    verb = {"SUPPORTED": "Supported", "REFUTED": "Refuted", "MIXED": "Different from width to width"}[line.verdict]
    alike = {part.split(": ")[-1] for part in line.brief.split(", ")} <= {line.verdict.lower()}
    effect = "in every group" if alike else line.brief
    return f"{verb}: {line.statement[0].lower()}{line.statement[1:]} ({effect})."


def _of_seeds(results: StudyResults) -> Card:
    """Of runs that differ in nothing but the seed."""
    done = results.losses[results.losses["status"] == "done"]
    spread = done.groupby(["recipe", "axes", "width"])["loss_validation"].agg(["std", "count"]).dropna().reset_index()
    if spread.empty:
        return Card(results.key, results.study.title, "no answer yet", False, "No setting has two seeds.", "",
                    "more seeds.")  # fmt: skip
    told = [f"{row.std:.3f} at width {row.width} (n = {row.count})" for row in spread.itertuples(index=False)]
    seen = [detectable(row.std * math.sqrt(2 / row.count), 2 * (row.count - 1), POWER)
            for row in spread.itertuples(index=False)]  # fmt: skip
    answer = (
        f"Held-out losses of runs that differ in the seed alone have a standard deviation of {', '.join(told)} nats."
    )
    confidence = (
        f"So many unpaired runs of each of two recipes tell them apart from {min(seen):.3f} to {max(seen):.3f} nats "
        f"on, with {POWER:.0%} power; runs that share a seed need less."
    )
    following = f"`crossover plan --detect 0.02 --scale {results.scale.name}` says what shows a given difference."
    badge = f"seeds alone: SD {spread['std'].min():.3f} to {spread['std'].max():.3f} nats"
    return Card(results.key, results.study.title, badge, True, answer, confidence, following)
