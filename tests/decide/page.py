"""The page of `make decide`: scores by set in words and tables."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

Scores = Mapping[str, Mapping[str, tuple[float, float, float]]]

INTRODUCTION = """# Deciding on real ladders

`make decide DATA=folder`: {rows:,} questions, {seconds:.0f} s. Each takes a pair of recipes of a published ladder,
shows the runs at a half, a quarter, an eighth or a sixteenth of the largest size that both have, and asks which wins
there. *Single* is the order at the largest size shown, *trend* that with a quarter of the local slope carried on.
Intervals are 90%, by resampling recipes (ladders where recipes are few); the mean counts every set alike.

What is said of datadecide, gemstones, lcdb, scaling_with_vocab, steplaw and vision is said with constants learned
from the other five (`python -m tests.decide.learn`, tests/decide/learned.json); of another set with those of all six,
which are the ones that are shipped. Chosen with all six in sight, and so in-sample still: the form of the model, the
unit b, the memories of a trend, how long ladders are merged, how large a difference can be far out, and the pull on the
constants (tests/decide/learn.py says
which).

* **right**: share of right choices. *d* is ours less single's. **caught**: orders that turned after the last rung shown
  and were called right; **lost**: orders that stayed and were called wrong; **inherited**: orders that turned and were
  not called.
* **log score** of P(B wins); single's P is its share right on the other sets at that range. **Brier**: ours.
* **50, 90**: coverage of our intervals of the difference that was observed. **sure**: share of rows with P beyond .95,
  and how many of them were right. **regret**: loss given away by the choice, over the mean difference.
"""


MANY = """## Of many recipes, one

Tables of three recipes or more, each with each. Regret of the choice, in the unit of the loss and in brackets over the
mean difference of two recipes: by the last rung; by the rule that is shipped (`crossover.answers.best`), the last
rung's unless another one is better at the target with P above .9; by the highest P(best), which is not. Then how often
the best one, as observed, is among those that are not excluded, with a 90% interval by resampling ladders, and what
share of the recipes these are. The rule was chosen with these tables in sight.

"""


def page(
    found: Mapping[str, Scores], beside: Mapping[str, Scores], arms: pd.DataFrame, rows: int, seconds: float,
    earlier: tuple[Scores, ...] | None,
) -> str:  # fmt: skip
    """Markdown: scores by range, and `beside` them those of others by what they are called."""
    parts = [INTRODUCTION.format(rows=rows, seconds=seconds)]
    parts += [f"## {'All ranges' if name == 'all' else f'Runs at {name} of the target'}\n\n{_table(scores)}\n"
              for name, scores in found.items()]  # fmt: skip
    parts += [f"## {name}\n\n{_table(scores)}\n" for name, scores in beside.items()]
    if len(arms):
        parts.append(MANY + f"{_arms(arms)}\n")
    if earlier:
        old, new = earlier
        parts.append("## Beside the code of 2026-11-25\n\nThe same fixed sample of rows.\n\n"
                     f"As it was:\n\n{_table(old)}\n\nNow:\n\n{_table(new)}\n")  # fmt: skip
    return "\n".join(parts)


def _table(scores: Scores) -> str:
    head = ("set", "rows", "single", "trend", "ours", "d", "caught / lost / inherited", "log score (single)", "Brier",
            "50", "90", "sure", "right", "regret: single / trend / ours")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, item in scores.items():
        value = {key: triple[0] for key, triple in item.items()}
        cells = (
            name, f"{value['rows']:.0f}", *(f"{value[key]:.3f}" for key in ("single", "trend", "ours")),
            f"{value['d']:+.3f} {_span(item['d'], '+.3f')}",
            f"{value['caught']:.3f} / {value['newly_lost']:.3f} / {value['inherited']:.3f}",
            f"{value['log']:.3f} ({value['single_log']:.3f})", f"{value['brier']:.3f}", f"{value['c50']:.2f}",
            f"{value['c90']:.2f} {_span(item['c90'], '.2f')}", f"{value['said']:.2f}",
            f"{value['sure_right']:.3f} {_span(item['sure_right'], '.3f')}",
            f"{value['regret_single']:.3f} / {value['regret_trend']:.3f} / {value['regret']:.3f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join('–' if 'nan' in cell and cell != name else cell for cell in cells)} |")
    return "\n".join(lines)


def _span(triple: tuple[float, float, float], form: str) -> str:
    return "" if math.isnan(triple[1]) else f"[{triple[1]:{form}}, {triple[2]:{form}}]"


def _arms(arms: pd.DataFrame) -> str:
    heads = ("set", "tables", "last rung", "ours", "highest P(best)", "best not excluded", "not excluded")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, group in arms.groupby("set", sort=False):
        mean = group.mean(numeric_only=True)
        regrets = [f"{mean[rule]:.4f} ({mean[rule + '_share']:.3f})" for rule in ("single", "ours", "likeliest")]
        held = f"{mean['held']:.3f} {_by_ladder(group)}"
        lines.append(f"| {name} | {len(group)} | {' | '.join(regrets)} | {held} | {mean['contenders']:.2f} |")
    return "\n".join(lines)


def _by_ladder(group: pd.DataFrame) -> str:
    """90% interval of a mean over rows."""
    each = group.groupby("ladder")["held"].agg(["sum", "count"]).to_numpy(float)
    if len(each) < 2:
        return ""
    drawn = np.random.default_rng(0).integers(len(each), size=(2000, len(each)))
    sums = each[drawn].sum(1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [5, 95])
    return f"[{low:.2f}, {high:.2f}]"
