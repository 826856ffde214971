"""The command `crossover diff`: what two commits of results disagree on, as a table, Markdown, JSON or a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import Json, note_written, require_outputs

if TYPE_CHECKING:
    from crossover.plots.blocks import Table
    from stages.diff.comparing import Diff, Moved

_LINES = 40


def diff(
    old: Annotated[str, typer.Argument(help="A commit, branch or tag.", metavar="A", show_default=False)],
    new: Annotated[str | None, typer.Argument(help="Another; the workspace where absent.", metavar="[B]")] = None,
    md: Annotated[bool, typer.Option("--md", help="Print Markdown, as for a pull request.")] = False,
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with both drawn over each other.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="List what did not move too.")] = False,
) -> None:  # fmt: skip
    """What changed between two commits, and whether it is noise.

    Every loss, law, difference, crossover and optimum is moved, within noise or not comparable (and why); cells and
    parameters that changed are listed. Exit code 1 where a verdict changed. Reads git alone: no checkout, no remote.

    crossover diff main results/nightly --html changed.html
    """
    from flows.studies.snapshots import commit_snapshot, repository_root, workspace_snapshot
    from stages.diff.comparing import compare, to_json_text
    from stages.diff.words import markdown

    require_outputs(None, None, html)
    here, bare = repository_root(Path.cwd())
    before = commit_snapshot(old, here)
    if new is None and bare:
        raise UsageError("a bare repository has no workspace; name two commits")
    after = workspace_snapshot(here) if new is None else commit_snapshot(new, here)
    for side in (before, after):
        if not side.studies:
            where = f"{side.name} holds no data/results/*/losses.csv"
            raise UsageError(f"{where}; run `dvc repro` and commit, or name another commit")
    found = compare(before, after)
    if html is not None:
        from crossover.base.files import write_named
        from stages.report.overlay import overlay

        write_named(html, overlay(found, before, after).encode())
    if as_json:
        print(to_json_text(found))
    elif md:
        print(markdown(found), end="")
    else:
        _show(found, everything)
    if html is not None:
        note_written(html)
    if found.changed:
        raise typer.Exit(1)


def _show(found: "Diff", everything: bool) -> None:
    from crossover.plots.blocks import show
    from stages.diff.words import apart, cells, lone_verdicts, params

    kinds = ("moved", "within noise", "identical") if everything else ("moved",)
    rows = [item for item in found.quantities if item.status in kinds]
    show([
        found.headline(),
        *(f"  {item.study}: {item.what}: {item.old} → {item.new}, moved by {item.because}" for item in found.changed),
        *([_table(rows if everything else rows[:_LINES])] if rows else []),
        *([f"… and {len(rows) - _LINES} more that moved; --all lists everything"] * (len(rows) > _LINES)
          * (not everything)),
        *found.notes, *apart(found), *lone_verdicts(found), *cells(found), *params(found),
    ])  # fmt: skip


def _table(rows: list["Moved"]) -> "Table":
    from crossover.plots.blocks import table
    from stages.diff.words import numbers

    out = table("", "study", "quantity", "before", "now", "difference [90%]", "", left=2)
    for item in rows:
        out.add(item.study, f"{item.kind}: {item.name}", *numbers(item), item.status)
    return out
