"""The command line as a stranger uses it: no data, no GPU, mistakes included."""

import json
import subprocess
import sys
from pathlib import Path

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
    assert forecast["cached"] is None
    assert forecast["usd_to_run"] > 0
    shown = crossover(tmp_path, "plan", "--scale", "paper", "--study", "lr_crossover").stdout
    assert "6144" in shown
    assert "2.718B" in shown


def test_plan_imports_nothing_heavy() -> None:
    heavy = ("torch", "pandas", "datasets", "prefect", "dvc", "scipy")
    code = f"import flows.cli, sys; print([m for m in {heavy} if m in sys.modules])"
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
    assert (state["rows"], state["expected"], state["missing"], state["done"]) == (48, 42, 42, 0)
