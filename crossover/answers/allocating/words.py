"""What is said of an allocation, line by line and table by table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crossover.base.numerals import short
from crossover.laws.words import fit_said, number, span
from crossover.plots.blocks import Block, Heading, table

if TYPE_CHECKING:
    from crossover.answers.allocating.allocate import Allocation, Served
    from crossover.answers.allocating.isoflop import IsoFlop


def allocation_said(result: "Allocation") -> Iterator[Block]:
    """The allocation, what being off costs, what serving changes, and what both rest on."""
    ratio = result.d.value / result.n.value
    yield (
        f"at {short(result.c, 4)} of compute: N = {short(result.n.value)} {span(result.n.ci, 3)} parameters and "
        f"D = {short(result.d.value)} {span(result.d.ci, 3)} tokens, {short(ratio)} per parameter; "
        f"loss {result.loss.value:.4f} {span(result.loss.ci)}, by this law alone {result.by_law:.4f}"
    )
    yield (
        f"N grows as compute to the power {result.exponent.value:.3f} {span(result.exponent.ci, 3)}, D to "
        f"{1 - result.exponent.value:.3f}; compute is {result.per:g} N D"
    )
    if result.beyond > 1:
        times = short(result.beyond)
        yield f"the budget is {times} times the largest that was run: what the law lacks is in no interval"
    if result.below > 1:
        yield f"the budget is {short(result.below)} times below the smallest that was run"
    off = table("other sizes at this budget", "N", "of the best", "D", "loss lost", "compute lost")
    for item in result.off:
        lost = f"{item.compute_lost:.1%}" if item.compute_lost >= 0.001 else "under 0.1%"
        off.add(short(item.n), f"{item.times:g} x", short(item.d), f"{item.loss_lost:.4f}", lost)
    yield off
    if result.served is not None:
        yield _served(result.served, result.c)
    if result.isoflop is not None:
        yield from _isoflop(result.isoflop, result)
    else:
        yield "no parabolas: they need three budgets with runs of five sizes each, and a lowest point among these"
    yield Heading("The law")
    yield from fit_said(result.fit)


def _served(item: "Served", c: float) -> str:
    return (
        f"to serve {short(item.tokens)} tokens, as good a model costs least with N = {short(item.n.value)} "
        f"{span(item.n.ci, 3)} and D = {short(item.d)}: training takes {short(item.train / c)} times the budget, and "
        f"training and serving {max(item.saved, 0.0):.1%} less; trained with the budget alone it loses "
        f"{item.loss_lost:.4f}"
    )


def _isoflop(item: "IsoFlop", result: "Allocation") -> Iterator[Block]:
    out = table("parabola at each budget (approach 2)", "compute", "runs", "best N", "90% interval", "loss")
    for budget in item.budgets:
        n = budget.n
        if n is None:
            out.add(short(budget.c), str(budget.runs), "–", budget.note, "–")
        else:
            out.add(short(budget.c), str(budget.runs), short(n.value), span(n.ci, 3), number(budget.loss, 5))
    yield out
    yield (
        f"by parabolas N = {short(item.n.value)} {span(item.n.ci, 3)} and the power "
        f"{item.exponent.value:.3f} {span(item.exponent.ci, 3)}"
    )
    if item.bias_exponent is not None and item.bias_n is not None:
        yield (
            f"their bias: of the fitted law itself, without noise and at these runs, parabolas would say a power that "
            f"is off by {item.bias_exponent:+.4f}, and {short(item.bias_n)} times its N at {short(result.c, 4)}"
        )
