"""What is said of a fit and of optima, line by line and table by table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crossover.base.numerals import short
from crossover.plots.blocks import Block, Table, table

if TYPE_CHECKING:
    from crossover.laws.optimum import CellOptimum, Optima
    from crossover.laws.result import Fit, HeldOut, Metric, Predicted
    from crossover.runs.table import LeftOut


def number(value: float | None, digits: int = 5) -> str:
    """A number, or a dash."""
    return "–" if value is None else short(value, digits)


def percent(share: float | None, form: str = ".4%") -> str:
    """A share, or a dash."""
    return "–" if share is None else f"{share:{form}}"


def span(ci: tuple[float | None, ...] | None, digits: int = 4, sign: str = "") -> str:
    """An interval whose ends may be missing."""
    if ci is None:
        return "none"
    ends = ["no end" if end is None else short(end, digits, sign) for end in ci]
    return f"[{ends[0]}, {ends[1]}]"


def left_out_lines(left_out: "list[LeftOut]") -> Iterator[str]:
    """Rows not used, and why."""
    for item in left_out:
        yield f"left out: {item.rows} row(s), {item.reason}"


def fit_said(result: "Fit") -> Iterator[Block]:
    """Parameters with their intervals, diagnostics, predictions."""
    params = table(f"{result.law}: {result.formula}", "parameter", "value", "s.e.", "90% interval")
    for name, item in result.params.items():
        shown = f"{name}, held" if name in result.held else name
        params.add(shown, number(item.value, 6), number(item.se, 3), span(item.ci))
    yield params
    inputs = ", ".join(name if name == text else f"{name} = {text}" for name, text in result.inputs.items())
    yield f"{result.n_rows} rows, {inputs}; objective {result.objective.name} = {short(result.objective.value, 8)}"
    yield (
        f"residual {short(result.rms_residual, 4)} rms, {result.mean_absolute_relative_error:.3%} mean; "
        f"{result.starts.agree:.0%} of {result.starts.n} starts agree; condition {result.condition:.1e}; "
        f"{result.interval}"
    )
    yield from left_out_lines(result.left_out)
    yield from _predictions("predictions", result.predictions)
    for name, part in (("held out", result.heldout), ("each rung from those below", result.rollout)):
        if part is not None:
            yield from _held_out(name, part)
    if result.metric is not None:
        yield from _metric(result.metric)
    yield from (f"note: {flag}" for flag in result.flags)


def _metric(metric: "Metric") -> Iterator[Block]:
    params = table(f"{metric.name} from the loss L: {metric.formula}", "parameter", "value", "s.e.", "90% interval")
    for name, item in metric.params.items():
        params.add(name, number(item.value, 6), number(item.se, 3), span(item.ci))
    yield params
    yield f"{metric.n_rows} runs have it; residual {short(metric.rms_residual, 4)}"
    yield from _predictions(f"predictions of {metric.name}", metric.predictions, metric.name)
    if metric.heldout is not None:
        yield from _held_out(f"{metric.name}, held out", metric.heldout, metric.name)


def _predictions(title: str, rows: "list[Predicted]", what: str = "loss") -> Iterator[Table]:
    if not rows:
        return
    known, believed = rows[0].measured is not None, rows[0].by_law is not None
    more = (*(("measured", "error") if known else ()), *(("this law alone",) if believed else ()))
    out = table(title, *rows[0].at, what, "90% interval", "a new run", *more)
    for row in rows:
        at = [short(value, 4) for value in row.at.values()]
        error = (number(row.measured, 8), percent(row.relative_error, "+.4%")) if known else ()
        alone = (number(row.by_law, 8),) if believed else ()
        out.add(*at, number(row.loss.value, 8), span(row.loss.ci), span(row.run_ci), *error, *alone)
    yield out


def _held_out(name: str, part: "HeldOut", what: str = "loss") -> Iterator[Block]:
    if len(part.rows) <= 20 and name.endswith("held out"):
        yield from _predictions(name, part.rows, what)
    covered = "" if part.covered is None else f", {part.covered:.0%} inside the interval for a new run"
    error = percent(part.mean_absolute_relative_error)
    yield f"{name}: {len(part.rows)} prediction(s), mean error {error}{covered}"


def optima_said(result: "Optima") -> Iterator[Block]:
    """Cells, laws and regret."""
    yield _cells(result)
    for cell in result.cells:
        at = ", ".join(f"{name}={short(value, 4)}" for name, value in cell.at.items())
        yield from (f"note: {at}: {flag}" for flag in cell.flags)
    for name, law in (("lr", result.law), ("batch", result.batch_law)):
        if law is not None:
            yield from _law(name, law)
    for title, regret in (("regret of the law", result.regret), ("each cell from the others", result.regret_left_out)):
        if regret is not None:
            yield f"{title}: {regret.mean:.3%} of the loss on average, {regret.max:.3%} at most"
    yield from left_out_lines(result.left_out)
    yield from (f"note: {flag}" for flag in result.flags)


def _cells(result: "Optima") -> Table:
    batched = result.cells[0].best_batch is not None
    stable = any(cell.largest_stable for cell in result.cells)
    columns = ("lr", *(("batch",) if batched else ()), "within 0.25%", "loss", *(("stable to",) if stable else ()))
    out = table("optimum per cell", *result.cells[0].at, *columns)
    for cell in result.cells:
        lr, batch = (
            _place(cell, *part) for part in (("lr", cell.optimum, cell.best_lr), ("batch", cell.batch, cell.best_batch))
        )
        out.add(
            *(short(value, 4) for value in cell.at.values()), lr, *((batch,) if batched else ()),
            span(cell.broad, 3), f"{cell.loss_at_optimum:.4f}",
            *((number(cell.largest_stable, 3),) if stable else ()),
        )  # fmt: skip
    return out


def _place(cell: "CellOptimum", name: str, vertex: float | None, best: float | None) -> str:
    """The vertex; where there is none, the best setting tried, or that it is at the edge."""
    if vertex is not None or best is None:
        return number(vertex, 3)
    edges = [flag.partition(": ")[2].split(" and ") for flag in cell.flags if flag.startswith("best at the edge")]
    return "at the edge" if any(name in part for part in edges) else f"{short(best)} tried"


def _law(name: str, law: "Fit") -> Iterator[str]:
    values = ", ".join(f"{key} = {short(item.value, 4)} {span(item.ci, 3)}" for key, item in law.params.items())
    what = law.formula.replace("x", law.inputs.get("x", "x"))
    yield f"best {name} = {what}: {values}"
    yield from (f"note: law of the best {name}: {flag}" for flag in law.flags)
