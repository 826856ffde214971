"""The figure of an answer: how far two recipes are apart along size, on to the target; below it what each comes to.

One figure for `compare`, `keep`, `predict`, `advise` and the page of a project: sizes with their intervals, what is
believed between and beyond them with its band, the crossover with its confidence set, and who is better on which side.
Of a single pair everything has the colour of the recipe that is ahead there, of several each pair has its own.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
OPEN = ""
"""Who leads where that is open."""
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
    sizes: str = ""
    """What sizes are, where their names are to stand in the figure because x does not say them: a width."""
    more: Sequence[Row] = ()
    """Rows of the layer `seed`: differences of single pairs of runs."""


def draw_apart(apart: Apart, name: str, title: str, *, small: bool = False) -> Figure:
    """The figure; a small one is the upper part alone."""
    known = [pair for pair in apart.pairs if pair["rungs"] or pair["curve"]]
    shown = (known or list(apart.pairs))[:MOST]
    if not known and apart.losses:  # recipes that share no range
        lower = losses_chart(list(apart.losses), *apart.axes, recipes=apart.recipes)
        return Figure(name, title, "Runs and each recipe's law.", lower, list(apart.losses))
    rows = [row for pair in shown for row in _pair_rows(pair)] + list(apart.more)
    alone = shown[0] if len(shown) == 1 else None
    called = _names(alone) if alone and apart.sizes else ()
    rows = [*(_open(list(_led(rows, alone))) if alone else rows), *_sides(shown), *called]
    own = colours_of([*apart.recipes, *((alone["a"], alone["b"]) if alone else ())])
    upper = _upper(rows, apart.axes, _colours(shown, own), _ink(shown, own), bool(apart.losses) and not small)
    told = (
        ("ahead", "dashed beyond the runs, where more may change"), ("open", "grey where who leads is open"),
        ("target", "a diamond at the target"), ("crossover", "a cross where they cross"),
        ("set", "a grey strip where they may"), ("met", "a ring where both are one run"),
        ("name", f"{apart.sizes}s beside the points"), ("name low", f"{apart.sizes}s beside the points"),
    )  # fmt: skip
    drawn = {row["layer"] for row in rows} | {"open" for row in rows if row.get("leader") == OPEN}
    marks = "".join(f", {words}" for words in dict.fromkeys(words for layer, words in told if layer in drawn))
    caption = f"Intervals of 90%{marks}."
    sure = _sure(rows, own) if alone else None
    if small or not apart.losses:
        return Figure(name, title, caption, upper.properties(height=SMALL) if small else upper, rows, sure=sure)
    losses = _measured(apart.losses)
    losses += name_rows(losses) if alone else []  # instead of a legend
    lower = losses_chart(losses, *apart.axes, recipes=apart.recipes, legend=alone is None)
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
        sure=sure,
    )


def _upper(
    rows: list[Row], axes: tuple[str, str], look: dict[str, Any], ink: tuple[str, str], above_another: bool
) -> alt.LayerChart:
    across = log(axes[0])
    if above_another:  # whose axis is below
        across["axis"] = alt.Axis(title=None, labels=False, ticks=False)
    x = alt.X("x:Q", **across)
    scale = alt.Scale(domain=_extent(rows), nice=False)
    signs = alt.Axis(title=f"difference in {axes[1]}", format="+.3~g", labelExpr="datum.value ? datum.label : '0'")
    y = alt.Y("difference:Q", scale=scale, axis=signs)
    told, colour = hover("kind", x=".4g", difference="+.4f"), look["color"]
    part = {} if look["color"].shorthand == "kind" else {"detail": "part:N"}
    sized = hover("kind", "size", x=".4g", difference="+.4f", low="+.4f", high="+.4f")
    ends: dict[str, Any] = {"x": x, "y": alt.Y("low:Q"), "y2": "high:Q"}
    top: dict[str, Any] = {"align": "left", "fontSize": 12, "fontWeight": "bold", "baseline": "top", "dy": 4}
    foot = top | {"baseline": "bottom", "dy": -4}
    corner: dict[str, Any] = {"x": alt.value(6), "text": "text:N"}
    return layers(
        rows,
        zero(),
        only("set").mark_rect(opacity=0.15, color=COLOURS[-1]).encode(x=alt.X("from:Q"), x2="to:Q"),
        only("curve").mark_area(opacity=0.22, clip=True).encode(**ends, color=colour, **part),
        only("ahead").mark_area(opacity=0.16, clip=True).encode(**ends, color=colour, **part),
        only("curve").mark_line(strokeWidth=1.5, clip=True).encode(x=x, y=y, color=colour, **part),
        only("ahead").mark_line(strokeWidth=1.5, clip=True, strokeDash=[5, 3]).encode(x=x, y=y, color=colour, **part),
        only("seed").mark_tick(thickness=1.2, size=7, opacity=0.5).encode(x=x, y=y, color=colour),
        only("rung").mark_rule(strokeWidth=1.2, clip=True).encode(**ends, color=colour),
        only("target").mark_rule(strokeWidth=2.2, clip=True).encode(**ends, color=colour),
        only("target").mark_point(size=150, filled=True, shape="diamond").encode(x=x, y=y, color=colour, tooltip=told),
        only("rung").mark_point(size=45, filled=True).encode(x=x, y=y, **look, tooltip=sized),
        only("met").mark_point(size=80, color="currentColor").encode(x=x, y=y, tooltip=hover("kind", "size", "note")),
        only("crossover")
        .mark_point(size=170, shape="cross", filled=True, angle=45, color="currentColor")
        .encode(x=x, y=y, tooltip=told),
        *(
            only(layer).mark_text(align="left", dx=7, dy=dy, fontSize=10).encode(x=x, y=y, text="text:N")
            for layer, dy in (("name", -9), ("name low", 10))
        ),
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
    return [min(ends[0], -side) - 0.7 * side, max(ends[1], side) + 0.7 * side]


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
    points = list[Row]()
    for point in pair["curve"]:
        band = {"difference": point["value"], "low": point["low"], "high": point["high"]}
        inside = not measured or min(measured) * (1 - _SAME) <= point["x"] <= max(measured) * (1 + _SAME)
        points.append({"layer": "curve" if inside else "ahead", **name, "x": point["x"], **band})
    yield from _joined(points)
    yield from _crossover_rows(pair, name)
    if gap := pair["gap"]:
        low, high = gap["difference"]["ci"] or (None, None)
        value = gap["difference"]["value"]
        yield {"layer": "target", **name, "x": gap["x"], "difference": value, "low": low, "high": high}


def _joined(points: Sequence[Row]) -> Iterator[Row]:
    """A line that goes on from where the runs end: what is believed makes a step there, as more may change beyond."""
    for before, point, after in zip([None, *points], points, [*points[1:], None], strict=False):
        if point["layer"] == "curve":
            yield point
            continue
        inside = next((near for near in (before, after) if near and near["layer"] == "curve"), None)
        yield {**inside, "layer": "ahead"} if inside else point


def _led(rows: Sequence[Row], pair: Mapping[str, Any]) -> Iterator[Row]:
    """Each row in the name of who is ahead there; a curve in parts, which meet at zero where that changes."""
    part, before = 0, dict[str, Row]()
    for row in rows:
        if "difference" not in row:
            yield row
            continue
        last = before.get(row["layer"]) if row["layer"] in ("curve", "ahead") else None
        if last and last["difference"] * row["difference"] < 0:
            met = _between(last, row)
            yield {**met, "leader": _leader(last, pair), "part": part}
            part += 1
            yield {**met, "leader": _leader(row, pair), "part": part}
        before[row["layer"]] = row
        yield {**row, "leader": _leader(row, pair), "part": part}


def _open(rows: list[Row]) -> list[Row]:
    """Beyond the runs nobody leads where the target's interval holds zero."""
    target = next((row for row in rows if row["layer"] == "target"), None)
    if target is None or None in (target["low"], target["high"]) or target["low"] * target["high"] > 0:
        return rows
    return [{**row, "leader": OPEN} if row["layer"] in ("ahead", "target") else row for row in rows]


def _measured(rows: Sequence[Row]) -> list[Row]:
    """Losses with laws no further than their runs where a forecast stands: it weighs many laws and ends elsewhere."""
    if not any(row["layer"] == "place" for row in rows):
        return list(rows)
    laws = [row for row in rows if row["layer"] == "law"]
    found = [row for row in rows if row["layer"] != "law"]
    for kind in dict.fromkeys(row["kind"] for row in laws):
        end = max(row["x"] for row in found if row["layer"] == "run" and row["kind"] == kind)
        found += _until([row for row in laws if row["kind"] == kind], end)
    return found


def _until(points: Sequence[Row], end: float) -> Iterator[Row]:
    """A line's points up to x = end, the last one just there."""
    yield from (point for point in points if point["x"] <= end)
    for a, b in pairwise(points):
        if a["x"] < end < b["x"]:
            yield _mixed(a, b, math.log(end / a["x"]) / math.log(b["x"] / a["x"]), "loss", "low", "high")


def _leader(row: Row, pair: Mapping[str, Any]) -> str:
    leader: str = pair["b"] if row["difference"] < 0 else pair["a"]
    return leader


def _between(a: Row, b: Row) -> Row:
    """Where a curve passes zero."""
    share = a["difference"] / (a["difference"] - b["difference"])
    return {**_mixed(a, b, share, "low", "high"), "difference": 0.0}


def _mixed(a: Row, b: Row, share: float, *names: str) -> Row:
    """A share of the way from a to b, along the logarithm of x."""
    x = math.exp((1 - share) * math.log(a["x"]) + share * math.log(b["x"]))
    return {**a, "x": x, **{name: (1 - share) * a[name] + share * b[name] for name in names}}


def _sure(rows: Sequence[Row], own: Mapping[str, str]) -> str | None:
    """The colour of who is better at the target, where the interval leaves no doubt."""
    for row in rows:
        if row["layer"] == "target" and row["low"] is not None and row["high"] is not None:
            return own[row["leader"]] if row["low"] * row["high"] > 0 else None
    return None


def _names(pair: Mapping[str, Any]) -> Iterator[Row]:
    """What sizes are called, away from the line at zero."""
    for rung in pair["rungs"]:
        difference = 0.0 if rung["structural"] else rung["difference"]["value"]
        layer = "name low" if difference < 0 else "name"
        yield {"layer": layer, "x": rung["x"], "difference": difference, "text": rung["name"]}


def _crossover_rows(pair: Mapping[str, Any], name: Row) -> Iterator[Row]:
    """The place and its set, within what is drawn."""
    place, points = pair["crossover"], [point["x"] for point in pair["curve"]]
    if not place or not points:
        return
    first, last = min(points), max(points)
    if first <= place["value"] <= last:
        yield {"layer": "crossover", **name, "x": place["value"], "difference": 0.0}
    start, end = place["ci"] or (None, None)
    start, end = max(start or 0.0, first), min(end or last, last)
    if (first, last) != (start, end) and start < end:
        yield {"layer": "set", **name, "from": start, "to": end}


def _sides(pairs: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    a, b = (pairs[0]["a"], pairs[0]["b"]) if len(pairs) == 1 else ("the one named second", "the one named first")
    yield {"layer": "above", "text": f"▲ {brief(a)} is better"}
    yield {"layer": "below", "text": f"▼ {brief(b)} is better"}


def _ink(pairs: Sequence[Mapping[str, Any]], own: Mapping[str, str]) -> tuple[str, str]:
    """The colours in which it is written who is better."""
    return (own[pairs[0]["a"]], own[pairs[0]["b"]]) if len(pairs) == 1 else ("currentColor", "currentColor")


def _colours(pairs: Sequence[Mapping[str, Any]], own: Mapping[str, str]) -> dict[str, Any]:
    """A pair has the colour of the recipe that it alone has; a single one at each place that of who is ahead there."""
    if len(pairs) == 1:
        ends = [pairs[0]["a"], pairs[0]["b"]]
        scale = alt.Scale(domain=[*ends, OPEN], range=[*(own[name] for name in ends), COLOURS[-1]])
        return {"color": alt.Color("leader", type="nominal", scale=scale, legend=None)}
    names, counts = [_pair_name(pair) for pair in pairs], [Counter(pair[end] for pair in pairs) for end in "ab"]
    alone = next((end for end, count in zip("ba", reversed(counts), strict=True) if max(count.values()) == 1), None)
    colours = [own[pair[alone]] for pair in pairs if pair[alone] in own] if alone else []
    if len(colours) < len(pairs):
        return series(names, "kind")
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(names))]
    return {
        "color": alt.Color("kind", type="nominal", scale=alt.Scale(domain=names, range=colours)),
        "shape": alt.Shape("kind", type="nominal", scale=alt.Scale(domain=names, range=shapes)),
    }
