"""The losses table that an import would write: its columns, whence they come, and what the runs lack."""

import keyword
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from crossover.base.errors import UsageError
from crossover.logs.guessing import ROLES, Role, candidates
from crossover.logs.logged import LoggedRun, some
from crossover.logs.picking import APART, Take, to_table
from crossover.runs.expressions import evaluate
from crossover.runs.table import Runs

NONE = "none"
"""What a flag says where the runs have no such column, whatever the names look like."""


@dataclass
class Choice:
    """A column of the result and the expression that gives it."""

    role: Role
    expression: str
    stated: bool
    """By a flag; otherwise it is a guess."""
    why: str
    others: list[str] = field(default_factory=list)
    """Other columns it could have been."""
    range: str = ""
    """The smallest and the largest value, or the distinct texts."""
    lacking: list[str] = field(default_factory=list)
    """Names of the runs without a value."""


@dataclass(frozen=True)
class Proposal:
    """What an import found."""

    table: pd.DataFrame
    """One row per run: `run`, the chosen columns by the names of their roles, then everything else."""
    choices: list[Choice]
    unknown: list[Role]
    """What no column looks like."""
    notes: list[str]

    @property
    def guesses(self) -> list[Choice]:
        """Choices that nobody has stated."""
        return [choice for choice in self.choices if not choice.stated]


def propose(runs: list[LoggedRun], stated: dict[str, str], take: Take) -> Proposal:
    """One row per run, with a column for every role that was stated or can be guessed.

    `stated` maps roles to columns or expressions, or to `none`. Raises `UsageError` where a stated one cannot be read,
    and where nothing looks like a loss.
    """
    loss = _choose(ROLES[0], to_table(runs, Take(), None)[0], stated)
    table, notes = to_table(runs, take, loss.expression.strip("`").removeprefix(APART))
    choices = [loss, *(choice for role in ROLES[1:] if (choice := _choice(role, table, stated)))]
    choices += _derived(choices, table, stated)
    columns = {choice.role.name: _values(table, choice) for choice in choices}
    for choice in choices:
        _describe(choice, columns[choice.role.name], table["run"])
    known = {choice.role.name for choice in choices} | {name for name, text in stated.items() if text == NONE}
    told = _notes([*((run.name, note) for run in runs for note in run.notes), *notes])
    return Proposal(
        _arrange(table, columns, choices), choices, [role for role in ROLES if role.name not in known], told
    )


def _notes(told: list[tuple[str, str]]) -> list[str]:
    """Each note once, after the names of its runs."""
    names: dict[str, list[str]] = {}
    for name, note in told:
        names.setdefault(note, []).append(name)
    return [f"{some(runs)}: {note}" for note, runs in names.items()]


def _choose(role: Role, table: pd.DataFrame, stated: dict[str, str]) -> Choice:
    choice = _choice(role, table, stated)
    if choice is None:
        known = textwrap.shorten(", ".join(map(str, table.columns)), 1000, placeholder=" ...")
        raise UsageError(f"no column looks like {role.meaning}; name it by --{role.name}, there are {known}")
    return choice


def _choice(role: Role, table: pd.DataFrame, stated: dict[str, str]) -> Choice | None:
    text = stated.get(role.name)
    if text is not None:
        return None if text == NONE else Choice(role, text, stated=True, why="stated")
    found = candidates(role, table)
    if not found:
        return None
    return Choice(role, found[0].column, stated=False, why=found[0].why, others=[item.column for item in found[1:]])


def _derived(choices: list[Choice], table: pd.DataFrame, stated: dict[str, str]) -> Iterator[Choice]:
    """FLOPs of a dense Transformer, 6 N D (https://arxiv.org/abs/2001.08361, section 2.1), where none were logged."""
    by_role = {choice.role.name: choice for choice in choices}
    if "flops" not in by_role and "flops" not in stated and {"n", "d"} <= set(by_role):
        n, d = (_operand(by_role[name].expression, table) for name in ("n", "d"))
        role = next(role for role in ROLES if role.name == "flops")
        yield Choice(role, f"6 * {n} * {d}", stated=False, why="6 N D, since no FLOPs were logged")


def _operand(text: str, table: pd.DataFrame) -> str:
    """A column or an expression as a part of another expression."""
    if text.isidentifier() and not keyword.iskeyword(text):
        return text
    return f"`{text}`" if text in table.columns else f"({text})"


def _values(table: pd.DataFrame, choice: Choice) -> "pd.Series[object]":
    if choice.role.name == "recipe":
        return _labels(table, choice.expression)
    if choice.role.name == "seed":
        return evaluate(table, choice.expression)
    return pd.Series(Runs("the runs", table).numbers(choice.expression), index=table.index)


def _labels(table: pd.DataFrame, text: str) -> "pd.Series[object]":
    """The text of one column, or of several named with commas between them."""
    names = [text] if text in table.columns else [part.strip() for part in text.split(",")]
    columns = [evaluate(table, name) for name in names]
    known = pd.concat([column.notna() for column in columns], axis=1).all(axis=1)
    joined = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return pd.Series(joined, index=table.index, dtype=object).where(known, None)


def _describe(choice: Choice, values: "pd.Series[object]", names: "pd.Series[str]") -> None:
    known = values.dropna()
    choice.lacking = list(names[values.isna()])
    if choice.role.numeric and len(known) and pd.api.types.is_numeric_dtype(known.dtype):
        low, high = float(known.min()), float(known.max())
        choice.range = f"{low:.5g}" if low == high else f"{low:.5g} to {high:.5g}"
        return
    texts = [str(value) for value in known.unique()]
    choice.range = ", ".join(texts[:4]) + (f", ... ({len(texts)})" if len(texts) > 4 else "")


def _arrange(table: pd.DataFrame, columns: dict[str, "pd.Series[object]"], choices: list[Choice]) -> pd.DataFrame:
    """The run and its chosen columns first; a column that bears the name of another one's role is told apart."""
    first = pd.DataFrame({"run": table["run"]} | columns)
    rest = table.drop(columns="run")
    same = [choice.role.name for choice in choices if choice.expression == choice.role.name]
    rest = rest.drop(columns=same).rename(columns={name: f"{APART}{name}" for name in columns})
    rest = rest.loc[:, ~rest.columns.duplicated()]
    return pd.concat([first, rest], axis=1)
