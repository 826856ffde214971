"""The wheel, built and installed where nothing of this repository is: answers a minute after `pip install`."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import REPOSITORY, SHARED

pytestmark = pytest.mark.slow
UV = [sys.executable, "-m", "uv"]
CASES = SHARED / "cases"
READ_TODAY = (
    "hf-loss-zero", "hf-two-launches", "jsonl-resumed", "keras-csvlogger-appended", "mlflow-store", "tb-step-reset",
    "units-in-billions", "wandb-chart-export", "wandb-same-run-id",
)  # fmt: skip


class Installed:
    """An environment with the wheel, and a folder to work in."""

    def __init__(self, home: Path, wheel: Path, extra: str) -> None:
        self.home, self.folder = home, home / "work"
        self.folder.mkdir(parents=True)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
        } | {"UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))}
        self.run(*UV, "venv", "-q", "-p", sys.executable, home / "venv")
        self.bin = home / "venv/bin"
        pins = ("-c", REPOSITORY / "constraints.txt")
        self.run(*UV, "pip", "install", "-q", "-p", self.bin / "python", *pins, f"{wheel}{extra}")

    def run(self, *words: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            list(map(str, words)), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def crossover(self, *words: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(self.bin / "crossover", *words, check=check)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*UV, "build", "-q", "--wheel", "-o", str(folder), str(REPOSITORY)], check=True)
    (found,) = folder.glob("*.whl")
    return found


def runs() -> pd.DataFrame:
    generator, rows = np.random.default_rng(0), []
    for x in np.geomspace(1e16, 1e19, 4):
        for seed in range(3):
            for recipe, power in (("a", 0.05), ("b", 0.07)):
                loss = 3 * (x / 1e17) ** -power * np.exp(generator.normal(0, 0.002))
                rows.append({"flops": x, "recipe": recipe, "seed": seed, "loss": loss})
    return pd.DataFrame(rows)


def test_the_wheel_holds_the_library_with_its_data_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.startswith("scaling_crossover-")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"crossover", "scaling_crossover"}
    kept = [
        path for path in (REPOSITORY / "crossover").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert {path.relative_to(REPOSITORY).as_posix() for path in kept} <= set(names)


def test_answers_where_nothing_of_the_repository_is(wheel: Path, tmp_path: Path) -> None:
    here = Installed(tmp_path, wheel, "[plots]")
    runs().to_csv(here.folder / "runs.csv", index=False)
    asked = ("--x", "flops", "--by", "recipe", "--pair", "seed")
    said = here.crossover("compare", "runs.csv", *asked, "--at", "x=1e20", "--plot", "a.png", "--html", "a.html")
    assert said.stderr == "written: a.png\nwritten: a.html\n"
    assert "choose b: P = " in said.stdout
    assert (here.folder / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "vegaEmbed" in (here.folder / "a.html").read_text()
    assert (
        "lodged in data/ledger.jsonl"
        in here.crossover("predict", "runs.csv", *asked, "--at", "x=1e20", "--lodge").stdout
    )
    assert json.loads(here.crossover("predict", "--check", "--json").stdout)["forecasts"] == 1
    pd.DataFrame({"flops": [3e19, 3e19], "recipe": ["a", "b"], "seed": [9, 9]}).to_csv(
        here.folder / "n.csv", index=False
    )
    advice = here.crossover("advise", "runs.csv", *asked, "--candidates", "n.csv", "--at", "x=1e20", "--budget", "1e20")
    first = advice.stdout.splitlines()[0]
    assert " at flops = 1e20 (" in first
    assert "P(b better) " in first
    curve = [{"step": step, "val_loss": 5 - step / 100, "lr": 1e-3} for step in range(0, 200, 20)]
    (here.folder / "log.jsonl").write_text("\n".join(map(json.dumps, curve)))
    assert "written: one.csv, 1 row" in here.crossover("import", "log.jsonl", "--to", "one.csv", "--yes").stdout
    refused = here.crossover("predict", "--study", "x", "--scale", "y", "--at", "width=8", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "need a checkout of the project" in refused.stderr
    if CASES.exists():
        for name in READ_TODAY:
            here.crossover("import", CASES / name, "--to", f"{name}.csv", "--yes")


def test_the_core_is_light_and_names_what_it_lacks(wheel: Path, tmp_path: Path) -> None:
    here = Installed(tmp_path, wheel, "")
    packages = json.loads(here.run(*UV, "pip", "list", "-q", "--format", "json", "-p", here.bin / "python").stdout)
    assert len(packages) <= 25
    files = [
        path.stat().st_size for path in (here.home / "venv").rglob("*") if path.is_file() and not path.is_symlink()
    ]
    assert sum(files) <= 550e6
    code = "import crossover as xo, sys; xo.compare; print({'torch', 'stages', 'flows', 'altair'} & set(sys.modules))"
    assert here.run(here.bin / "python", "-c", code).stdout == "set()\n"
    runs().to_csv(here.folder / "runs.csv", index=False)
    said = here.crossover("compare", "runs.csv", "--pair", "seed", "--plot", "a.png", check=False)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.endswith("pip install 'scaling-crossover[plots]'\n")
    assert "crosses" in here.crossover("compare", "runs.csv", "--pair", "seed").stdout
    shown = here.crossover("--help").stdout
    assert "compare" in shown
    assert "doctor" not in shown
