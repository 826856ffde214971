"""From entries to the page: what is asked is what a reader would type, and outcomes come from the rows held back."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import crossover as xo
from crossover.base.numerals import short
from crossover.plots.blocks import Heading, Lead
from tests.conftest import REPOSITORY
from tests.gallery.entries import ENTRIES, PEOPLE, Entry

DOCS = REPOSITORY / "docs"
_SURE = 0.95
_WIDE = 76
RIGHT, WRONG, OPEN = "right", "**wrong**", "abstained"


@dataclass(frozen=True)
class Made:
    """An entry with its answer."""

    entry: Entry
    said: list[str]
    came: str
    outcome: str
    answer: Any


def command(entry: Entry, folder: str = "docs/examples") -> str:
    """As a reader types it, in a checkout; lines of at most 90 columns."""
    words = ["crossover", entry.command, f"{folder}/{entry.file}.csv", *entry.words, "--plot", "answer.svg"]
    lines = [""]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + len(word) > _WIDE and word.startswith("--"):
            lines.append("  ")
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return " \\\n".join(lines)


def ask(entry: Entry) -> Any:
    """The same question in Python."""
    options = dict(zip((word.removeprefix("--") for word in entry.words[::2]), entry.words[1::2], strict=True))
    path = DOCS / f"examples/{entry.file}.csv"
    if entry.command == "fit":
        return xo.fit(path, **options)
    only = options.pop("only", None)
    return xo.compare(path, only=None if only is None else [tuple(only.split(","))], **options)


def make(entry: Entry) -> Made:
    """Ask it, and look up what happened."""
    answer = ask(entry)
    said = [str(block.text if isinstance(block, Heading) else block) for block in answer.said()
            if isinstance(block, (Heading, Lead))]  # fmt: skip
    if entry.command == "fit":
        return Made(entry, _held_lines(answer), *_held(answer), answer)
    came, outcome = _best(entry, answer) if answer.best else _pair(entry, answer)
    last = next((place for place, line in enumerate(said) if line.startswith("Next: ")), 2)
    return Made(entry, said[: last + 1], came, outcome, answer)


def _truth(entry: Entry) -> "pd.Series[float]":
    """Mean loss of every recipe where rows were held back."""
    table = pd.read_csv(DOCS / f"examples/{entry.file}.csv")
    if "model_size" in entry.words[-3]:
        table = table[table["model_size"] == "300m"]
    by = "recipe" if "recipe" in table else "optimizer"
    return table[(table[entry.x] / entry.target - 1).abs() < 0.01].groupby(by)[entry.loss].mean()


def _pair(entry: Entry, answer: Any) -> tuple[str, str]:
    (pair,) = answer.pairs
    truth = _truth(entry)
    gap = pair.gap
    ahead, behind = sorted((pair.a, pair.b), key=lambda name: float(truth[name]))
    by = float(truth[behind] - truth[ahead])
    low, high = gap.difference.ci
    inside = low <= float(truth[pair.b] - truth[pair.a]) <= high
    came = f"{ahead} came out ahead by {short(by)}, {'inside' if inside else 'outside'} the 90% interval"
    if gap.decision.p < _SURE:
        looked = "the one that looked better" if gap.decision.choose == ahead else "not the one that looked better"
        return f"{came}; {looked}", OPEN
    return came, RIGHT if gap.decision.choose == ahead else WRONG


def _best(entry: Entry, answer: Any) -> tuple[str, str]:
    truth, best = _truth(entry).sort_values(), answer.best
    first, place = str(truth.index[0]), list(truth.index).index(best.choose) + 1
    held = "was" if first in best.contenders else "was not"
    away = short(float(truth[best.choose] - truth.iloc[0]), 2)
    likely = next(arm.p_best for arm in best.arms if arm.recipe == best.choose)
    several = f"the {len(best.contenders)} that could not be excluded"
    came = f"{first} was the best, which {held} among {several}; {best.choose} came out as number {place} of "
    came += f"{len(truth)}, {away} behind"
    if likely < _SURE:
        return came, OPEN
    return came, RIGHT if place == 1 else WRONG


def _held_lines(answer: Any) -> list[str]:
    """What is printed of the rows held back."""
    lines = [line.rstrip() for line in str(answer).splitlines()]
    last = max(i for i, line in enumerate(lines) if "held out: " in line)
    first = max(i for i, line in enumerate(lines[:last]) if line.endswith("held out"))
    return [line for line in lines[first : last + 1] if line.strip(" ─")]


def _held(answer: Any) -> tuple[str, str]:
    rows = (answer.metric.heldout if answer.metric else answer.heldout).rows
    inside = [row.run_ci[0] <= row.measured <= row.run_ci[1] for row in rows]
    told = ", ".join(f"{row.measured:.4g} ({row.relative_error:+.2%})" for row in rows)
    words = f"it came to {told}; {sum(inside)} of {len(rows)} inside their intervals"
    return words, RIGHT if all(inside) else WRONG


def page(made: Sequence[Made]) -> str:
    """The gallery as Markdown."""
    lines = [
        "# Gallery", "",
        "Published tables, asked at a size that was held back, and what really happened there. Commands, figures,",
        "answers and outcomes are made by `python -m tests.gallery`, and a test makes them again. An answer with P",
        "below .95 counts as an abstention. Pairs were chosen for their questions, none was dropped for its answer;",
        "how often answers are right is counted over 112,010 questions in [decide.md](decide.md).", "",
        "| question | outcome |", "|---|---|",
        *(f"| [{item.entry.question}](#{item.entry.name}) | {item.outcome} |" for item in made), "",
    ]  # fmt: skip
    for item in made:
        lines += [
            f'## {item.entry.question} <a id="{item.entry.name}"></a>', "",
            f"From {PEOPLE[item.entry.whose]}. {item.entry.about}", "",
            "```sh", command(item.entry), "```", "",
            "```", *item.said, "```", "",
            f"![The answer as a figure](gallery/{item.entry.name}.svg)", "",
            f"**What happened** ({item.outcome.strip('*')}): {item.came}.", "",
        ]  # fmt: skip
    return "\n".join([*lines, ELSEWHERE])


ELSEWHERE = """## Tables that cannot be kept here

Two tables have no licence; `crossover` answers for them where you have fetched them.

* **Chinchilla**: the points that [Besiroglu et al.](https://arxiv.org/abs/2404.10102) read off the figure, in the
  authors' repository (`epoch-research/analyzing-chinchilla`). `crossover fit points.csv --n N --d D
  --objective huber_log` has their constants to every digit printed, and `crossover allocate` the best size of a budget
  ([allocate.md](allocate.md)).
* **Step Law**: 1,911 runs over learning rate and batch ([2503.04715](https://arxiv.org/abs/2503.04715), repository
  `step-law/steplaw`). `crossover optimum` with `--loss` its smooth loss finds LR ~ N^-.752 where they state -.713
  ([fits.md](fits.md)).
"""


def main() -> None:
    """Write the page and its figures."""
    made = [make(entry) for entry in ENTRIES]
    (DOCS / "gallery").mkdir(exist_ok=True)
    for item in made:
        (DOCS / f"gallery/{item.entry.name}.svg").write_text(item.answer.plot().svg())
        print(f"{item.entry.name}: {item.outcome.strip('*')}; {item.came}")
    Path(DOCS / "gallery.md").write_text(page(made))
