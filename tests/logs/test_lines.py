"""Printed lines of the common small trainers, as their sources format them."""

from pathlib import Path

import pytest

from crossover.base.errors import DamageError
from crossover.logs import find_runs

NANOGPT = """number of parameters: 10.65M
step 0: train loss 4.2874, val loss 4.2823
iter 0: loss 4.2649, time 29534.81ms, mfu -100.00%
iter 10: loss 3.2438, time 25.73ms, mfu 14.48%
step 250: train loss 1.9625, val loss 2.0594
"""
MODDED = """step:0/1770 val_loss:10.8258 train_time:0ms step_avg:0.04ms
step:1/1770 train_time:123ms step_avg:123.00ms
step:125/1770 val_loss:4.6231 train_time:11829ms step_avg:94.63ms
step:1770/1770 val_loss:3.2785 train_time:175000ms step_avg:98.87ms
"""
LLMC = """val loss 11.009
step    1/19560 | loss 11.009 (+nanz)| norm 15.36 (+nanz)| lr 8.57e-07 | 3056.36 ms | 42.6% bf16 MFU | 171545 tok/s
step    2/19560 | loss 10.939 (+nanz)| norm 15.17 (+nanz)| lr 1.71e-06 | 2998.39 ms | 43.4% bf16 MFU | 174862 tok/s
val loss 7.105
"""
LLMC_MAIN = """s:0 tel:11.0089
s:1 trl:11.0091
s:250 tel:6.5160
s:250 eval:0.2483
"""
TORCHTITAN = (
    "[titan] 2025-02-01 10:00:00 - root - INFO - \x1b[31mstep:  1  \x1b[32mloss: 12.2472  \x1b[34mgrad_norm:  3.9042  "
    "\x1b[38mmemory: 30.33GiB(63.86%)  tps: 380\x1b[0m\n"
    "[titan] 2025-02-01 10:00:09 - root - INFO - step: 10  loss:  9.8127  grad_norm:  2.1  memory: 30GiB  tps: 4,210\n"
)


@pytest.mark.parametrize(
    ("text", "curves"),
    [
        (NANOGPT, {"train_loss": {0: 4.2874, 250: 1.9625}, "val_loss": {0: 4.2823, 250: 2.0594},
                   "loss": {0: 4.2649, 10: 3.2438}}),
        (MODDED, {"val_loss": {0: 10.8258, 125: 4.6231, 1770: 3.2785}}),
        (LLMC, {"val_loss": {0: 11.009, 2: 7.105}, "loss": {1: 11.009, 2: 10.939}, "grad_norm": {1: 15.36, 2: 15.17},
                "lr": {1: 8.57e-07, 2: 1.71e-06}}),
        (LLMC_MAIN, {"val_loss": {0: 11.0089, 250: 6.5160}, "train_loss": {1: 11.0091}}),
        (TORCHTITAN, {"loss": {1: 12.2472, 10: 9.8127}, "grad_norm": {1: 3.9042, 10: 2.1}}),
    ],
    ids=["nanoGPT", "modded-nanogpt", "llm.c", "llm.c main.log", "torchtitan"],
)  # fmt: skip
def test_what_is_printed_is_read(tmp_path: Path, text: str, curves: dict[str, dict[float, float]]) -> None:
    (tmp_path / "train.log").write_text(text)
    (run,) = find_runs([tmp_path])
    assert run.curves == curves
    assert "printed lines" in run.notes[-1]


def test_a_restart_in_the_same_file_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(MODDED + MODDED.replace("3.2785", "3.1"))
    assert [run.curves["val_loss"][1770] for run in find_runs([tmp_path])] == [3.2785, 3.1]


def test_other_text_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("step 1: install\nthe loss of 3 files in step 2\n")
    with pytest.raises(DamageError, match="no lines that name a step and a loss"):
        find_runs([tmp_path / "notes.txt"])
