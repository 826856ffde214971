"""Each rule of each gate rejects the bad table it exists for, and names the offender."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from crossover.base.errors import GateError
from stages.cells.plan import Plan, PlannedRow
from stages.check.gate import Finding, conclude
from stages.check.losses import check_losses, loss_table
from stages.check.tokens import check_shards, check_splits, shard_table
from stages.shards.manifest import Index, Shard, Split, Text
from tests.conftest import make_cell

pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own


def make_plan() -> Plan:
    rows = [
        PlannedRow(
            recipe=recipe, axes={}, structural_pair=False, cell=make_cell(seed=seed), fingerprint=f"{recipe}{seed}"
        )
        for recipe in ("a", "b")
        for seed in (0, 1)
    ]
    text = Text(identity="", tokenizer_digest="", vocab_size=64, end_of_text=0, dtype="uint16", shard_tokens=8)
    return Plan(
        study="s", scale="c", text_name="t", text=text, source="", validation_tokens=1, seen_tokens=1,
        evaluation_digest="", keep="final", rows=rows,
    )  # fmt: skip


def good_losses() -> pd.DataFrame:
    rows = [
        {
            "recipe": row.recipe, "axes": "{}", "width": 16, "seed": row.cell.seed, "status": "done",
            "loss_validation": 3 + row.cell.seed / 100, "loss_seen": 2.9, "loss_fresh": 3.0, "loss_validation_se": 0.01,
            "flops_6n": 1e9, "tokens": 100, "unique_tokens": 100, "fingerprint": row.fingerprint, "batch": 2,
            "seq_len": 5, "lr": 0.1,
        }
        for row in make_plan().rows
    ]  # fmt: skip
    return pd.DataFrame(rows)


def good_runs() -> pd.DataFrame:
    rows = [row.fingerprint for row in make_plan().rows]
    return pd.DataFrame({"fingerprint": rows, "device": "cpu", "torch": "2", "numpy": "2", "host": "h"})


def good_curves() -> pd.DataFrame:
    """Ten steps each, the loss going down to what is said of the final model."""
    steps = np.arange(10)
    rows = {
        "step": steps,
        "tokens": steps * 10,
        "lr": 0.1 * np.minimum(1, (10 - steps) / 5),
        "loss": 3 + (9 - steps) / 5,
    }
    return pd.concat([pd.DataFrame({"fingerprint": row.fingerprint, **rows}) for row in make_plan().rows])


def failed(
    losses: pd.DataFrame, runs: pd.DataFrame | None = None, curves: pd.DataFrame | None = None
) -> dict[str, Finding]:
    plan = make_plan()
    runs, curves = good_runs() if runs is None else runs, good_curves() if curves is None else curves
    findings = check_losses(loss_table(losses, runs, curves, plan), plan)
    return {finding.rule: finding for finding in findings if not finding.passed}


def test_a_good_table_passes() -> None:
    assert failed(good_losses()) == {}


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("loss_validation", None, "held-out loss of a done cell is not null"),
        ("loss_validation", math.nan, "held-out loss of a done cell is not null"),
        ("loss_validation", math.inf, "held-out loss of a done cell lies in"),
        ("loss_validation", -math.inf, "held-out loss of a done cell lies in"),
        ("loss_validation", -0.1, "held-out loss of a done cell lies in"),
        ("loss_validation", 12.0, "held-out loss of a done cell lies in"),
        ("loss_seen", math.nan, "loss on seen windows of a done cell is not null"),
        ("loss_seen", 40.0, "loss on seen windows of a done cell lies in"),
        ("loss_validation_se", math.nan, "standard error of a done cell is not null"),
        ("loss_validation_se", math.inf, "standard error of a done cell lies in"),
        ("flops_6n", math.nan, "compute is not null"),
        ("flops_6n", 0.0, "compute lies in"),
        ("status", "crashed", "status is done, diverged or failed"),
        ("status", None, "status is not null"),
        ("status", "diverged", "a cell that is not done has no loss"),
        ("fingerprint", "other", "a row's cell is planned"),
        ("unique_tokens", 101, "unique tokens do not exceed tokens"),
        ("seed", 0, "no cell is there twice"),
    ],
)
def test_one_bad_value_is_rejected_and_named(column: str, value: Any, rule: str) -> None:
    losses = good_losses()
    losses[column] = losses[column].astype(object)
    losses.loc[1, column] = value
    if column in ("loss_validation", "loss_seen", "loss_validation_se", "flops_6n"):
        losses[column] = losses[column].astype(float)
    broken = failed(losses)
    names = [name for name in broken if name.startswith(rule)]
    assert names, broken
    assert any("a width 16" in offender for offender in broken[names[0]].offenders)


@pytest.mark.parametrize("name", ["loss_validation", "loss_seen", "loss_fresh"])
@pytest.mark.parametrize(("under", "holds"), [(0.45, True), (0.55, False)])
def test_a_loss_far_under_its_own_curve_is_rejected(name: str, under: float, holds: bool) -> None:
    losses = good_losses()
    losses.loc[1, name] = 3 - under
    rule = "how far losses of a done cell lie under its curve's end lies in [-1000, 0.5]"
    assert (rule in failed(losses)) is not holds
    assert holds or "a width 16" in failed(losses)[rule].offenders[0]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: c.assign(lr=c["lr"] * 1e3), "a done cell's highest rate over the planned one lies in [0.99, 1.01]"),
        (lambda c: c.assign(lr=c["lr"] / 2), "a done cell's highest rate over the planned one lies in [0.99, 1.01]"),
        (lambda c: c.assign(lr=-c["lr"]), "a done cell's highest rate over the planned one lies in [0.99, 1.01]"),
        (lambda c: c.assign(tokens=c["tokens"] * 2), "a done cell was trained on the tokens that were planned"),
        (lambda c: c[c["step"] < 9], "a done cell was trained on the tokens that were planned"),
        (lambda c: c[c["step"] < 0], "a done cell has a curve"),
        (lambda c: c.assign(loss=math.nan), "how far losses of a done cell lie under its curve's end is not null"),
    ],
)
def test_a_curve_that_is_not_the_planned_cells_is_rejected(change: Any, rule: str) -> None:
    curves = good_curves()
    one = curves["fingerprint"] == "a1"
    broken = failed(good_losses(), curves=pd.concat([curves[~one], change(curves[one])]))
    assert rule in broken
    assert "a width 16 {} seed 1" in broken[rule].offenders[0]
    assert failed(good_losses(), curves=curves.assign(lr=math.nan)) == {}  # a program need not say it


def test_seeds_that_change_nothing_are_rejected() -> None:
    losses = good_losses()
    losses.loc[1, "loss_validation"] = losses.loc[0, "loss_validation"]
    broken = failed(losses)
    assert list(broken) == ["no two seeds of a recipe come to the same loss"]
    assert len(broken["no two seeds of a recipe come to the same loss"].offenders) == 2
    losses["axes"] = ["{}", "other", "{}", "{}"]
    assert failed(losses) == {}


def test_a_row_that_its_cell_does_not_say_is_rejected() -> None:
    plan = make_plan()
    table = loss_table(good_losses(), good_runs(), good_curves(), plan, altered={2: "b width 16"})
    (finding,) = [item for item in check_losses(table, plan) if not item.passed]
    assert finding.rule == "a row is what its cell's sealed evaluation says, where that is at hand"
    assert "b width 16 {} seed 0" in finding.offenders[0]


def test_missing_and_surplus_rows_are_rejected() -> None:
    assert "there is a row per planned cell (4)" in failed(good_losses().iloc[:3])
    assert "there is a row per planned cell (4)" in failed(pd.concat([good_losses(), good_losses().iloc[:1]]))


def test_a_diverged_cell_without_loss_is_a_result() -> None:
    losses = good_losses()
    losses.loc[1, "status"] = "diverged"
    losses.loc[1, ["loss_validation", "loss_seen", "loss_validation_se"]] = math.nan
    assert failed(losses) == {}


def test_a_failed_cell_is_named_and_stops_nothing() -> None:
    losses = good_losses()
    losses.loc[1, "status"] = "failed"
    losses.loc[1, ["loss_validation", "loss_seen", "loss_validation_se"]] = math.nan
    runs = good_runs()
    (finding,) = failed(losses, runs[runs["fingerprint"] != losses.loc[1, "fingerprint"]]).values()
    assert (finding.rule, finding.stops) == ("no cell failed", False)
    assert "a width 16" in finding.offenders[0]


@pytest.mark.parametrize("column", ["device", "torch", "numpy"])
def test_mixed_builds_in_a_pair_warn_but_do_not_stop(column: str) -> None:
    runs = good_runs()
    runs.loc[0, column] = "another"
    (finding,) = failed(good_losses(), runs).values()
    assert "one device class" in finding.rule
    assert not finding.stops


@pytest.mark.parametrize("other", ["NVIDIA H100 80GB HBM3", "AMD EPYC"])
def test_mixed_builds_in_a_pair_of_a_gpu_stop(other: str) -> None:
    """Twice the same GPU is no mixture; another one beside it is, and so is a processor."""
    runs = good_runs().assign(device="NVIDIA H200")
    assert not failed(good_losses(), runs)
    runs.loc[0, "device"] = other
    stopping = [finding for finding in failed(good_losses(), runs).values() if finding.stops]
    assert [finding.rule for finding in stopping] == [
        "the cells of a pair of which one was trained on a GPU share one device class and build"
    ]


def test_what_is_not_known_of_pulled_cells_is_no_mixture() -> None:
    runs = good_runs()
    runs.loc[0, ["numpy", "host"]] = ""
    assert not failed(good_losses(), runs)
    assert not failed(good_losses(), runs.assign(device="NVIDIA H200"))
    runs.loc[1:, "device"] = "NVIDIA H200"
    assert any(finding.stops for finding in failed(good_losses(), runs).values())


def test_verdict_is_written_before_the_gate_falls(tmp_path: Path) -> None:
    findings = [Finding("fine", True, True, []), Finding("loss is not null", False, True, ["cell 7"])]
    with pytest.raises(GateError, match=r"loss is not null \[cell 7\]"):
        conclude(findings, tmp_path / "v.json", "losses")
    verdict = json.loads((tmp_path / "v.json").read_text())
    assert verdict["passed"] is False
    assert verdict["rules"][1]["offenders"] == ["cell 7"]


def good_shards() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "shard": ["t/train/0", "t/train/1"], "tokens": [8, 8], "capacity": [8, 8], "documents": [1, 1],
            "bytes_on_disk": [16, 16], "bytes_expected": [16, 16], "sha256": ["a" * 64, "b" * 64],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("tokens", 0, "a shard holds tokens"),
        ("tokens", None, "a shard has a size"),
        ("tokens", 9, "a shard holds no more than its capacity"),
        ("bytes_on_disk", None, "a shard's file is there"),
        ("bytes_on_disk", 15, "a shard's file has the size its tokens take"),
        ("sha256", "xyz", "a shard has a digest"),
        ("sha256", None, "a shard's digest is not null"),
        ("sha256", "a" * 64, "no shard is there twice"),
    ],
)
def test_one_bad_shard_is_rejected(column: str, value: Any, rule: str) -> None:
    shards = good_shards()
    assert all(finding.passed for finding in check_shards(shards))
    shards[column] = shards[column].astype(object)
    shards.loc[1, column] = value
    broken = [finding for finding in check_shards(shards) if not finding.passed]
    assert any(finding.rule.startswith(rule) for finding in broken), broken
    assert any("t/train/1" in finding.offenders for finding in broken)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_shards_are_as_large_as_their_tokens(dtype: Literal["uint16", "uint32"], tmp_path: Path) -> None:
    """Files as numpy writes them pass; one that lacks its last byte, or is not there, does not."""
    shards = [
        Shard(file=f"{name}.bin", tokens=8, sha256=name * 64, documents=1, dropped=0, document_bytes=8,
              document_tokens=8, offset=0) for name in "abc"
    ]  # fmt: skip
    text = Text(
        identity="", tokenizer_digest="", vocab_size=64, end_of_text=0, dtype=dtype, shard_tokens=8,
        train=Split(shards=shards[:2]), validation=Split(shards=shards[2:]),
    )  # fmt: skip
    for split, shard in (("train", shards[0]), ("train", shards[1]), ("validation", shards[2])):
        (tmp_path / "t" / split).mkdir(parents=True, exist_ok=True)
        np.arange(8, dtype=dtype).tofile(tmp_path / "t" / split / shard.file)
    index = Index(texts={"t": text})
    assert all(finding.passed for finding in check_shards(shard_table(index, tmp_path)))
    (tmp_path / "t/train/b.bin").write_bytes((tmp_path / "t/train/b.bin").read_bytes()[:-1])
    (tmp_path / "t/validation/c.bin").unlink()
    broken = [finding for finding in check_shards(shard_table(index, tmp_path)) if not finding.passed]
    assert {name for finding in broken for name in finding.offenders} == {"t/train/b.bin", "t/validation/c.bin"}


def test_no_shards_at_all_are_rejected() -> None:
    assert not all(finding.passed for finding in check_shards(good_shards().iloc[:0]))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("tokens", None, "a needed split is tokenized"),
        ("tokens", 9, "a split holds the tokens that the plan needs"),
        ("bytes_per_token", math.nan, "bytes per token are known"),
        ("bytes_per_token", 0.3, "bytes per token lie in"),
        ("bytes_per_token", math.inf, "bytes per token lie in"),
    ],
)
def test_one_bad_split_is_rejected(column: str, value: Any, rule: str) -> None:
    splits = pd.DataFrame(
        {"split": ["t/train", "t/validation"], "tokens": [16.0, 16.0], "bytes_per_token": 2.5, "needed": 10}
    )
    assert all(finding.passed for finding in check_splits(splits))
    splits.loc[1, column] = value
    broken = [finding.rule for finding in check_splits(splits) if not finding.passed]
    assert any(name.startswith(rule) for name in broken), broken
