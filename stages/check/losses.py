"""The gate on a study's losses, before anything is fitted to them."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pandas as pd

from stages.cells.plan import Plan
from stages.check.gate import Finding, Rule, run_gate
from stages.study.devices import is_gpu

_ABOVE_UNIFORM = 2.0  # a trained model may be worse than the uniform guess, ln V, by so much at most (nats)
_PAIR = ("width", "axes", "seed")
_UNDER_CURVE = 0.5  # nats by which the final model may be better than its last steps on average; dropout makes some
_EVALUATED = ("loss_validation", "loss_seen", "loss_fresh")
_OVERFITTED = 100.0  # but one that passed over little text many times may be sure of what is wrong


def loss_table(
    losses: pd.DataFrame, runs: pd.DataFrame, curves: pd.DataFrame, plan: Plan, altered: Collection[int] = ()
) -> pd.DataFrame:
    """Losses with a readable name per row, what the plan expects, the device class of its pair, what its curve says.

    `altered` are numbers of rows that are not what the sealed evaluations of their cells say.
    """
    table = losses.copy()
    table["cell"] = [
        f"{row.recipe} width {row.width} {row.axes} seed {row.seed} ({str(row.fingerprint)[:12]})"
        for row in table.itertuples()
    ]
    planned = {row.fingerprint for row in plan.rows}
    table["planned"] = [fingerprint in planned for fingerprint in table["fingerprint"]]
    done = table["status"] == "done"
    repeated = table["tokens"] > table["unique_tokens"]
    table["loss_if_done"] = table["loss_validation"].where(done & ~repeated, 1.0)
    table["loss_if_repeated"] = table["loss_validation"].where(done & repeated, 1.0)
    table["seen_if_done"] = table["loss_seen"].where(done, 1.0)
    table["error_if_done"] = table["loss_validation_se"].where(done, 0.0)
    table["null_if_diverged"] = done | table["loss_validation"].isna()
    table["failed"] = table["status"] == "failed"
    device = runs["device"] + " / torch " + runs["torch"]
    whole = (device + " / numpy " + runs["numpy"]).where(runs["host"] != "")  # unknown of cells that came by `dvc pull`
    table["builds_in_pair"] = _in_pair(table, dict(zip(runs["fingerprint"], whole, strict=True)))
    gpus = set(runs["fingerprint"][runs["device"].map(is_gpu).astype(bool)])
    on_gpu = table["fingerprint"].isin(gpus).groupby([table[name] for name in _PAIR]).transform("any")
    classes = _in_pair(table, dict(zip(runs["fingerprint"], device, strict=True)))
    table["gpu_builds_in_pair"] = classes.where(on_gpu, 1)
    table["altered"] = table.index.isin(list(altered))
    return table.assign(**_by_curve(table, curves), same_as_other_seed=_same_as_other_seed(table))


def _by_curve(table: pd.DataFrame, curves: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """What a trained cell's curve says beside its row; of the others, that all is well."""
    cells = dict(iter(curves.groupby("fingerprint", sort=False)))
    found = pd.DataFrame([_curve_facts(row, cells.get(row.fingerprint)) for row in table.itertuples()], table.index)
    done = table["status"] == "done"
    under = found["tail"] - table[list(_EVALUATED)].min(axis="columns", skipna=False)
    return {
        "under_its_curve": under.where(done, 0.0),
        "tokens_in_curve": found["tokens"].where(done, table["tokens"]),
        "rate_of_planned": found["rate"].where(done, 1.0).fillna(1.0),  # a program need not say it
    }


def _curve_facts(row: Any, curve: pd.DataFrame | None) -> dict[str, float]:
    """Mean loss of the last tenth, tokens trained on, peak rate over the planned one (0 where one is negative)."""
    if curve is None:
        return {"tail": math.nan, "tokens": math.nan, "rate": math.nan}
    rates = curve["lr"].to_numpy()
    return {
        "tail": float(curve["loss"].to_numpy()[-max(1, len(curve) // 10) :].mean()),
        "tokens": float(curve["tokens"].iloc[-1] + row.batch * row.seq_len),
        "rate": 0.0 if (rates < 0).any() else float(rates.max() / row.lr),
    }


def _same_as_other_seed(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether another seed of the recipe came to the same loss, to the last digit: a program may ignore its seed."""
    done = table[table["status"] == "done"]
    seeds = done.groupby(["recipe", "width", "axes", "loss_validation"])["seed"]
    return seeds.transform("nunique").gt(1).reindex(table.index, fill_value=False)


def _in_pair(table: pd.DataFrame, builds: dict[str, str]) -> "pd.Series[int]":
    """On how many builds the cells of each row's pair were trained, as far as it is known."""
    build = table["fingerprint"].map(builds)
    pairs = build[~table["failed"]].groupby([table[name] for name in _PAIR])
    return pairs.transform("nunique").reindex(table.index, fill_value=1)


def check_losses(table: pd.DataFrame, plan: Plan) -> list[Finding]:
    """Rules on the output of `loss_table`."""
    most = math.log(plan.rows[0].cell.vocab_size) + _ABOVE_UNIFORM
    return run_gate(table, "cell", [*_rows_planned(len(plan.rows)), *_values(most), *_trainings(), *_builds()])


def _rows_planned(count: int) -> list[Rule]:
    """A row per planned cell, of which something is known."""
    import great_expectations.expectations as gxe

    key, states = ["recipe", "width", "axes", "seed"], ["done", "diverged", "failed"]
    return [
        Rule(f"there is a row per planned cell ({count})", gxe.ExpectTableRowCountToEqual(value=count)),
        Rule("no cell is there twice", gxe.ExpectCompoundColumnsToBeUnique(column_list=key)),
        _is("a row's cell is planned", "planned", True),
        Rule("status is done, diverged or failed", gxe.ExpectColumnValuesToBeInSet(column="status", value_set=states)),
        Rule("status is not null", gxe.ExpectColumnValuesToNotBeNull(column="status")),
        _is("a cell that is not done has no loss", "null_if_diverged", True),
        replace(_is("no cell failed", "failed", False), stops=False),
        _is("a row is what its cell's sealed evaluation says, where that is at hand", "altered", False),
    ]


def _values(most: float) -> list[Rule]:
    """Numbers that a training can have left."""
    return [
        *_bounded("held-out loss of a done cell", "loss_if_done", 0.0, most),
        *_bounded("held-out loss of a done cell that saw text again", "loss_if_repeated", 0.0, _OVERFITTED),
        *_bounded("loss on seen windows of a done cell", "seen_if_done", 0.0, most),
        *_bounded("standard error of a done cell", "error_if_done", 0.0, 1.0),
        *_bounded("compute", "flops_6n", 1.0, 1e40),
    ]


def _trainings() -> list[Rule]:
    """That the planned cells were trained, each by its own seed: a program may do something else and say it did not."""
    import great_expectations.expectations as gxe

    return [
        *_bounded("how far losses of a done cell lie under its curve's end", "under_its_curve", -1e3, _UNDER_CURVE),
        *_bounded("a done cell's highest rate over the planned one", "rate_of_planned", 0.99, 1.01),
        Rule("a done cell has a curve", gxe.ExpectColumnValuesToNotBeNull(column="tokens_in_curve")),
        Rule(
            "a done cell was trained on the tokens that were planned",
            gxe.ExpectColumnPairValuesToBeEqual(column_A="tokens", column_B="tokens_in_curve"),
        ),
        Rule(
            "unique tokens do not exceed tokens",
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="tokens", column_B="unique_tokens", or_equal=True),
        ),
        _is("no two seeds of a recipe come to the same loss", "same_as_other_seed", False),
    ]


def _builds() -> list[Rule]:
    """On what the cells of a pair were trained."""
    import great_expectations.expectations as gxe

    return [
        Rule(
            "the cells of a pair of which one was trained on a GPU share one device class and build",
            gxe.ExpectColumnValuesToBeBetween(column="gpu_builds_in_pair", min_value=1, max_value=1),
        ),
        Rule(
            "the cells of a pair were trained on one device class and build",
            gxe.ExpectColumnValuesToBeBetween(column="builds_in_pair", min_value=1, max_value=1),
            stops=False,
        ),
    ]


def _is(says: str, column: str, value: bool) -> Rule:
    import great_expectations.expectations as gxe

    return Rule(says, gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[value]))


def _bounded(what: str, column: str, low: float, high: float) -> list[Rule]:
    import great_expectations.expectations as gxe

    return [
        Rule(f"{what} is not null", gxe.ExpectColumnValuesToNotBeNull(column=column)),
        Rule(
            f"{what} lies in [{low:g}, {high:.4g}]",
            gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high),
        ),
    ]
