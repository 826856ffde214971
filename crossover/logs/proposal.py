"""The losses table that an import would write: its columns, whence they come, and what the runs lack."""

import keyword
import math
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from crossover.base.errors import UsageError
from crossover.base.hints import some
from crossover.base.numerals import short
from crossover.logs.doubts import doubt, odd_losses
from crossover.logs.guessing import as_counts, candidates
from crossover.logs.logged import APART, LoggedRun
from crossover.logs.names import ROLES, Role
from crossover.logs.picking import Take, to_table
from crossover.runs.expressions import condition, evaluate
from crossover.runs.losses import rises
from crossover.runs.table import Runs

_UNFINISHED = ("failed", "crashed", "killed", "running", "preempted", "error", "aborted")
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
    """The smallest and the largest value and the one in the middle, or the distinct texts."""
    lacking: list[str] = field(default_factory=list)
    """Names of the runs without a value."""
    texts: dict[str, str] = field(default_factory=dict)
    """What stands in the place of a number, by the name of the run."""


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


def propose(runs: list[LoggedRun], stated: dict[str, str], take: Take, where: str | None = None) -> Proposal:
    """One row per run, with a column for every role that was stated or can be guessed.

    `stated` maps roles to columns or expressions, or to `none`; `where` says which rows stay. Raises `UsageError` where
    a stated one cannot be read, and where nothing looks like a loss.
    """
    loss = _choose_loss(runs, stated, take.rises)
    _require_losses(runs, loss)
    table, notes = to_table(runs, take, loss.expression.strip("`").removeprefix(APART))
    table = _kept(table, where, notes)
    choices = [loss, *(choice for role in ROLES[1:] if (choice := _choice(role, table, stated)))]
    _spell_out(table, choices)
    columns = {choice.role.name: _values(table, choice) for choice in choices}
    doubts = {choice.role.name: doubt(choice.role.name, choice.expression, columns[choice.role.name])
              for choice in choices}  # fmt: skip
    if take.rises:
        columns["loss"] = _turned(loss, columns["loss"])
    for choice in [] if doubts.get("n") or doubts.get("d") else list(_derived(choices, table, stated)):
        choices.append(choice)
        columns[choice.role.name] = _values(table, choice)
    notes += [*_not_finite(columns["loss"], table), *_instead(choices), *_unfinished(table)]
    for choice in choices:
        _describe(choice, columns[choice.role.name], table["run"])
    known = {choice.role.name for choice in choices} | {name for name, text in stated.items() if text == NONE}
    told = _notes([*((run.name, note) for run in runs for note in run.notes), *notes])
    told += [*getattr(runs, "notes", ()), *filter(None, doubts.values()), *odd_losses(columns, table)]
    return Proposal(
        _arrange(table, columns, choices), choices, [role for role in ROLES if role.name not in known], told
    )


def _require_losses(runs: list[LoggedRun], loss: Choice) -> None:
    """Ask what a row is where most have no loss at all, and nobody has said what the loss is."""
    lacking = [run.name for run in runs if loss.expression not in run.facts and loss.expression not in run.curves]
    if not loss.stated and 2 * len(lacking) > len(runs) and not any(run.curves for run in runs):
        raise UsageError(
            f"'{loss.expression}' lacks in {len(lacking)} of {len(runs)} rows: is a row a step of a training "
            f"(--as curves), or is only a part of them a run? State the loss: --loss {loss.expression}"
        )


def _kept(table: pd.DataFrame, where: str | None, notes: list[tuple[str, str]]) -> pd.DataFrame:
    """The rows that satisfy a condition; who does not is noted."""
    if where is None:
        return table
    kept = condition(table, where)
    if not kept.any():
        raise UsageError(f"--where '{where}' keeps none of {len(table)} runs")
    notes += [(str(name), f"left out, outside `{where}`") for name in table["run"][~kept]]
    return table[kept].reset_index(drop=True)


def _unfinished(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Runs of which a tracker says that they did not end as planned."""
    return [
        (str(run), f"its {name.lower().removeprefix(APART)} is {text}")
        for name in (f"{APART}status", "status", "state", "Status", "State") if name in table
        for run, text in zip(table["run"], table[name], strict=True) if str(text).lower() in _UNFINISHED
    ]  # fmt: skip


def _instead(choices: list[Choice]) -> list[tuple[str, str]]:
    """Text in the place of numbers."""
    return [
        (name, f"'{text}' in the place of {choice.role.meaning}")
        for choice in choices for name, text in choice.texts.items()
    ]  # fmt: skip


def _notes(told: list[tuple[str, str]]) -> list[str]:
    """Each note once, after the names of its runs."""
    names: dict[str, list[str]] = {}
    for name, note in told:
        names.setdefault(note, []).append(name)
    return [f"{some(runs)}: {note}" for note, runs in names.items()]


def _choose_loss(runs: list[LoggedRun], stated: dict[str, str], rising: bool) -> Choice:
    role, table = ROLES[0], to_table(runs, Take(), None)[0]
    risers = [str(name) for name in table.columns if rises(str(name).removeprefix(APART))]
    if rising and "loss" not in stated and risers:
        return Choice(role, risers[0], stated=False, why="its name is that of a metric that rises", others=risers[1:])
    choice = _choice(role, table, stated)
    named = choice.expression.strip("`") if choice else None
    if not rising and (named in risers if choice else risers):
        which = named or risers[0]
        raise UsageError(f"'{which}' rises as models get better: --loss {shlex.quote(which)} --higher-is-better")
    if choice is None:
        known = textwrap.shorten(", ".join(map(str, table.columns)), 1000, placeholder=" ...")
        wide = "; where each column is a run, say --as wide" if any(len(run.curves) > 1 for run in runs) else ""
        raise UsageError(f"no column looks like {role.meaning}; name it by --{role.name}, there are {known}{wide}")
    return choice


def _turned(loss: Choice, values: "pd.Series[Any]") -> "pd.Series[Any]":
    """A metric that rises as one that falls: its distance from 1, or 100, where it is a share, else its negative."""
    known = values.dropna()
    whole = next((whole for whole in (1, 100) if known.between(0, whole).all()), None)
    loss.why += f"; the loss is {'' if whole is None else whole} - it, since it rises"
    return -values if whole is None else whole - values


def _choice(role: Role, table: pd.DataFrame, stated: dict[str, str]) -> Choice | None:
    text = stated.get(role.name)
    if text is not None:
        return None if text == NONE else Choice(role, text, stated=True, why="stated")
    found = candidates(role, table)
    if not found:
        return None
    return Choice(role, found[0].column, stated=False, why=found[0].why, others=[item.column for item in found[1:]])


def _spell_out(table: pd.DataFrame, choices: list[Choice]) -> None:
    """Text that is a number with its unit, as `1.2B`, as that number, so that expressions can use it."""
    for choice in choices:
        name = choice.expression.strip("`")
        if choice.role.numeric and name in table and not pd.api.types.is_numeric_dtype(table[name].dtype):
            numbers = as_counts(table[name])
            if not np.isnan(numbers[table[name].notna().to_numpy()]).any():
                table[name] = numbers


def _not_finite(loss: "pd.Series[Any]", table: pd.DataFrame) -> list[tuple[str, str]]:
    """Take infinite losses out, where a row says nothing but that the run diverged."""
    infinite = np.isinf(loss.to_numpy(float, na_value=np.nan))
    loss[infinite] = np.nan
    return [(str(name), "diverged: its loss is infinite; it has no loss") for name in table["run"][infinite]]


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
        labels = _labels(table, choice.expression)
        if not choice.stated:
            _require_apart(labels, choice.expression)
        return labels
    if choice.role.name == "seed":
        return evaluate(table, choice.expression)
    values = evaluate(table, choice.expression)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return pd.Series(Runs("the runs", table).numbers(choice.expression), index=table.index)
    numbers = as_counts(values)
    choice.texts = {
        str(name): textwrap.shorten(str(value), 60)
        for name, value, found in zip(table["run"], values, numbers, strict=True)
        if isinstance(value, str) and math.isnan(found) and value.lower() != "nan"
    }
    if 2 * len(choice.texts) > len(values):
        raise UsageError(f"'{choice.expression}' holds '{next(iter(choice.texts.values()))}', which is no number")
    return pd.Series(numbers, index=table.index)


def _labels(table: pd.DataFrame, text: str) -> "pd.Series[object]":
    """The text of one column, or of several named with commas between them."""
    names = [text] if text in table.columns else [part.strip() for part in text.split(",")]
    columns = [evaluate(table, name) for name in names]
    known = pd.concat([column.notna() for column in columns], axis=1).all(axis=1)
    joined = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return pd.Series(joined, index=table.index, dtype=object).where(known, None)


def _require_apart(labels: "pd.Series[object]", column: str) -> None:
    """Ask whether names that differ in case or blanks alone are one."""
    spelt: dict[str, str] = {}
    for label in map(str, labels.dropna().unique()):
        other = spelt.setdefault(" ".join(label.lower().split()), label)
        if other != label:
            raise UsageError(
                f"'{column}' holds '{other}' and '{label}', which differ in case or blanks alone; "
                f"are they one? --recipe 'lower({_operand(column, labels.to_frame(column))})', else --recipe {column}"
            )


def _describe(choice: Choice, values: "pd.Series[object]", names: "pd.Series[str]") -> None:
    known = values.dropna()
    choice.lacking = list(names[values.isna()])
    if choice.role.numeric and len(known) and pd.api.types.is_numeric_dtype(known.dtype):
        low, high = float(known.min()), float(known.max())
        middle = f", median {short(float(known.median()), 5)}" if known.nunique() > 2 else ""
        choice.range = f"{short(low, 5)}" if low == high else f"{short(low, 5)} to {short(high, 5)}{middle}"
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
