"""Scores in words, for the terminal and the page."""

from collections.abc import Iterator, Sequence

from crossover.ledger.scoring import SCORED, Score, Track


def score_rows(scores: Sequence[Score]) -> Iterator[tuple[str, ...]]:
    """Forecast, recipe or pair, what was forecast, what came, error, error in s.d., how it did."""
    for item in scores:
        if item.where:
            yield item.name, "–", "–", "–", "–", "–", f"what came is of the rows where {item.where}"
        if item.status != SCORED:
            yield item.name, "–", "–", "–", "–", "–", f"{item.status}{': ' * bool(item.why)}{item.why}"
        elif item.why:
            yield item.name, "–", "–", "–", "–", "–", item.why
        for one in item.recipes:
            covered = "inside its interval" if one.covered else "outside its interval"
            yield (
                item.name, one.recipe, f"{one.predicted:.4f} [{one.low:.4f}, {one.high:.4f}]", f"{one.realised:.4f}",
                f"{one.error:+.4f}", f"{one.error_in_sd:+.2f}", f"{covered}, {one.runs} run(s)",
            )  # fmt: skip
            if gate := one.gate:
                verdict = "the gate is passed" if gate.passed else "the gate is NOT passed"
                yield (
                    item.name, f"gate: {one.recipe} < {gate.below:g}", f"P = {gate.p:.3f}", f"{one.realised:.4f}", "–",
                    "–", verdict,
                )  # fmt: skip
        for two in item.pairs:
            won = {1.0: two.b, 0.0: two.a}.get(two.outcome, "equal")
            yield (
                item.name,
                f"{two.b} below {two.a}",
                f"P = {two.p_b_wins:.3f}",
                won,
                "–",
                "–",
                f"Brier {two.brier:.3f}",
            )


def track_words(found: Track) -> str:
    """The record in a few sentences."""
    counts = f"{found.lodged} forecast(s): {found.scored} scored, {found.pending} pending, {found.refused} refused."
    if found.unproven:
        counts = f"Nothing shows when these were lodged: {found.unproven}. {counts}"
    if found.coverage is None:
        return f"{counts} None that was scored reaches beyond its runs." if found.scored else counts
    low, high = found.coverage.ci or (None, None)
    record = (
        f"{found.covered} of {found.predictions} losses came inside their 90% interval. Every forecast counted once, "
        f"by how far beyond its runs it reached, and those of one outcome together, that is {found.coverage.value:.0%} "
        f"[{low:.0%}, {high:.0%}], as of {found.effective:.1f} full forecasts; mean error {found.mean_error:+.4f} "
        f"({found.mean_error_in_sd:+.2f} s.d.), {found.mean_absolute_error:.4f} without its sign"
    )
    return f"{counts} {record}{_beside(found)}.{_brier(found)}"


def _beside(found: Track) -> str:
    if found.plain_absolute_error is None:
        return ""
    return (
        f"; where the loss at the nearest place of the runs is on record, that would have erred by "
        f"{found.plain_absolute_error:.4f}, these by {found.compared_absolute_error:.4f}"
    )


def _brier(found: Track) -> str:
    if found.mean_brier is None:
        return ""
    words = f" Mean Brier score of {found.chances} P(B wins): {found.mean_brier:.3f}; a coin has 0.25"
    if found.plain_brier is None:
        return f"{words}."
    beside = f"{found.plain_brier:.3f} (where that is on record, these {found.compared_brier:.3f})"
    return f"{words}, the order at the nearest place {beside}."
