"""The command line as a stranger uses it: no data, no GPU, mistakes included."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossover.base.errors import UsageError
from flows.commands.plan import _short
from flows.studies.targets import targets
from stages.study.params import load_params
from tests.conftest import REPOSITORY

CROSSOVER = str(Path(sys.executable).with_name("crossover"))


def crossover(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CROSSOVER, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def bare(tmp_path: Path) -> Path:
    """A folder with params.yaml and nothing else."""
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    return tmp_path


def test_paper_ladder_without_data(tmp_path: Path) -> None:
    done = crossover(bare(tmp_path), "plan", "--scale", "paper", "--study", "lr_crossover", "--json")
    (forecast,) = json.loads(done.stdout)
    assert len(forecast["rungs"]) == 13
    assert abs(forecast["rungs"][-1]["eflop_6n"] / 886 - 1) < 0.01
    assert all(rung["eflop_total"] > rung["eflop_6n"] for rung in forecast["rungs"])  # head and attention
    assert forecast["cached"] is None
    assert forecast["usd_to_run"] > 0
    shown = crossover(tmp_path, "plan", "--scale", "paper", "--study", "lr_crossover").stdout
    assert "6144" in shown
    assert "2.718B" in shown


def test_plan_imports_nothing_heavy() -> None:
    heavy = ("torch", "pandas", "datasets", "prefect", "dvc", "scipy")
    code = f"import crossover.cli.app, sys; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_mistakes_get_one_line_and_exit_code_two(tmp_path: Path) -> None:
    done = crossover(tmp_path, "plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: params.yaml is missing; run this in the project's root\n"
    done = crossover(bare(tmp_path), "plan", "--scale", "pocke")
    assert done.returncode == 2
    assert done.stderr == "error: params.yaml: scale 'pocke' is unknown; did you mean 'pocket'?\n"
    assert crossover(tmp_path, "plann").returncode == 2
    assert "Traceback" not in crossover(tmp_path, "plan", "--sclae", "x").stderr


def test_status_before_anything_ran(tmp_path: Path) -> None:
    done = crossover(bare(tmp_path), "status", "--json")
    state = json.loads(done.stdout)["lr_crossover-pocket"]
    assert (state["rows"], state["expected"], state["missing"], state["done"]) == (80, 70, 70, 0)


def test_the_whole_paper_is_priced(tmp_path: Path) -> None:
    """All studies on the published ladder: shared cells counted once, hours and money from the stated machine."""
    done = crossover(bare(tmp_path), "plan", "--scale", "paper", "--study", "all")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    studies, cells, eflop, hours, usd = re.search(
        r"(\d+) studies at scale paper together: (\d+) cells, shared ones counted once; to run: ([\d.e+]+) EFLOP, "
        r"about ([\d,]+) h on one H200 at 40% utilisation, \$([\d,]+) at \$2.5 an hour",
        words,
    ).groups()
    parts = json.loads(crossover(tmp_path, "plan", "--scale", "paper", "--study", "all", "--json").stdout)
    assert len(parts) == int(studies) == len(load_params(REPOSITORY / "params.yaml").studies)
    assert int(cells) < sum(part["cells"] for part in parts)
    assert float(eflop) < sum(part["eflop_to_run"] for part in parts)
    assert float(eflop) * 1e18 / 3.95e14 / 3600 == pytest.approx(float(hours.replace(",", "")), rel=0.01)
    assert float(usd.replace(",", "")) == pytest.approx(2.5 * float(hours.replace(",", "")), rel=0.001)


def test_a_study_over_its_budget_is_shown_and_refused(tmp_path: Path) -> None:
    folder = bare(tmp_path)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("study_hours: 0.2", "study_hours: 0.001"))
    done = crossover(folder, "plan", "--scale", "pocket", "--study", "noise")
    assert done.returncode == 2
    assert "noise at scale pocket" in done.stdout
    assert "noise-pocket would take" in done.stderr
    assert "studies.noise.hours.pocket" in done.stderr


def test_targets_of_one_study_and_of_all(tmp_path: Path) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert targets(params, "noise", "pocket") == ["fit@noise-pocket"]
    assert targets(params, "all", "pocket") == [
        f"fit@{key}" for key, item in params.active.items() if item.scale == "pocket"
    ]
    with pytest.raises(UsageError, match=r"add to `active`: noise-gpu: \{study: noise, scale: gpu\}"):
        targets(params, "noise", "gpu")
    with pytest.raises(UsageError, match="did you mean 'noise'"):
        targets(params, "nois", "pocket")


@pytest.mark.parametrize(
    ("count", "said"), [(999.0, "999"), (1e3, "1k"), (999_999.0, "1000k"), (1e6, "1M"), (2.5e9, "2.5B")]
)
def test_large_numbers_are_short(count: float, said: str) -> None:
    assert _short(count) == said
