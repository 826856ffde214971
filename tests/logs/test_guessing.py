"""Guesses by name, and the table that comes of them."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossover.base.errors import UsageError
from crossover.logs import Take, parse_take, propose
from crossover.logs.guessing import candidates
from crossover.logs.logged import LoggedRun
from crossover.logs.names import ROLES

ROLE = {role.name: role for role in ROLES}


def best(role: str, *columns: str, value: Any = 2.0) -> list[str]:
    table = pd.DataFrame({column: [value, value * 2] for column in columns})
    return [item.column for item in candidates(ROLE[role], table)]


@pytest.mark.parametrize(
    ("role", "columns", "expected"),
    [
        ("loss", ["train/loss", "val/loss"], ["val/loss", "train/loss"]),
        ("loss", ["loss", "eval_loss", "train_loss"], ["eval_loss", "loss", "train_loss"]),
        ("loss", ["train/epoch_loss", "validation/epoch_loss"], ["validation/epoch_loss", "train/epoch_loss"]),
        ("loss", ["train_loss_step", "val_loss_epoch"], ["val_loss_epoch", "train_loss_step"]),
        ("loss", ["router/z_loss", "aux_loss", "c4_en_loss"], ["c4_en_loss"]),
        ("loss", ["lossless", "gloss", "accuracy"], []),
        ("n", ["n", "model.n_params", "params"], ["model.n_params", "params", "n"]),
        ("n", ["min", "nan_count"], []),
        ("d", ["tokens_per_second", "num_input_tokens_seen"], ["num_input_tokens_seen"]),
        ("flops", ["flops_per_second", "train/flops", "total_flos"], ["total_flos", "train/flops"]),
        ("lr", ["min_lr", "optimizer.lr", "learning_rate", "learning_rate_max"], ["optimizer.lr", "learning_rate_max"]),
        ("batch", ["eval_batch_size", "args.per_device_train_batch_size"], ["args.per_device_train_batch_size"]),
        ("seed", ["args.seed", "seeded"], ["args.seed"]),
    ],
)
def test_likely_names_in_their_order(role: str, columns: list[str], expected: list[str]) -> None:
    assert best(role, *columns) == expected


def test_values_must_fit_the_name() -> None:
    assert best("n", "n_params", value=-1.0) == []
    assert best("lr", "lr", value="cosine") == []
    assert best("recipe", "optimizer", value="adamw") == ["optimizer"]
    assert best("recipe", "optimizer", value=0.5) == []
    varies = pd.DataFrame({"optimizer": ["adamw", "adamw"], "method": ["a", "b"]})
    assert [item.column for item in candidates(ROLE["recipe"], varies)] == ["method", "optimizer"]


def run(name: str, losses: dict[float, float], **facts: Any) -> LoggedRun:
    logged = LoggedRun(name, Path(name), facts)
    for step, loss in losses.items():
        logged.log(step, {"val/loss": loss, "learning_rate": 0.1 / (step or 1), "tokens": 8e6 * step})
    return logged


CURVE = {1.0: 4.0, 2.0: 2.0, 3.0: 3.0, 4.0: 2.5}


@pytest.mark.parametrize(
    ("at", "loss", "tokens", "step"),
    [("last", 2.5, 3.2e7, 4), ("min", 2.0, 1.6e7, 2), ("mean:2", 2.75, 3.2e7, 4), ("mean of last 4", 2.875, 3.2e7, 4)],
)
def test_the_point_of_the_curve(at: str, loss: float, tokens: float, step: float) -> None:
    (row,) = propose([run("a", CURVE)], {}, parse_take(at)).table.to_dict("records")
    assert (row["loss"], row["d"], row["step"], row["lr"]) == (loss, tokens, step, 0.1)


def test_too_few_points_and_no_curve_are_told() -> None:
    runs = [run("a", CURVE), LoggedRun("b", Path("b"), {"val/loss": 3.0})]
    proposal = propose(runs, {"loss": "val/loss"}, Take("mean", 9))
    assert proposal.notes == [
        "a: only 4 points of the 9 to be averaged", "b: no curve of 'val/loss', so --take mean:9 does not apply",
    ]  # fmt: skip
    assert list(proposal.table["loss"]) == [2.875, 3.0]


def test_a_diverged_run_has_no_loss_and_is_named() -> None:
    runs = [run("good", CURVE), run("bad", CURVE | {5.0: math.nan})]
    last, least = propose(runs, {}, Take()), propose(runs, {}, Take("min"))
    assert last.choices[0].lacking == ["bad"]
    assert least.choices[0].lacking == ["bad"]  # its least loss is one from before


@pytest.mark.parametrize("text", ["first", "mean", "mean:0", "mean of 3", "min:2", ""])
def test_other_points_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is none of last, min and mean:10"):
        parse_take(text)


def test_a_point_needs_a_curve() -> None:
    with pytest.raises(UsageError, match="--take min needs a curve"):
        propose([LoggedRun("a", Path("a"), {"loss": 1.0})], {}, Take("min"))


def test_flops_follow_from_parameters_and_tokens() -> None:
    proposal = propose([run("a", CURVE, **{"model.size n": 7e6})], {"n": "`model.size n` * 2"}, Take())
    assert proposal.table["flops"].tolist() == [6 * 14e6 * 32e6]
    (flops,) = [choice for choice in proposal.guesses if choice.role.name == "flops"]
    assert flops.expression == "6 * (`model.size n` * 2) * tokens"
    assert "6 N D" in flops.why


def test_expressions_lists_of_columns_and_none() -> None:
    runs = [run("a", CURVE, opt="adamw", schedule="cosine", seed=1), run("b", CURVE, opt="lion", seed=2)]
    stated = {"d": "step * 2e6", "recipe": "opt,schedule", "seed": "none", "lr": "none"}
    proposal = propose(runs, stated, Take())
    assert proposal.table["d"].tolist() == [8e6, 8e6]
    assert proposal.table["recipe"].tolist()[0] == "adamw,cosine"
    recipe = next(choice for choice in proposal.choices if choice.role.name == "recipe")
    assert recipe.lacking == ["b"]
    assert not {"seed", "lr"} & (
        {choice.role.name for choice in proposal.choices} | {role.name for role in proposal.unknown}
    )
    assert [choice.role.name for choice in proposal.guesses] == ["loss"]


def test_names_that_meet_are_kept_apart() -> None:
    both = run("a", CURVE, learning_rate=0.5, loss=9.0)
    (row,) = propose([both], {"loss": "val/loss"}, Take()).table.to_dict("records")
    assert (row["loss"], row["val/loss"], row["logged/loss"]) == (2.5, 2.5, 9.0)
    assert (row["lr"], row["learning_rate"], row["logged/learning_rate_max"]) == (0.5, 0.5, 0.1)


def test_without_a_loss_the_columns_are_named() -> None:
    with pytest.raises(UsageError, match="name it by --loss, there are run, width"):
        propose([LoggedRun("a", Path("a"), {"width": 1.0})], {}, Take())
    with pytest.raises(UsageError, match="no column is called 'los'"):
        propose([LoggedRun("a", Path("a"), {"loss": 1.0})], {"loss": "los"}, Take())


def test_a_metric_that_rises_is_asked_for_and_turned() -> None:
    runs = [LoggedRun(name, Path(name)) for name in "abc"]
    for number, logged in enumerate(runs):
        for step, accuracy in enumerate((0.2, 0.5, 0.4)):
            logged.log(step, {"eval/accuracy": accuracy + number / 10})
    for stated in ({}, {"loss": "eval/accuracy"}):
        with pytest.raises(UsageError, match=r"'eval/accuracy' rises .* --loss eval/accuracy --higher-is-better"):
            propose(runs, stated, Take())
    for take, losses in ((Take(rises=True), [0.6, 0.5, 0.4]), (Take("min", rises=True), [0.5, 0.4, 0.3])):
        proposal = propose(runs, {}, take)
        assert proposal.table["loss"].tolist() == pytest.approx(losses)
        assert proposal.choices[0].expression == "eval/accuracy"
        assert "the loss is 1 - it" in proposal.choices[0].why
    percent = [LoggedRun(str(value), Path("x"), {"accuracy": value, "rouge1": -value}) for value in (31.0, 72.0)]
    assert propose(percent, {}, Take(rises=True)).table["loss"].tolist() == [69.0, 28.0]
    assert propose(percent, {"loss": "rouge1"}, Take(rises=True)).table["loss"].tolist() == [31.0, 72.0]


def test_losses_that_no_training_has_are_said() -> None:
    rows = [
        LoggedRun(str(n), Path("x"), {"n": n, "loss": loss, "model.vocab_size": 1000})
        for n, loss in ((1e6, 3.0), (2e6, 4.0), (4e6, 6.9), (8e6, 7.0))
    ]
    notes = propose(rows, {}, Take()).notes
    assert notes[-2].startswith("8000000.0: a loss above ln(model.vocab_size)")
    assert "the loss grows with parameters, from 3 to 7; " in notes[-1]
    assert propose(rows[:2], {}, Take()).notes == []


def test_names_that_differ_in_case_or_blanks_alone_are_asked_for() -> None:
    spelt = ["muon", "MUON ", "adam w", "Adam  W"]
    rows = [LoggedRun(str(i), Path("x"), {"loss": 3.0 - i, "optimizer": name}) for i, name in enumerate(spelt)]
    with pytest.raises(UsageError, match=r"'muon' and 'MUON ', .* --recipe 'lower\(optimizer\)'"):
        propose(rows, {}, Take())
    assert propose(rows, {"recipe": "optimizer"}, Take()).table["recipe"].tolist() == spelt
    merged = propose(rows, {"recipe": "lower(optimizer)"}, Take()).table["recipe"].tolist()
    assert merged == ["muon", "muon", "adam w", "adam w"]


def test_a_run_that_its_tracker_calls_finished_has_diverged() -> None:
    ended = run("a", {1.0: 4.0, 2.0: float("nan")}, status="FINISHED")
    crashed = run("b", {1.0: 4.0, 2.0: float("nan")}, status="crashed")
    proposal = propose([ended, crashed], {}, Take())
    assert proposal.table["status"].tolist() == ["diverged"] * 2
    assert proposal.table["logged/status"].tolist() == ["FINISHED", "crashed"]
    assert any(note == "b: its status is crashed" for note in proposal.notes)
