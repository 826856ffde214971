"""What is said of a run's curve, line by line."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from crossover.base.numerals import short
from crossover.plots.blocks import Block, table

if TYPE_CHECKING:
    from crossover.curves.foresee import Foresight
    from crossover.runs.estimates import Estimate

_ROWS = 10
_MOSTLY = 0.5


def foresight_said(result: "Foresight") -> Iterator[Block]:
    """Where it should end, whether it is on its course, and the curve."""
    x, loss = result.names
    sizes = f"{len(result.sizes)} sizes from {short(result.sizes[0])} to {short(result.sizes[-1])}"
    sizes = sizes if len(result.sizes) > 1 else "its own size"
    yield f"{loss} at the end, {short(result.total, 4)} {x}: {_told(result.end)} by {result.runs} runs of {sizes}"
    if result.now is not None and result.so_far < 1:
        yield f"with its own {result.so_far:.0%} so far: {_told(result.now)}"
    if result.left is not None and math.isinf(result.left.height):
        at = short(result.left.at, 4)
        yield f"it diverged: its loss is infinite at {at} {x}, {result.left.progress:.0%} of the run"
    elif result.left is not None:
        left = result.left
        where = "above" if left.height > 0 else "below"
        yield (
            f"it left its course: noticed at {short(left.at, 4)} {x}, {left.progress:.0%} of the run, begun about "
            f"{short(left.since, 4)}: {short(abs(left.height))} {where} what the ladder and its own past say "
            f"({left.match:.1f} s.d.)"
        )
    elif result.inside is not None and result.inside < _MOSTLY:
        yield (
            f"no step away from its own course was found, but {result.inside:.0%} of its losses alone are inside the "
            "90% band: it is not the run that the ladder foresees"
        )
    elif result.inside is not None:
        yield f"it is on its course; {result.inside:.0%} of its losses so far are inside the 90% band"
    out = table("", x, "of the run", "expected", "90% band", "came")
    step = max(len(result.points) // _ROWS, 1)
    for point in result.points[step - 1 :: step]:
        came = "–" if point.measured is None else f"{point.measured:.4f}"
        share = f"{point.x / result.total:.0%}"
        out.add(short(point.x, 4), share, f"{point.expected:.4f}", f"[{point.low:.4f}, {point.high:.4f}]", came)
    yield out
    yield from (f"note: {flag}" for flag in result.flags)


def _told(item: "Estimate") -> str:
    if item.ci is None or None in item.ci:
        return f"{item.value:.4f}"
    return f"{item.value:.4f} [{item.ci[0]:.4f}, {item.ci[1]:.4f}]"
