"""What is said of comparisons, forecasts and changes, line by line and table by table."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crossover.answers.crossing import SURE, UNDECIDED
from crossover.base.numerals import chance, short
from crossover.laws.words import left_out_lines, number, span
from crossover.plots.blocks import Block, Heading, Lead, Table, table

if TYPE_CHECKING:
    from crossover.answers.comparison import Backtest, Best, Comparison, Comparisons, Gap, Worth
    from crossover.answers.crossing import Crossover
    from crossover.answers.keeping.keep import Keep
    from crossover.answers.predict import Prediction

_MANY = 12  # pairs, above which each gets one line
_HOPELESS = 0.005  # probability of reversing a choice
_NEGLIGIBLE = 1e-5  # in losses: what nobody would run anything for


def comparisons_said(result: "Comparisons") -> Iterator[Block]:
    """Every pair with all there is to say of it; of many pairs one line each."""
    yield from left_out_lines(result.left_out)
    if result.best:
        yield from best_said(result.best)
    if len(result.pairs) > _MANY:
        yield _many(result.pairs)
        yield from _together(result.pairs, bool(result.best))
        return
    for item in result.pairs:
        yield from _pair(item, (result.x, result.loss))


def best_said(best: "Best") -> Iterator[Block]:
    """Which of many to choose, and which may be best."""
    likely = {arm.recipe: arm.p_best for arm in best.arms}
    likelihood = f"P(best) = {likely[best.choose]:.2f}"
    yield Heading(f"of {len(best.arms)} recipes at {short(best.x, 4)}: choose {best.choose}, {likelihood}")
    yield Lead(best.why)
    yield Lead(f"with a probability of .9 the best is one of {len(best.contenders)}: {', '.join(best.contenders)}")
    if len(best.groups) > 1:
        yield f"told apart: {' < '.join('{' + ', '.join(group) + '}' for group in best.groups)}"
    out = table("", "recipe", "P(best)", "loss above the best", "90% interval", "rank, 90%")
    for arm in best.arms:
        rank = f"{arm.rank[0]} to {arm.rank[1]}" if arm.rank[0] < arm.rank[1] else str(arm.rank[0])
        out.add(arm.recipe, f"{arm.p_best:.3f}", f"{arm.behind.value:.4f}", span(arm.behind.ci, 3), rank)
    yield out
    pairs = len(best.arms) * (len(best.arms) - 1) // 2
    yield f"{len(best.called)} of {pairs} pairs can be called there: at most one call in twenty is expected to be wrong"
    if best.unknown:
        why = "they share too few sizes with the others, or are the same runs"
        yield f"not among them, since {why}: {', '.join(best.unknown)}"


def _pair(item: "Comparison", axes: tuple[str, str]) -> Iterator[Block]:
    """Verdict, who is better and what next, then crossover, rungs, baseline and how far all that can be trusted."""
    x = axes[0]
    verdict = "whether they cross is undecided" if item.verdict == UNDECIDED else item.verdict
    yield Heading(f"{item.b} against {item.a}: {verdict}")
    yield from _lead(item, *axes)
    if item.gap:
        yield from _gap(item, item.gap, x)
    yield from _crossing(item, x)
    if item.rungs:
        yield _rungs(item, x)
    elif item.p_b_beats_a:
        yield f"P({item.b} better): " + ", ".join(f"{c.p:.2f} at {short(c.x)}" for c in item.p_b_beats_a[::2])
    if item.baseline and item.baseline.better:
        yield f"plain ranking at the largest common size, {short(item.baseline.x, 4)}: {item.baseline.better}"
    if item.backtest:
        yield _backtest(item, item.backtest)
    for variant in item.sensitivity:
        if variant.verdict != item.verdict:
            moved = "" if variant.crossover is None else f", crossover {short(variant.crossover, 4)}"
            yield f"{variant.change}: {variant.verdict}{moved}"
    yield from (f"note: {flag}" for flag in item.flags)


def _gap(item: "Comparison", gap: "Gap", x: str) -> Iterator[str]:
    worth, place = gap.equivalent_compute, f"{x} = {short(gap.x, 4)}"
    ends = span(gap.difference.ci, 3, "+")
    yield f"{item.b} - {item.a} = {gap.difference.value:+.4f} {ends} in loss at {place}"
    if worth is not None:
        yield f"{item.b} is worth there what {item.a} is at {short(worth.value)} times the {x} {span(worth.ci, 3)}"
    one = f"P(one run of {item.b} ends below one of {item.a}) {chance(gap.p_one_run)}"
    yield f"P({item.b} better) {chance(gap.p_b_beats_a)}; {one}"
    if item.price and item.worth:
        there = item.worth[-1].cost
        so = "" if there is None else f", so that it is worth {short(there.value)}x the cost {span(there.ci, 3)}"
        yield f"a unit of {x} costs {short(item.price.value)} times as much with {item.b} {span(item.price.ci, 3)}{so}"
    yield decision_words(asdict(gap)["decision"], x, "in loss")


def _lead(item: "Comparison", x: str, loss: str) -> Iterator[Lead]:
    """Who is better where it counts, how sure that is, what speaks against it, and what next."""
    if item.gap:
        yield Lead(standing_at(item, item.gap, x, loss))
        if item.baseline and item.baseline.better not in (None, item.gap.decision.choose):
            yield Lead(
                f"But the runs at {x} = {short(item.baseline.x, 4)}, the largest size of both recipes, have "
                f"{item.baseline.better} ahead: where the two disagree neither is reliably right."
            )
        yield Lead(_next(item.gap, x))
    elif item.p_b_beats_a:
        top = item.p_b_beats_a[-1]
        who, p = (item.b, top.p) if top.p >= 0.5 else (item.a, 1 - top.p)
        yield Lead(f"At {x} = {short(top.x, 4)}, the largest size of both recipes, P({who} better) {chance(p)}.")
        yield Lead("Next: name the size you will train, as --at x=1e22, to be told which to choose there.")


def standing_at(item: "Comparison", gap: "Gap", x: str, loss: str) -> str:
    """In the words of the recipe that looks better: how far it is ahead, by the medians, with the interval."""
    who, other = (item.b, item.a) if gap.decision.choose == item.b else (item.a, item.b)
    sign = -1 if who == item.b else 1
    ends = sorted(sign * end for end in gap.difference.ci or () if end is not None)
    ahead = f"by {short(sign * gap.difference.value)} {span((ends[0], ends[1]) if ends else None, 3)} in {loss} (90%)"
    where, sure = f"at {x} = {short(gap.x, 4)}{_how_far(item, gap)}", f"P({who} better) {chance(gap.decision.p)}"
    if gap.decision.p >= SURE:
        return f"{who} is better than {other} {where} {ahead}; {sure}."
    return f"Too close to call {where}: {who} is ahead of {other} {ahead}; {sure}."


def _how_far(item: "Comparison", gap: "Gap") -> str:
    """How far outside the runs, as a factor."""
    if not gap.lever_arm_decades:
        return ""
    factor = 10**gap.lever_arm_decades
    times = f"{factor:.0f}" if 10 <= factor < 1000 else short(factor, 2)
    below = item.p_b_beats_a and gap.x < item.p_b_beats_a[0].x
    return f" ({times} times {'below the smallest' if below else 'the largest'} size of both recipes)"


def _next(gap: "Gap", x: str) -> str:
    if gap.next_pair is None:
        return "Next: nothing more needs to be run for this choice."
    found = gap.next_pair
    if found.p_flip < _HOPELESS:
        return "Next: no further pair of runs at these sizes would decide it."
    return (
        f"Next: one run of each at {x} = {short(found.x, 4)}, which would reverse the choice with probability "
        f"{short(found.p_flip, 2)} and take the expected regret from {short(gap.decision.expected_regret, 2)} to "
        f"{short(found.regret, 2)}."
    )


def decision_words(found: Mapping[str, Any], x: str = "compute", unit: str = "nats") -> str:
    """The decision, by its JSON, in a sentence: `choose B: P = 0.93; if wrong it costs on average 0.004 nats, ...`."""
    parts = [f"P {chance(found['p'])}"]
    if found["cost_if_wrong"] is not None:
        cost = _cost(found["cost_if_wrong"], found["cost_if_wrong_as_compute"], x, unit)
        parts.append(f"if wrong it costs on average {cost}")
    if found["expected_regret"] is not None:
        parts.append(f"expected regret {_cost(found['expected_regret'], found['regret_as_compute'], x, unit)}")
    return f"choose {found['choose']}: {'; '.join(parts)}"


def _cost(loss: float, factor: float | None, x: str, unit: str) -> str:
    if loss < _NEGLIGIBLE:
        return "next to nothing"
    amount = f"{short(loss, 2)} {unit}".strip()
    if factor is None:
        return amount
    share = 100 * (factor - 1)
    percent = short(share, 2) if share > 0.01 else "under 0.01"
    more = f"{short(factor)} times the {x}" if factor >= 2 else f"{percent}% of {x}"
    return f"{amount}, as much as {more}"


def _backtest(item: "Comparison", told: "Backtest") -> str:
    p = max(told.p_b_beats_a, 1 - told.p_b_beats_a)
    winner = item.b if told.p_b_beats_a > 0.5 else item.a
    came = "so it came" if told.right else "it came the other way"
    held = "inside" if told.held else "outside"
    return (
        f"the rungs below {short(told.x, 4)} told of it: {winner} better with P = {p:.2f}, and {came}; the difference "
        f"there is {held} their 90% interval"
    )


def _crossing(item: "Comparison", x: str) -> Iterator[str]:
    if item.crossover is not None:
        yield from _crossover(item.crossover, x)
    if item.sure_until is not None and item.baseline and item.baseline.better:
        yield f"beyond the runs {item.baseline.better} is ahead with P of {SURE} up to {x} = {short(item.sure_until)}"
    if item.bracket:
        yield f"the measured sign changes between {short(item.bracket[0], 6)} and {short(item.bracket[1], 6)}"
    if len(item.roots) > 1:
        yield f"all roots: {', '.join(short(root, 4) for root in item.roots)}"


def _crossover(place: "Crossover", x: str) -> Iterator[str]:
    at = f"{x} = {short(place.value, 4)} {span(place.ci)}"
    if place.lever_arm_decades:
        far = f"{place.lever_arm_decades:.2f} decades outside the runs"
        yield f"carried on, the difference would vanish near {at}, {far}"
    else:
        yield f"crossover at {at}"
    if len(place.pieces) > 1:
        yield f"its confidence set has {len(place.pieces)} pieces: {', '.join(map(span, place.pieces))}"
    if None in place.ci:
        yield "the runs do not bound it on both sides within 1.5 decades of them"


def _rungs(item: "Comparison", x: str) -> Table:
    seeds = any(rung.difference.ci for rung in item.rungs)
    worth = {found.x: found for found in item.worth}
    columns = (f"{item.b} − {item.a}", *(("90% interval",) if seeds else ()), f"P({item.b} better)")
    out = table("", x, "pairs", *columns, *(("is worth", "90% interval") if worth else ()))
    chances = {chance.x: chance.p for chance in item.p_b_beats_a}
    for rung in item.rungs:
        likely = chance(chances[rung.x]).removeprefix("= ") if rung.x in chances else "–"
        value = "same run" if rung.structural else f"{rung.difference.value:+.5f}"
        around = (span(rung.difference.ci, 3, "+"),) if seeds else ()
        out.add(rung.name, str(rung.pairs), value, *around, likely, *(_worth(worth.get(rung.x)) if worth else ()))
    return out


def _worth(found: "Worth | None") -> tuple[str, str]:
    """In x, at equal throughput."""
    if found is None or found.compute is None:
        return "–", "–"
    return f"{short(found.compute.value)}x", span(found.compute.ci, 3)


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


def _together(pairs: "list[Comparison]", called: bool) -> Iterator[str]:
    """Of many pairs: wrong calls to expect, unless that was said, and how the top rungs were told from below."""
    sure = [max(p, 1 - p) for item in pairs if item.gap for p in [item.gap.p_b_beats_a] if max(p, 1 - p) >= SURE]
    if any(item.gap for item in pairs) and not called:
        wrong = short(sum(1 - p for p in sure), 2)
        yield f"{len(sure)} of {len(pairs)} pairs are called with P of {SURE} or more; {wrong} wrong calls expected"
    told = [item.backtest for item in pairs if item.backtest]
    if told:
        right, held = sum(item.right for item in told), sum(item.held for item in told)
        yield (
            f"of {len(told)} top rungs, told from the rungs below, {right} orders were right and {held} differences "
            "inside the 90% interval"
        )


def prediction_said(result: "Prediction", name: str = "forecast") -> Iterator[Block]:
    """Every recipe's law and loss at the target, and who wins."""
    yield from left_out_lines(result.left_out)
    compared = result.comparisons.pairs if result.comparisons else []
    told = {(item.a, item.b): standing_at(item, item.gap, *result.axes) for item in compared if item.gap}
    yield from (Lead(told[two.a, two.b]) for two in result.pairs if (two.a, two.b) in told)
    if len(compared) == 1 and compared[0].gap:
        yield Lead(_next(compared[0].gap, result.axes[0]))
    at = ", ".join(f"{result.axes[0] if key == 'x' else key} = {short(value, 4)}" for key, value in result.at.items())
    title = f"{name}: {at}, {result.lever_arm_decades:.2f} decades outside the runs"
    out = table(title, "recipe", "law", f"mean loss of {result.runs} run(s)", "90% interval", left=2)
    for recipe, item in result.recipes.items():
        out.add(recipe, item.formula, short(item.value, 5), f"[{short(item.low, 5)}, {short(item.high, 5)}]")
    yield out
    if any(two.p_b_better is not None for two in result.pairs):
        yield "losses: by each recipe's own laws; who is better: by the difference at common sizes, as compare says it"
    for two in result.pairs:
        better = "" if two.p_b_better is None else f"P({two.b} better) {chance(two.p_b_better)}; "
        runs = "one run" if result.runs == 1 else f"{result.runs} runs"
        line = (
            f"{better}of {runs} of each, P({two.b} ends below {two.a}) {chance(two.p_b_wins)}; "
            f"{two.b} - {two.a} = {two.difference:+.4f}, s.d. {short(two.sd, 2)}"
        )
        yield line if (two.a, two.b) in told else Lead(line)


def keep_said(found: "Keep") -> Iterator[Block]:
    """The verdict and its reason, what to run next, and what each size says."""
    x = found.names[0]
    yield from left_out_lines(found.left_out)
    yield Heading(f"{found.b} instead of {found.a}: {found.verdict}")
    begins = found.why if found.why.startswith((found.a, found.b)) else found.why[0].upper() + found.why[1:]
    yield Lead(f"{begins}.")
    if found.gap and found.comparisons:
        yield Lead(standing_at(found.comparisons.pairs[0], found.gap, *found.names))
    if found.next:
        pair = f", {found.pair or 'pair'} {found.next.pair}" if found.next.pair else ""
        run = f"{' and '.join(found.next.recipes)} at {x} = {short(found.next.x, 4)}{pair}"
        yield Lead(f"Next: {run}, together {short(found.next.cost)} in cost.")
    columns = (f"{found.b} − {found.a}", "90% interval", "s.d. of a pair", "for a gain", "against one worth it")
    out = table("each size by its own runs alone", x, "runs", *columns)
    for item in found.sizes:
        known = item.difference
        value, around = (f"{known.value:+.5f}", span(known.ci, 3, "+")) if known else ("–", "–")
        evidence = (short(item.evidence), short(item.against))
        out.add(short(item.x, 6), f"{item.runs_a} and {item.runs_b}", value, around, number(item.sd, 2), *evidence)
    yield out
    if found.series:
        place = found.series
        yield (
            f"change {place.number} of a series of {place.of} in {place.log}, {place.keeps} other(s) kept: the e-value "
            f"must reach {short(found.needed)}"
        )
    yield from (f"note: {flag}" for flag in found.flags)
