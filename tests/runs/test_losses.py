"""What is no loss, and the names of runs that have none."""

import pytest

import crossover
from crossover.base.errors import UsageError
from crossover.runs.losses import rises

RUNS = {
    "flops": [1e16, 1e17, 1e18, 1e19] * 2, "loss": [4.0, 3.5, 3.1, None, 4.1, 3.4, float("inf"), 2.7],
    "recipe": ["a"] * 4 + ["b"] * 4, "run": [f"r{i}" for i in range(8)], "lr": [0.1, 0.2, 0.4, 0.8] * 2,
}  # fmt: skip


def test_every_answer_names_the_runs_that_diverged() -> None:
    compared = crossover.compare(RUNS)
    assert [item.reason for item in compared.left_out] == [
        "a: diverged, missing or infinite (r3)", "b: diverged, missing or infinite (r6)"
    ]  # fmt: skip
    fitted = crossover.fit(RUNS, x="flops", by="none", law="power")
    assert [item.reason for item in fitted.left_out] == ["a value is missing or infinite (r3, r6)"]
    forecast = crossover.predict(RUNS, x="flops", by="recipe", at=1e20)
    assert [item.reason for item in forecast.left_out] == [item.reason for item in compared.left_out]
    tuned = crossover.optimum(RUNS | {"flops": [1e16] * 8, "loss": [4, 3.5, 3.6, None] * 2}, x="flops", by="recipe")
    assert ["r3" in str(tuned["a"].left_out), "r7" in str(tuned["b"].left_out)] == [True, True]
    nameless = {name: values for name, values in RUNS.items() if name != "run"}
    assert crossover.compare(nameless).left_out[0].reason == "a: diverged, missing or infinite"


@pytest.mark.parametrize("name", ["accuracy", "eval/accuracy", "val_acc", "hellaswag_acc_norm", "Val-AUROC", "f1"])
def test_a_metric_that_rises_is_no_loss(name: str) -> None:
    assert rises(name)
    with pytest.raises(UsageError, match="rises as models get better"):
        crossover.compare({"flops": RUNS["flops"], "recipe": RUNS["recipe"], name: RUNS["flops"]}, loss=name)


def test_its_negative_is() -> None:
    """`b` ends a tenth lower: worse."""
    assert not any(map(rises, ("loss", "val_loss", "accumulated", "bpb", "acc_steps", "face")))
    runs = RUNS | {"accuracy": [0.3, 0.4, 0.5, 0.6, 0.2, 0.3, 0.4, 0.5]}
    for text in ("-accuracy", "1 - accuracy"):
        rungs = crossover.compare(runs, loss=text).pairs[0].rungs
        assert [rung.difference.value for rung in rungs] == pytest.approx([0.1] * 4)
