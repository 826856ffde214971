"""Tables of the page: pairs, best rates, laws, cells over their seeds, and what everything was made from and costs."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from crossover.base.numerals import chance, short
from crossover.laws.words import span
from crossover.plots.blocks import Table, table
from stages.report.results import StudyResults
from stages.study.costs import count_flops, seconds
from stages.study.plan import plan_rows

RUNGS = 3
"""Sizes through which a law says something."""


def study_tables(results: StudyResults) -> list[Table]:
    """Those that have rows."""
    made = (pairs_table(results), rates_table(results), laws_table(results), cells_table(results))
    return [item for item in made if item.rows]


def pairs_table(results: StudyResults) -> Table:
    """A line per pair: the difference at every width, whether the two cross, and the choice beyond the runs."""
    pairs = results.fit["comparisons"]
    names = list(dict.fromkeys(rung["name"] for pair in pairs for rung in pair["rungs"]))
    ahead = ("verdict", "crossover (FLOP)", "at 10 times the compute")
    out = table("Differences [90%], nats", "pair", *(f"width {name}" for name in names), *ahead)
    for pair in pairs:
        by = {rung["name"]: rung for rung in pair["rungs"]}
        cells = [_rung(by.get(name)) for name in names]
        out.add(f"{results.label(pair['b'])} − {results.label(pair['a'])}", *cells, _verdict(pair), _place(pair),
                _choice(results, pair))  # fmt: skip
    return out


def _rung(rung: dict[str, Any] | None) -> str:
    if rung is None:
        return "–"
    if rung["structural"]:
        return "one run"
    ci = rung["difference"]["ci"]
    return f"{rung['difference']['value']:+.3f}" + ("" if ci is None else f" [{ci[0]:+.3f}, {ci[1]:+.3f}]")


def _verdict(pair: dict[str, Any]) -> str:
    """With what changes it, where something does."""
    changed = [item["change"] for item in pair["sensitivity"] if item["verdict"] != pair["verdict"]]
    return str(pair["verdict"]) + (f" (other: {'; '.join(changed)})" if changed else "")


def _place(pair: dict[str, Any]) -> str:
    found = pair["crossover"]
    if not found:
        return "–"
    far = f", {found['lever_arm_decades']:.1f} decades outside" if found["lever_arm_decades"] else ""
    return f"{short(found['value'])} {span(found['ci'], 2)}{far}"


def _choice(results: StudyResults, pair: dict[str, Any]) -> str:
    if not pair["gap"]:
        return "–"
    decision = pair["gap"]["decision"]
    return f"{results.label(decision['choose'])}, P {chance(decision['p'])}"


def rates_table(results: StudyResults) -> Table:
    """The best learning rate of every recipe and width, and how sharp that is."""
    out = table("Best learning rates", "recipe", "width", "best rate", "loss there", "rates within 0.25% of it")
    for recipe, found in results.fit["optima"].items():
        for cell in found["cells"]:
            inside = cell["optimum"] is not None
            best = (f"{cell['optimum']:.4f}", f"{cell['loss_at_optimum']:.3f}") if inside else ("at the edge", "–")
            low, high = cell["broad"]
            broad = "no other" if low == high else f"{low:.4f} to {high:.4f}"
            out.add(results.label(recipe), f"{cell['at']['width']:g}", *best, broad if inside else "–")
    return out


def laws_table(results: StudyResults) -> Table:
    """Loss against compute of recipes with three widths or more, and how the next width was told from those below."""
    out = table("Laws of compute", "recipe", "exponent [90%]", "residual (nats)", "next width, told from those below")
    for recipe, laws in results.fit["laws"].items():
        if not laws or len(results.fit["means"][recipe]) < RUNGS:
            continue
        law = laws[0]
        power = f"{law['params']['a']['value']:.3f} {span(law['params']['a']['ci'], 3)}"
        told = law["rollout"]
        error = "–" if not told else f"{told['mean_absolute_relative_error']:.2%} off in {len(told['rows'])}"
        out.add(results.label(recipe), power, f"{law['rms_residual']:.4f}", error)
    return out


def cells_table(results: StudyResults) -> Table:
    """Held-out loss over seeds: mean, standard deviation, standard error and number, by setting and width."""
    losses = results.losses
    widths = sorted(set(losses["width"].tolist()))
    out = table("Held-out loss over seeds: mean, SD, SE, n", "recipe", *(f"width {width}" for width in widths))
    for (recipe, axes), group in losses.groupby(["recipe", "axes"], sort=False):
        states = [_state(group[group["width"] == width]) for width in widths]
        varied = ", ".join(f"{name} {value:g}" for name, value in json.loads(str(axes)).items())
        out.add(", ".join(filter(None, (results.label(str(recipe)), varied))), *states)
    return out


def _state(cells: pd.DataFrame) -> str:
    if cells.empty:
        return "–"
    for kind in ("failed", "diverged"):
        if count := int((cells["status"] == kind).sum()):
            return f"✗ {count} of {len(cells)} {kind}"
    values = cells["loss_validation"]
    if len(values) == 1:
        return f"{values.iloc[0]:.3f}, 1"
    sd = float(values.std())
    return f"{values.mean():.3f}, {sd:.3f}, {sd / len(values) ** 0.5:.3f}, {len(values)}"


def made_from(studies: Sequence[StudyResults]) -> Table:
    """A line per study: cells, what they were predicted to cost, whether the gate passed, and digests."""
    out = table("What each study was made from", "study", "cells", "EFLOP", "predicted seconds", "gate on losses",
                "tokens per cell", "tokenizer", "evaluation")  # fmt: skip
    for results in studies:
        losses = results.losses
        flops, planned = cost(results)
        passed = sum(rule["passed"] for rule in results.gate["rules"])
        gate = f"{'passed' if results.gate['passed'] else '✗ failed'}, {passed} of {len(results.gate['rules'])}"
        few, many = int(losses["tokens"].min()), int(losses["tokens"].max())
        tokens = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        digests = (losses[f"{name}_digest"].iloc[0][:12] for name in ("tokenizer", "evaluation"))
        cells = losses["fingerprint"].nunique()
        out.add(results.key, str(cells), short(flops / 1e18), f"{planned:.0f}", gate, tokens, *digests)
    return out


def cost(results: StudyResults) -> tuple[float, float]:
    """FLOPs of a study's cells and seconds of the whole machine that they were predicted to take."""
    seeds = len(results.study.seed_numbers(results.scale))  # which all cost the same
    cells = list(dict.fromkeys(row.cell for row in plan_rows(results.study.one_seed(), results.scale)))
    flops = sum(count_flops(cell).total for cell in cells)
    return seeds * flops, seeds * sum(seconds(cell, results.scale) for cell in cells)


def failures(results: StudyResults) -> Iterator[str]:
    """Rules of the gate that did not pass, with the cells they name."""
    for rule in results.gate["rules"]:
        if not rule["passed"]:
            yield f"{rule['rule']}: {', '.join(rule['offenders'])}" if rule["offenders"] else rule["rule"]


def notes(results: StudyResults) -> list[str]:
    """What comparisons of the study are flagged with, each once; where both are one run the figure shows."""
    flags = (flag for pair in results.fit["comparisons"] for flag in pair["flags"])
    return [flag for flag in dict.fromkeys(flags) if not flag.startswith("the recipes are the same run")]
