"""The figure of an answer: how far two recipes are apart along size, on to the target; below it what each comes to.

One figure for `compare`, `keep`, `predict`, `advise` and the page of a project: sizes with their intervals, what is
believed between and beyond them with its band, the crossover with its confidence set, and who is better on which side.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from crossover.plots.house import (
    COLOURS,
    SHAPES,
    Figure,
    Row,
    colours_of,
    hover,
    layers,
    log,
    only,
    series,
    zero,
)
from crossover.plots.losses import brief, losses_chart, name_rows

MOST = 12
"""Pairs that one figure holds, as they come."""
_TALL, _SHORT, SMALL = 180, 120, 130
_SIDE = 0.2
_SAME = 1e-6
_WIDE = 8.0  # times the height of what was measured, up to which the target's interval is shown whole
_ROOM = 0.8  # of the height that measured sizes take, for what is believed beyond it on either side


@dataclass(frozen=True)
class Apart:
    """What is drawn: pairs as their JSON, and what the runs and laws of their recipes come to."""

    pairs: Sequence[Mapping[str, Any]]
    axes: tuple[str, str]
    """What x and the loss are called."""
    losses: Sequence[Row] = ()
    """As `crossover.plots.losses` draws them, each with the name of its recipe as `kind`."""
    recipes: Sequence[str] = ()
    """All there are: a recipe's colour is that of its place among them."""
    more: Sequence[Row] = field(default_factory=list)
    """Rows of the layer `seed`: differences of single pairs of runs."""


def draw_apart(apart: Apart, name: str, title: str, *, small: bool = False) -> Figure:
    """The figure; a small one is the upper part alone."""
    known = [pair for pair in apart.pairs if pair["rungs"] or pair["curve"]]
    shown = (known or list(apart.pairs))[:MOST]
    if not known and apart.losses:  # recipes that share no range
        alone = losses_chart(list(apart.losses), *apart.axes, recipes=apart.recipes)
        return Figure(name, title, "Runs and each recipe's law.", alone, list(apart.losses))
    rows = [row for pair in shown for row in _pair_rows(pair)] + [*_sides(shown)] + list(apart.more)
    own = colours_of(apart.recipes)
    upper = _upper(rows, apart.axes, _colours(shown, own), _ink(shown, own), bool(apart.losses) and not small)
    told = (
        ("ahead", "dashed beyond the runs, where more may change"), ("target", "a diamond at the target"),
        ("crossover", "a circle where they cross"), ("set", "grey where they may"),
        ("met", "a ring where both are one run"),
    )  # fmt: skip
    marks = "".join(f", {words}" for layer, words in told if any(row["layer"] == layer for row in rows))
    caption = f"Intervals of 90%{marks}."
    if small or not apart.losses:
        return Figure(name, title, caption, upper.properties(height=SMALL) if small else upper, rows)
    written = len(shown) == 1 and bool(own)  # in the upper part it is written in their colours
    losses = [*apart.losses, *(name_rows(apart.losses) if written else ())]
    lower = losses_chart(losses, *apart.axes, recipes=apart.recipes, legend=not written)
    chart = alt.vconcat(upper.properties(height=_TALL), lower.properties(height=_SHORT), spacing=8)
    both = [*rows, *losses]
    whole = chart.resolve_scale(x="shared", color="independent", shape="independent").resolve_legend(
        color="independent", shape="independent"
    )
    return Figure(
        name,
        title,
        f"{caption} Below: runs and each recipe's own law, which takes no part in the verdict.",
        whole,
        both,
    )


def _upper(
    rows: list[Row], axes: tuple[str, str], look: dict[str, Any], ink: tuple[str, str], above_another: bool
) -> alt.LayerChart:
    across = log(axes[0])
    if above_another:  # whose axis is below
        across["axis"] = alt.Axis(title=None, labels=False, ticks=False)
    x = alt.X("x:Q", **across)
    scale = alt.Scale(domain=_extent(rows), nice=False)
    y = alt.Y("difference:Q", scale=scale, axis=alt.Axis(title=f"difference in {axes[1]}", format="+.3~g"))
    told, colour = hover("kind", x=".4g", difference="+.4f"), look["color"]
    sized = hover("kind", "size", x=".4g", difference="+.4f", low="+.4f", high="+.4f")
    ends: dict[str, Any] = {"x": x, "y": alt.Y("low:Q"), "y2": "high:Q"}
    top: dict[str, Any] = {"align": "left", "fontSize": 12, "fontWeight": "bold", "baseline": "top", "dy": 4}
    foot = top | {"baseline": "bottom", "dy": -4}
    corner: dict[str, Any] = {"x": alt.value(6), "text": "text:N"}
    return layers(
        rows,
        zero(),
        only("set").mark_rect(opacity=0.15, color=COLOURS[-1]).encode(x=alt.X("from:Q"), x2="to:Q"),
        only("curve").mark_area(opacity=0.18, clip=True).encode(**ends, color=colour),
        only("ahead").mark_area(opacity=0.12, clip=True).encode(**ends, color=colour),
        only("curve").mark_line(strokeWidth=1.3, clip=True).encode(x=x, y=y, color=colour),
        only("ahead").mark_line(strokeWidth=1.3, clip=True, strokeDash=[5, 3]).encode(x=x, y=y, color=colour),
        only("seed").mark_tick(thickness=1.2, size=7, opacity=0.5).encode(x=x, y=y, color=colour),
        only("rung").mark_rule(strokeWidth=1.2, clip=True).encode(**ends, color=colour),
        only("target").mark_rule(strokeWidth=2.2, clip=True).encode(**ends, color=colour),
        only("target").mark_point(size=150, filled=True, shape="diamond").encode(x=x, y=y, color=colour, tooltip=told),
        only("rung").mark_point(size=45, filled=True).encode(x=x, y=y, **look, tooltip=sized),
        only("met").mark_point(size=80, color="currentColor").encode(x=x, y=y, tooltip=hover("kind", "size", "note")),
        only("crossover").mark_point(size=140, strokeWidth=2).encode(x=x, y=y, color=colour, tooltip=told),
        only("above").mark_text(**top, color=ink[0]).encode(**corner, y=alt.value(0)),
        only("below").mark_text(**foot, color=ink[1]).encode(**corner, y=alt.value("height")),
    )


def _extent(rows: Sequence[Row]) -> list[float]:
    """What the vertical axis shows: sizes with their intervals and the target; of wide bands beyond the runs a part."""
    values = [0.0, *(row["difference"] for row in rows if row["layer"] in ("rung", "target", "seed"))]
    values += [row[end] for row in rows if row["layer"] == "rung" for end in ("low", "high") if row[end] is not None]
    ends = [
        row[end] for row in rows if row["layer"] in ("target", "curve", "ahead") for end in ("low", "high") if row[end]
    ]
    low, high = min(values), max(values)
    for row in rows:
        if row["layer"] == "target" and row["low"] is not None and row["high"] - row["low"] < _WIDE * (high - low):
            low, high = min(low, row["low"]), max(high, row["high"])
    room = _ROOM * (high - low) or 1.0
    below, above = min([low, *ends]), max([high, *ends])
    ends = [max(below, low - room), min(above, high + room)]
    side = _SIDE * (ends[1] - ends[0])  # in which is written who is better
    return [min(ends[0], -side) - side / 2, max(ends[1], side) + side / 2]


def _pair_name(pair: Mapping[str, Any]) -> str:
    return f"{pair['b']} − {pair['a']}"


def _pair_rows(pair: Mapping[str, Any]) -> Iterator[Row]:
    name = {"kind": _pair_name(pair)}
    for rung in pair["rungs"]:
        here = {**name, "x": rung["x"], "difference": rung["difference"]["value"], "size": rung["name"]}
        if rung["structural"]:
            yield {"layer": "met", **here, "difference": 0.0, "note": "the same run by construction"}
        else:
            low, high = rung["difference"]["ci"] or (None, None)
            yield {"layer": "rung", **here, "low": low, "high": high}
    measured = [rung["x"] for rung in pair["rungs"]] or [chance["x"] for chance in pair["p_b_beats_a"]]
    for point in pair["curve"]:
        band = {"difference": point["value"], "low": point["low"], "high": point["high"]}
        inside = not measured or min(measured) * (1 - _SAME) <= point["x"] <= max(measured) * (1 + _SAME)
        yield {"layer": "curve" if inside else "ahead", **name, "x": point["x"], **band}
    yield from _crossover_rows(pair, name)
    if gap := pair["gap"]:
        low, high = gap["difference"]["ci"] or (None, None)
        value = gap["difference"]["value"]
        yield {"layer": "target", **name, "x": gap["x"], "difference": value, "low": low, "high": high}


def _crossover_rows(pair: Mapping[str, Any], name: Row) -> Iterator[Row]:
    """The place and its set, within what is drawn."""
    place, points = pair["crossover"], [point["x"] for point in pair["curve"]]
    if not place or not points or not min(points) <= place["value"] <= max(points):
        return
    yield {"layer": "crossover", **name, "x": place["value"], "difference": 0.0}
    start, end = place["ci"] or (None, None)
    if start is None and end is None:
        return
    yield {"layer": "set", **name, "from": max(start or 0.0, min(points)), "to": min(end or max(points), max(points))}


def _sides(pairs: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    a, b = (pairs[0]["a"], pairs[0]["b"]) if len(pairs) == 1 else ("the one named second", "the one named first")
    yield {"layer": "above", "text": f"▲ {brief(a)} is better"}
    yield {"layer": "below", "text": f"▼ {brief(b)} is better"}


def _ink(pairs: Sequence[Mapping[str, Any]], own: Mapping[str, str]) -> tuple[str, str]:
    """The colours in which it is written who is better."""
    plain = "currentColor"
    return (own.get(pairs[0]["a"], plain), own.get(pairs[0]["b"], plain)) if len(pairs) == 1 else (plain, plain)


def _colours(pairs: Sequence[Mapping[str, Any]], own: Mapping[str, str]) -> dict[str, Any]:
    """A pair has the colour of the recipe that it alone has; a single one that of the first named."""
    names, counts = [_pair_name(pair) for pair in pairs], [Counter(pair[end] for pair in pairs) for end in "ab"]
    alone = next((end for end, count in zip("ba", reversed(counts), strict=True) if max(count.values()) == 1), None)
    colours = [own[pair[alone]] for pair in pairs if pair[alone] in own] if alone else []
    if len(colours) < len(pairs):
        return series(names, "kind")
    legend = None if len(pairs) == 1 else alt.Undefined
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(names))]
    return {
        "color": alt.Color("kind", type="nominal", scale=alt.Scale(domain=names, range=colours), legend=legend),
        "shape": alt.Shape("kind", type="nominal", scale=alt.Scale(domain=names, range=shapes), legend=legend),
    }
