"""What is said of fits, comparisons and optima, line by line and table by table: in a terminal and on a page."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from crossover.answers.comparison import Comparison, Comparisons
    from crossover.answers.crossing import Crossover
    from crossover.answers.gap import Gap
    from crossover.laws.optimum import Optima
    from crossover.laws.result import Fit, HeldOut
    from crossover.plots.answer import Block

Said = str | Text | Table
"""A line, a heading or a table."""

_MANY = 12  # pairs, above which each gets one line

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def make_table(title: str, *columns: str, left: int = 1) -> Table:
    """A table in the house style: so many columns to the left, numbers to the right."""
    table = Table(title=escape(title) or None, title_justify="left", box=box.SIMPLE, padding=(0, 1))
    for i, name in enumerate(columns):
        table.add_column(escape(name), justify="left" if i < left else "right", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row whose cells are text, whatever brackets they hold."""
    table.add_row(*map(escape, cells))


def _number(value: float | None, digits: int = 5) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _span(ci: tuple[float | None, ...] | None, digits: int = 4, sign: str = "") -> str:
    if ci is None:
        return "none"
    ends = ["no end" if end is None else f"{end:{sign}.{digits}g}" for end in ci]
    return f"[{ends[0]}, {ends[1]}]"


def show(said: Iterable[Said]) -> None:
    """Print it; an empty line before every heading but the first."""
    for i, item in enumerate(said):
        if i and isinstance(item, Text):
            console.print()
        console.print(item, markup=False)


def as_blocks(said: Iterable[Said]) -> "Iterator[Block]":
    """The same for a page."""
    from crossover.plots.answer import Block

    for item in said:
        if isinstance(item, Table):
            columns = [[Text.from_markup(str(cell)).plain for cell in column.cells] for column in item.columns]
            header = [Text.from_markup(str(column.header)).plain for column in item.columns]
            title = Text.from_markup(str(item.title or "")).plain
            yield Block(title, header, [list(row) for row in zip(*columns, strict=True)])
        else:
            yield Block(str(item), heading=isinstance(item, Text))


def left_out_lines(left_out: list[Any]) -> Iterator[str]:
    """Rows not used, and why."""
    for item in left_out:
        yield f"left out: {item.rows} row(s), {item.reason}"


def note_left_out(left_out: list[Any]) -> None:
    """Print rows not used, and why."""
    show(left_out_lines(left_out))


def fit_said(result: "Fit") -> Iterator[Said]:
    """Parameters with their intervals, diagnostics, predictions."""
    table = make_table(f"{result.law}: {result.formula}", "parameter", "value", "s.e.", "90% interval")
    for name, item in result.params.items():
        add_row(table, name, _number(item.value, 6), _number(item.se, 3), _span(item.ci))
    yield table
    inputs = ", ".join(name if name == text else f"{name} = {text}" for name, text in result.inputs.items())
    yield f"{result.n_rows} rows, {inputs}; objective {result.objective.name} = {result.objective.value:.8g}"
    yield (
        f"residual {result.rms_residual:.4g} rms, {result.mean_absolute_relative_error:.3%} mean; "
        f"{result.starts.agree:.0%} of {result.starts.n} starts agree; condition {result.condition:.1e}; "
        f"{result.interval}"
    )
    yield from left_out_lines(result.left_out)
    yield from _predictions("predictions", result.predictions)
    for name, part in (("held out", result.heldout), ("each rung from those below", result.rollout)):
        if part is not None:
            yield from _held_out(name, part)
    yield from (f"note: {flag}" for flag in result.flags)


def _predictions(title: str, rows: list[Any]) -> Iterator[Table]:
    if not rows:
        return
    known = rows[0].measured is not None
    table = make_table(
        title, *rows[0].at, "loss", "90% interval", "a new run", *(("measured", "error") if known else ())
    )
    for row in rows:
        at = [f"{value:.4g}" for value in row.at.values()]
        error = (_number(row.measured, 8), f"{row.relative_error:+.4%}") if known else ()
        add_row(table, *at, _number(row.loss.value, 8), _span(row.loss.ci), _span(row.run_ci), *error)
    yield table


def _held_out(name: str, part: "HeldOut") -> Iterator[Said]:
    if len(part.rows) <= 20 and name == "held out":
        yield from _predictions(name, part.rows)
    covered = "" if part.covered is None else f", {part.covered:.0%} inside the interval for a new run"
    yield f"{name}: {len(part.rows)} prediction(s), mean error {part.mean_absolute_relative_error:.4%}{covered}"


def comparisons_said(result: "Comparisons") -> Iterator[Said]:
    """Every pair with all there is to say of it; of many pairs one line each."""
    yield from left_out_lines(result.left_out)
    if len(result.pairs) > _MANY:
        yield _many(result.pairs)
        return
    for item in result.pairs:
        yield from _pair(item, result.x)


def _pair(item: "Comparison", x: str) -> Iterator[Said]:
    """Verdict, crossover, rungs, baseline, gap, sensitivity."""
    yield Text(f"{item.b} against {item.a}: {item.verdict}", style="bold")
    yield from _crossing(item, x)
    if item.rungs:
        yield _rungs(item, x)
    elif item.p_b_beats_a:
        yield f"P({item.b} better): " + ", ".join(f"{c.p:.2f} at {c.x:.3g}" for c in item.p_b_beats_a[::2])
    if item.baseline and item.baseline.better:
        yield f"plain ranking at the largest common size, {item.baseline.x:.4g}: {item.baseline.better}"
    if item.gap:
        yield _gap(item, x)
        if item.gap.decision:
            yield _decision(item.gap, x)
    for variant in item.sensitivity:
        moved = "" if variant.crossover is None else f", crossover {variant.crossover:.4g}"
        yield f"{variant.change}: {variant.verdict}{moved}"
    yield from (f"note: {flag}" for flag in item.flags)


def _gap(item: "Comparison", x: str) -> str:
    gap = item.gap
    assert gap
    factor = "" if gap.equivalent_compute is None else (
        f", as if {item.a} had {gap.equivalent_compute.value:.3g}x {_span(gap.equivalent_compute.ci, 3)} the {x}"
    )  # fmt: skip
    return (
        f"{gap.lever_arm_decades:.2f} decades outside the runs, at {gap.x:.4g}: {gap.difference.value:+.4f} "
        f"{_span(gap.difference.ci, 3, '+')}{factor}; P({item.b} better) = {gap.p_b_beats_a:.3f}; assumes {item.model}"
    )


def _decision(gap: "Gap", x: str) -> str:
    from crossover.answers.decision import words

    return f"at {gap.x:.4g}, {words(asdict(gap)['decision'], x, 'in loss')}"


def _crossing(item: "Comparison", x: str) -> Iterator[str]:
    if item.crossover is not None:
        yield from _crossover(item.crossover, x)
    if item.bracket:
        yield f"the measured sign changes between {item.bracket[0]:.6g} and {item.bracket[1]:.6g}"
    if len(item.roots) > 1:
        yield f"all roots: {', '.join(f'{root:.4g}' for root in item.roots)}"


def _crossover(place: "Crossover", x: str) -> Iterator[str]:
    where = "" if not place.lever_arm_decades else f", {place.lever_arm_decades:.2f} decades outside the runs"
    yield f"crossover at {x} = {place.value:.4g} {_span(place.ci)}{where}"
    if len(place.pieces) > 1:
        yield f"its confidence set has {len(place.pieces)} pieces: {', '.join(map(_span, place.pieces))}"
    if None in place.ci:
        yield "the runs do not bound it on both sides within 1.5 decades of them"


def _rungs(item: "Comparison", x: str) -> Table:
    seeds = any(rung.difference.ci for rung in item.rungs)
    columns = (f"{item.b} − {item.a}", *(("90% interval",) if seeds else ()), f"P({item.b} better)")
    table = make_table("", x, "pairs", *columns)
    chances = {chance.x: chance.p for chance in item.p_b_beats_a}
    for rung in item.rungs:
        chance = f"{chances[rung.x]:.3f}" if rung.x in chances else "–"
        value = "same run" if rung.structural else f"{rung.difference.value:+.5f}"
        span = (_span(rung.difference.ci, 3, "+"),) if seeds else ()
        add_row(table, rung.name, str(rung.pairs), value, *span, chance)
    return table


def _many(pairs: "list[Comparison]") -> Table:
    """One line per pair."""
    table = make_table(f"{len(pairs)} pairs", "A", "B", "verdict", "crossover", "90% interval", "best at the top")
    for item in pairs:
        place = item.crossover if item.verdict == "crosses" else None
        add_row(
            table, item.a, item.b, item.verdict, _number(place.value if place else None, 4),
            _span(place.ci) if place else "–", (item.baseline.better if item.baseline else None) or "–",
        )  # fmt: skip
    return table


def optima_said(result: "Optima") -> Iterator[Said]:
    """Cells, laws and regret."""
    batched = result.cells[0].best_batch is not None
    stable = any(cell.largest_stable for cell in result.cells)
    columns = ("lr", *(("batch",) if batched else ()), "within 0.25%", "loss", *(("stable to",) if stable else ()))
    table = make_table("optimum per cell", *result.cells[0].at, *columns)
    for cell in result.cells:
        lr = "at the edge" if cell.optimum is None else f"{cell.optimum:.3g}"
        add_row(
            table, *(f"{value:.4g}" for value in cell.at.values()), lr, *((_number(cell.batch, 3),) if batched else ()),
            _span(cell.broad, 3), f"{cell.loss_at_optimum:.4f}",
            *((_number(cell.largest_stable, 3),) if stable else ()),
        )  # fmt: skip
    yield table
    for cell in result.cells:
        at = ", ".join(f"{name}={value:.4g}" for name, value in cell.at.items())
        yield from (f"note: {at}: {flag}" for flag in cell.flags)
    for name, law in (("lr", result.law), ("batch", result.batch_law)):
        if law is not None:
            yield from _law(name, law)
    for title, regret in (("regret of the law", result.regret), ("each cell from the others", result.regret_left_out)):
        if regret is not None:
            yield f"{title}: {regret.mean:.3%} of the loss on average, {regret.max:.3%} at most"
    yield from left_out_lines(result.left_out)
    yield from (f"note: {flag}" for flag in result.flags)


def _law(name: str, law: "Fit") -> Iterator[str]:
    values = ", ".join(f"{key} = {item.value:.4g} {_span(item.ci, 3)}" for key, item in law.params.items())
    what = law.formula.replace("x", law.inputs.get("x", "x"))
    yield f"best {name} = {what}: {values}"
    yield from (f"note: law of the best {name}: {flag}" for flag in law.flags)
