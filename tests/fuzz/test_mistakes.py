"""Mistakes people make, and the one line that each gets: what is wrong, where, and what to do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, TINY

pytestmark = [pytest.mark.slow]
GOOD = "flops,loss,recipe,lr,seed\n" + "".join(
    f"{4.0**power}e15,{3 - 0.2 * power + bump},{name},{0.01 * 2**power},0\n"
    for power in range(5) for name, bump in (("a", 0.0), ("b", 0.01 * power))
)  # fmt: skip
FIT = ["fit", "runs.csv", "--x", "flops", "--law", "power", "--by", "none"]


def params(path: str, value: Any) -> Callable[[Path], None]:
    """params.yaml with one value of the tiny study changed; a path ends in the key."""

    def write(folder: Path) -> None:
        values = json.loads(json.dumps(TINY))
        target = values
        *parents, last = path.split("/")
        for part in parents:
            target = target[part]
        target[last] = value
        (folder / "params.yaml").write_text(json.dumps(values))

    return write


def file(name: str, content: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def nothing(_: Path) -> None:
    return


def no_params(folder: Path) -> None:
    (folder / "params.yaml").unlink()


def folder_for_params(folder: Path) -> None:
    (folder / "params.yaml").unlink()
    (folder / "params.yaml").mkdir()


MISTAKES: list[tuple[str, Callable[[Path], None], list[str], int, str]] = [
    # what is wrong, how it comes about, the command, its exit code, what it says
    ("no params.yaml", no_params, ["plan"], 2, "params.yaml is missing; run this in the project's root"),
    ("params.yaml is a folder", folder_for_params, ["plan"], 1, "Is a directory (params.yaml)"),
    ("params.yaml is no YAML", file("params.yaml", "a: [1"), ["plan"], 2, "params.yaml is not valid YAML"),
    ("params.yaml is no text", file("params.yaml", b"\xff\xfe\x00"), ["plan"], 2, "params.yaml is not valid YAML"),
    ("params.yaml is empty", file("params.yaml", ""), ["plan"], 2, "must map active, corpora, scales and studies"),
    ("an object in YAML", file("params.yaml", "a: !!python/object:os.x {}"), ["plan"], 2, "is not valid YAML"),
    ("an unknown key", params("scales/mini/widhts", [8]), ["plan"], 2, "did you mean 'widths'"),
    ("no whole number", params("scales/mini/batch", 1.5), ["plan"], 2, "scales.mini.batch"),
    ("a negative rate", params("scales/mini/lr", -1), ["plan"], 2, "scales.mini.lr"),
    ("a rate that is text", params("scales/mini/lr", "fast"), ["plan"], 2, "scales.mini.lr"),
    ("widths that fall", params("scales/mini/widths", [16, 8]), ["plan"], 2, "ascend"),
    ("a width no heads fit", params("scales/mini/widths", [12]), ["plan"], 2,
     "width 12 is not a multiple of head_dim 8"),
    ("no widths", params("scales/mini/widths", []), ["plan"], 2, "scales.mini.widths"),
    ("an unknown corpus", params("scales/mini/corpus", "wrods"), ["plan"], 2, "did you mean 'words'"),
    ("an unknown precision", params("scales/mini/precision", "fp8"), ["plan"], 2, "scales.mini.precision"),
    ("a study that is not there", params("active/tiny-mini/study", "tni"), ["plan"], 2, "must be named"),
    ("no recipes", params("studies/tiny/recipes", {}), ["plan"], 2, "studies.tiny.recipes"),
    ("a recipe named like a path", params("studies/tiny/recipes", {"../a": {}}), ["plan"], 2, "studies.tiny.recipes"),
    ("two recipes of one label", params("studies/tiny/recipes", {"a": {"label": "b"}, "b": {}}), ["plan"], 2,
     "two are called 'b'"),
    ("a pair nobody defined", params("studies/tiny/pairs", [["constant", "invers"]]), ["plan"], 2,
     "did you mean 'inverse'"),
    ("a rung beyond the ladder", params("studies/tiny/rungs", [9]), ["plan"], 2, "rung 9 is beyond the 2 widths"),
    ("more than the budget", params("scales/mini/study_hours", 1e-9), ["plan"], 2, "over its budget of 1e-09 h"),
    ("an unknown study", nothing, ["plan", "--study", "tny"], 2, "did you mean 'tiny'"),
    ("an unknown scale", nothing, ["plan", "--scale", "mni"], 2, "did you mean 'mini'"),
    ("an unknown command", nothing, ["plann"], 2, "No such command 'plann'"),
    ("an unknown option", nothing, ["plan", "--studdy", "x"], 2, "No such option: --studdy"),
    ("no file of runs", nothing, ["fit", "nowhere.csv", "--x", "flops"], 2, "nowhere.csv does not exist"),
    ("runs of no known kind", file("runs.xls", "x"), ["fit", "runs.xls", "--x", "a"], 2, "runs.xls is none of .csv"),
    ("an empty file of runs", file("runs.csv", ""), FIT, 2, "runs.csv is empty"),
    ("no rows", file("runs.csv", "flops,loss\n"), FIT, 2, "runs.csv has no rows"),
    ("half a Parquet file", file("runs.parquet", b"PAR1half"), ["fit", "runs.parquet", "--x", "a"], 2,
     "cannot be read as parquet"),
    ("a loss that is text", file("runs.csv", GOOD.replace("3.0", "low")), FIT, 2, "holds 'low', which is no number"),
    ("too few sizes", file("runs.csv", "flops,loss\n1e15,3\n"), FIT, 2, "1 usable rows are fewer than the 2"),
    ("an unknown column", nothing, ["fit", "runs.csv", "--x", "flop"], 2, "did you mean 'flops'"),
    ("an unknown law", nothing, ["fit", "runs.csv", "--x", "flops", "--law", "powr"], 2, "did you mean 'power'"),
    ("an unknown objective", nothing, [*FIT, "--objective", "huber"], 2, "did you mean 'huber_log'"),
    ("an input the law lacks", nothing, ["fit", "runs.csv", "--law", "chinchilla", "--x", "flops"], 2,
     "needs --n and --d"),
    ("a filter that keeps nothing", nothing, [*FIT, "--where", "flops > 1e99"], 2, "keeps none of 10 rows"),
    ("a filter that is code", nothing, [*FIT, "--where", "__import__('os').x"], 2, "is not allowed"),
    ("a filter of text and number", nothing, [*FIT, "--where", "recipe > 3"], 2, "does not fit the columns' types"),
    ("a place that is no number", nothing, [*FIT, "--at", "x=big"], 2, "'big' is no number"),
    ("a plot of no known kind", nothing, [*FIT, "--plot", "fit.gif"], 2, "fit.gif"),
    ("one recipe alone", nothing, ["compare", "runs.csv", "--x", "flops", "--where", "recipe == 'a'"], 2, "recipe"),
    ("an unknown commit", nothing, ["diff", "nowhere"], 2, "run this inside a clone of the project"),
    ("no results to draw", nothing, ["report", "--figures", "out"], 1, "losses.csv is missing; run `dvc repro`"),
    ("a study that is not active", nothing, ["report", "--figures", "out", "--study", "x"], 2,
     "--study x is not active"),
    ("nothing to verify", nothing, ["verify"], 1, "plan.json is missing; run `dvc repro plan@tiny-mini`"),
    ("a plan cut off", file("data/studies/tiny-mini/plan.json", "{"), ["verify"], 1, "plan.json is not valid JSON"),
    ("a plan of another kind", file("data/studies/tiny-mini/plan.json", "[]"), ["verify"], 1,
     "plan.json is no plan of this version"),
    ("nested without end", file("data/studies/tiny-mini/plan.json", "[" * 99999), ["verify"], 1,
     "plan.json is not valid JSON"),
    ("an index cut off", file("data/tokens/index.json", "{"), ["status"], 1, "index.json is not valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("write", "words", "code", "says"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_gets_one_line(
    tmp_path: Path, write: Callable[[Path], None], words: list[str], code: int, says: str
) -> None:
    file("params.yaml", json.dumps(TINY))(tmp_path)
    file("runs.csv", GOOD)(tmp_path)
    write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "crossover", *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
    )  # fmt: skip
    assert says in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(ours) == 1 or "Usage:" in done.stderr
