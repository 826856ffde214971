"""The house style of figures: colours told apart with any colour vision, marks, axes, and SVG, PDF, PNG of a chart.

A figure is an Altair chart over one table of rows with a column `layer`; the page draws its Vega-Lite form, papers get
the same form as SVG and PDF.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import altair as alt
import vl_convert

from crossover.base.errors import UsageError
from crossover.base.files import write_named

Chart = alt.LayerChart | alt.FacetChart | alt.VConcatChart
Row = dict[str, Any]

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A"]  # Okabe and Ito's
SHAPES = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right"]
_WIDTH, _HEIGHT = 440, 260
_CLIP = re.compile(r"(?<=[\"#])clip(\d+)")
_ROWS = alt.NamedData("rows")
"""A chart is over rows by this name, put in when it is done: Altair would check each of them against its schema."""


@dataclass(frozen=True)
class Figure:
    """A chart with its name, its caption, which says in words what it shows, and the rows behind it."""

    name: str
    title: str
    caption: str
    chart: Chart = field(repr=False)
    rows: Sequence[Row] = field(repr=False)
    parts: Mapping[str, Sequence[Row]] = field(default_factory=dict, repr=False)
    """Rows of charts that it is put together from, by the name of their data."""
    sure: str | None = None
    """Colour of who is better at the target, where the interval leaves no doubt."""

    def spec(self) -> dict[str, Any]:
        """Vega-Lite for the page: as wide as its place, in the colour of the text around it."""
        return _styled(self, "currentColor", None)

    def csv(self) -> str:
        """The rows, with a header."""
        buffer = io.StringIO()
        names = dict.fromkeys(name for row in self.rows for name in row)
        writer = csv.DictWriter(buffer, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return buffer.getvalue()

    def svg(self) -> str:
        """For a paper or a README; the same text whatever was drawn before it, whose clips are counted on."""
        text = vl_convert.vegalite_to_svg(self._paper())
        numbers = {name: str(i) for i, name in enumerate(dict.fromkeys(_CLIP.findall(text)))}
        return _CLIP.sub(lambda match: f"clip{numbers[match[1]]}", text)

    def pdf(self) -> bytes:
        """For a paper."""
        return vl_convert.svg_to_pdf(self.svg())

    def png(self) -> bytes:
        """At twice the size of a screen's pixels."""
        return vl_convert.svg_to_png(self.svg(), scale=2)

    def save(self, path: Path) -> None:
        """Write it as .png, .svg or .pdf. Raises `UsageError` for another ending."""
        formats: dict[str, Callable[[], bytes]] = {
            ".png": self.png,
            ".svg": lambda: self.svg().encode(),
            ".pdf": self.pdf,
        }
        if path.suffix not in formats:
            raise UsageError(f"a figure is written as {', '.join(formats)}; name {path} with one of them at its end")
        write_named(path, formats[path.suffix]())

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self.svg()

    def _paper(self) -> dict[str, Any]:
        return _styled(self, "#1b1f24", "white")


def config() -> dict[str, Any]:
    """The style as Vega-Lite's configuration, the same for every figure of a page."""
    empty = Figure("", "", "", cast(Chart, alt.layer(alt.Chart(alt.InlineData(values=[])).mark_point())), [])
    style: dict[str, Any] = empty.spec()["config"]
    return style


def _styled(figure: Figure, ink: str, background: str | None) -> dict[str, Any]:
    quiet: dict[str, Any] = {"labelColor": ink, "titleColor": ink, "titleFontWeight": "normal"}
    styled: Chart = figure.chart.properties(description=f"{figure.title}: {figure.caption}").configure(
        background=background or "transparent",
        font="Helvetica, Arial, sans-serif",
        view=alt.ViewConfig(
            stroke=None, continuousWidth=_WIDTH, continuousHeight=_HEIGHT, discreteWidth=_WIDTH, discreteHeight=_HEIGHT
        ),
        point=alt.MarkConfig(opacity=1),
        axis=alt.AxisConfig(
            **quiet,
            domainColor=ink,
            tickColor=ink,
            gridColor=ink,
            gridOpacity=0.14,
            labelOverlap="greedy",
            labelSeparation=9,
        ),
        legend=alt.LegendConfig(
            **quiet, orient="bottom", direction="vertical", title=None, labelLimit=300, columns=1, symbolOpacity=1
        ),
        header=alt.HeaderConfig(**quiet, labelAnchor="start", title=None, labelFontWeight="bold"),
        title=alt.TitleConfig(color=ink, anchor="start", fontSize=12),
        rule=alt.MarkConfig(color=ink),
        text=alt.MarkConfig(color=ink),
        padding={"left": 5, "top": 5, "right": 20, "bottom": 5},
    )
    spec: dict[str, Any] = styled.to_dict(validate=False)
    return {**spec, "datasets": {**spec.get("datasets", {}), "rows": list(figure.rows), **figure.parts}}


def layers(rows: Sequence[Row], *charts: alt.Chart) -> alt.LayerChart:
    """Charts over the same rows."""
    return cast(alt.LayerChart, alt.layer(*_drawn(rows, charts), data=_ROWS))


def panels(rows: Sequence[Row], by: str, order: Sequence[str], *charts: alt.Chart) -> Chart:
    """The same, one panel above another for each value of `by`; a single value needs no panel."""
    if len(order) == 1:
        return layers(rows, *charts)
    stack = alt.layer(*_drawn(rows, charts)).properties(height=_HEIGHT // 2)
    return stack.facet(
        row=alt.Row(by, type="nominal", sort=list(order), header=alt.Header(labelAngle=0, labelOrient="top")),
        data=_ROWS,
    )


def only(layer: str) -> alt.Chart:
    """A chart of the rows of one layer."""
    return alt.Chart().transform_filter(_is(layer))


def _is(layer: str) -> str:
    return f"datum.layer === '{layer}'"


def _drawn(rows: Sequence[Row], charts: Iterable[alt.Chart]) -> list[alt.Chart]:
    """Charts that have rows: an empty layer would leave the axes without an extent."""
    present = {_is(row["layer"]) for row in rows}
    return [item for item in charts if item.transform is alt.Undefined or item.transform[0].filter in present]


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """Each name's colour by its place, so that a recipe has the same one in every figure of a page."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(names))}


def series(
    names: Iterable[str], field: str = "recipe", among: Sequence[str] | None = None, legend: bool = True
) -> dict[str, Any]:
    """Colour and shape by name, of its place `among` all; when the colours begin again the shapes are others."""
    known = list(dict.fromkeys(names))
    places = {name: index for index, name in enumerate(dict.fromkeys([*(among or ()), *known]))}
    colours = [COLOURS[places[name] % len(COLOURS)] for name in known]
    shapes = [SHAPES[(places[name] + places[name] // len(COLOURS)) % len(SHAPES)] for name in known]
    told = alt.Undefined if legend else None
    return {
        "color": alt.Color(field, type="nominal", scale=alt.Scale(domain=known, range=colours), legend=told),
        "shape": alt.Shape(field, type="nominal", scale=alt.Scale(domain=known, range=shapes), legend=told),
    }


def shades(names: Sequence[Any]) -> alt.Scale:
    """Colours of ordered things such as widths; of many, a scale without its lightest and darkest ends."""
    if len(names) <= len(COLOURS):
        return alt.Scale(domain=list(names), range=COLOURS[: len(names)])
    return alt.Scale(domain=list(names), scheme=alt.SchemeParams("viridis", extent=[0.15, 0.85]))


def hover(*fields: str, **formats: str) -> list[alt.Tooltip]:
    """What is told of the thing under the pointer; `formats` are numbers with their d3 format."""
    plain = [alt.Tooltip(field, type="nominal") for field in fields]
    return plain + [alt.Tooltip(field, type="quantitative", format=form) for field, form in formats.items()]


def log(title: str, form: str = ".0e", values: Sequence[float] | None = None) -> dict[str, Any]:
    """Scale and axis of a logarithmic channel."""
    axis = alt.Axis(title=title, format=form, values=alt.Undefined if values is None else list(values))
    if form.endswith("e"):  # 1e+22 is 1e22 to a reader
        axis["labelExpr"] = "replace(datum.label, '+', '')"
    return {"scale": alt.Scale(type="log", nice=False, padding=12), "axis": axis}


def linear(title: str, form: str = ".2f") -> dict[str, Any]:
    """Scale and axis of a linear channel that need not show zero."""
    return {"scale": alt.Scale(zero=False, nice=False, padding=8), "axis": alt.Axis(title=title, format=form)}


def widths(values: Iterable[int]) -> dict[str, Any]:
    """The axis of model widths, each labelled."""
    return log("width D", "d", sorted(set(values)))


def zero() -> alt.Chart:
    """The line at zero."""
    line = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(strokeWidth=0.8)
    return cast(alt.Chart, line.encode(y="zero:Q"))


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that assigns `vegaEmbed` to the window."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
