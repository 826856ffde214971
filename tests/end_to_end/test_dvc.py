"""A whole tiny study through real DVC: what runs, what does not, and that crashes leave no trace in the results."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import sync_playwright
from ruamel.yaml import YAML

from tests.conftest import Project, make_project
from tests.patience import patience
from tests.report.test_browser import CHROMIUM

CROSSOVER = str(Path(sys.executable).with_name("crossover"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study, reproduced once. Tests that change it put it back."""
    project = make_project(tmp_path_factory.mktemp("dvc") / "project")
    project.repro()
    return project


def ran(output: str) -> list[str]:
    """Names of the stages that DVC ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def to_train(output: str) -> int:
    return sum(
        int(line.split()[-3]) for line in output.splitlines() if line.endswith("to train") and "in the store" in line
    )


def test_everything_is_made_and_the_second_time_nothing_runs(done: Project) -> None:
    results = done.root / "data/results/tiny-mini"
    assert {path.name for path in results.iterdir()} >= {
        "losses.csv", "fit.json", "metrics.json", "losses.check.json",
    }  # fmt: skip
    assert (done.root / "data/report/index.html").stat().st_size > 50_000
    (verdict,) = json.loads((done.root / "data/verdicts/verdicts.json").read_text())
    assert verdict["id"] == "same"
    assert verdict["cells"] == 6
    assert f"**{verdict['verdict']}**" in (done.root / "docs/findings.md").read_text()
    assert done.losses().count(b"\n") == 1 + 2 * 2 * 2
    assert ran(done.repro()) == []
    state = done.status()
    assert (state["rows"], state["expected"], state["done"], state["missing"], state["stale"]) == (8, 6, 6, 0, 0)


@pytest.mark.slow
def test_metrics_and_plots_mean_something(done: Project) -> None:
    metrics = json.loads(done.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    values = metrics["data/results/tiny-mini/metrics.json"]["data"]
    assert (values["done"], values["lost"]) == (6, 0)
    assert set(values) == {"done", "lost", "best_loss", "difference", "low", "high"}
    table = done.run("dvc", "metrics", "show").stdout
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 120


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_plots_of_dvc_draw_with_no_network_a_line_per_recipe(done: Project) -> None:
    done.run("dvc", "plots", "show", "-o", "plots")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = opened.new_context(offline=True).new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((done.root / "plots/index.html").as_uri())
        page.wait_for_selector("canvas, svg.marks", timeout=20_000)
        names = page.evaluate("Object.keys(window).filter(name => name === 'vegaEmbed')")
        opened.close()
    assert names == ["vegaEmbed"]
    assert said == []


@pytest.mark.slow
def test_figures_are_drawn_as_svg_and_pdf(done: Project) -> None:
    said = done.run("crossover", "report", "--figures", "drawn")
    drawn = sorted((done.root / "drawn").iterdir())
    assert said.stdout == f"{len(drawn) // 2} figures in drawn, each as SVG and PDF\n"
    starts = {".svg": b"<svg", ".pdf": b"%PDF"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in drawn)
    assert [path.stem for path in drawn[::2]] == [path.stem for path in drawn[1::2]]


def test_adding_a_width_trains_only_the_new_cells(done: Project) -> None:
    before = done.losses().splitlines()
    done.params(lambda values: values["scales"]["mini"].update(widths=[8, 16, 24]))
    state = done.status()
    assert (state["expected"], state["done"], state["missing"]) == (10, 6, 4)
    output = done.repro()
    assert to_train(output) == 4
    assert set(before) < set(done.losses().splitlines())
    assert done.status()["done"] == 10
    done.params()
    back = done.repro()
    assert to_train(back) == 0
    assert done.losses().splitlines() == before


def edit(path: Path, old: str, new: str) -> str:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return text


@pytest.mark.slow
@pytest.mark.long
def test_a_comment_trains_nothing_and_code_retrains_what_it_affects(done: Project) -> None:
    model = done.root / "stages/model/transformer.py"
    losses = done.losses()
    text = edit(model, "def build(cell", "# a remark\ndef build(cell")
    output = done.repro()
    assert ran(output) == ["plan@tiny-mini"]
    assert done.losses() == losses
    model.write_text(text)
    edit(model, "_ROPE_BASE = 10_000.0", "_ROPE_BASE = 20_000.0")
    state = done.status()
    assert state["stale"] == 6
    assert state["notes"][0] == "6 stale: the training source changed"
    assert to_train(done.repro()) == 6
    assert done.losses() != losses
    model.write_text(text)
    assert to_train(done.repro()) == 0
    assert done.losses() == losses


@pytest.mark.slow
@pytest.mark.long
def test_changed_evaluation_evaluates_and_trains_nothing(done: Project) -> None:
    losses = done.losses()
    done.params(lambda values: values["scales"]["mini"].update(seen_tokens=512))
    output = done.repro()
    assert to_train(output) == 0
    assert "train@tiny-mini" not in ran(output) or "0 to train" in output
    assert done.losses() != losses
    done.params()
    done.repro()
    assert done.losses() == losses


@pytest.mark.slow
def test_the_same_study_elsewhere_is_the_same(done: Project, tmp_path: Path) -> None:
    """To the last byte of what git and DVC hold: hours, seconds and commits are told by the store alone."""
    other = make_project(tmp_path / "elsewhere")
    other.environment["CROSSOVER_COMMIT"] = "another"
    other.repro()
    lock = YAML(typ="safe").load(done.root / "dvc.lock")
    made = [Path(out["path"]) for stage in lock["stages"].values() for out in stage["outs"]]
    assert {"runs.csv"}.isdisjoint(path.name for path in made)
    for name in ("dvc.lock", *(path for path in made if (done.root / path).is_file()), "data/report/index.html"):
        assert (other.root / name).read_bytes() == (done.root / name).read_bytes(), name
    told = [json.loads(p.run(CROSSOVER, "status", "--runs", "--json").stdout)["tiny-mini"] for p in (done, other)]
    assert (told[1]["cells"], told[1]["commits"]) == (6, ["another"])
    assert told[0]["last"] < told[1]["first"]


def test_verdicts_and_the_page_do_not_hang_on_the_order_of_sets(done: Project) -> None:
    made = []
    for seed in ("1", "2"):
        done.environment["PYTHONHASHSEED"] = seed
        for stage in ("stages.verdicts", "stages.report"):
            done.run("python", "-m", stage)
        made.append(
            [(done.root / name).read_bytes() for name in ("data/verdicts/verdicts.json", "data/report/index.html")]
        )
    del done.environment["PYTHONHASHSEED"]
    assert made[0] == made[1]


@pytest.mark.slow
def test_a_failed_gate_stops_the_pipeline_and_names_the_cell(done: Project) -> None:
    path = done.root / "data/results/tiny-mini/losses.csv"
    whole = path.read_text()
    header, first, *rest = whole.splitlines()
    column = header.split(",").index('"loss_validation"')
    cells = first.split(",")
    index = len(cells) - len(header.split(",")) + column  # axes hold no comma in this study
    cells[index] = "inf"
    path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    gate = done.run("python", "-m", "stages.check", "losses", "tiny", "mini", check=False)
    assert gate.returncode == 1
    assert "held-out loss of a done cell lies in" in gate.stderr
    assert "constant width 8" in gate.stderr
    assert json.loads((path.parent / "losses.check.json").read_text())["passed"] is False
    path.write_text(whole)
    done.run("python", "-m", "stages.check", "losses", "tiny", "mini")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["scales"]["mini"].update(widhts=[8]), "did you mean 'widths'"),
        (lambda v: v["scales"]["mini"].update(widths=[800]), "the train split needs"),
        (lambda v: v["corpora"]["words"].update(text_column="body"), "no column 'body'"),
        (lambda v: v["corpora"]["words"].update(train=["data/sources/no*.jsonl"]), "nothing matches 'data/sources/no"),
    ],
)
def test_mistakes_stop_with_one_line(done: Project, change: object, says: str) -> None:
    done.params(change)  # type: ignore[arg-type]
    output = done.repro(check=False)
    done.params()
    assert says in output
    assert "Traceback" not in output


def kill(process: subprocess.Popen[bytes], alone: bool) -> bool:
    """SIGKILL to DVC alone, whose stage must end by itself, or to its group; False where it had ended before."""
    if process.poll() is not None:
        return False
    children = psutil.Process(process.pid).children(recursive=True)
    (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.wait()
    left = psutil.wait_procs(children, timeout=patience(20))[1]
    assert not left, left
    return True


def mend_lock(root: Path) -> None:
    """DVC writes .dvc/tmp/rwlock and dvc.lock in place; where a kill left half of one, it is to be removed."""
    lock, stages = root / ".dvc/tmp/rwlock", root / "dvc.lock"
    if stages.exists() and "\nstages:" not in stages.read_text():
        stages.unlink()  # of which git has none here
    try:
        json.loads(lock.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        lock.unlink()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("wanted", [3, pytest.param(20, marks=pytest.mark.long)])
def test_kills_leave_the_same_bytes(done: Project, tmp_path: Path, wanted: int) -> None:
    """SIGKILL of DVC, alone or with its whole process group, at random moments, each followed by `dvc repro`."""
    victim = make_project(tmp_path / "victim")
    generator = random.Random(0)
    kills = 0
    while kills < wanted:
        mend_lock(victim.root)
        if kills % 4 == 0:  # start again from nothing, so that kills fall on every stage
            victim.forget()
        process = subprocess.Popen(
            ["dvc", "--wait-for-lock", "repro"], cwd=victim.root, env=victim.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(generator.uniform(0.5, 25))
        killed = kill(process, alone=kills % 2 == 1)
        kills += killed
        if not killed:
            victim.forget()
    mend_lock(victim.root)
    victim.repro()
    assert victim.losses() == done.losses()
    assert ran(victim.repro()) == []


@pytest.mark.slow
def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """Libraries that take a path for a glob or for markup would lose it."""
    project = make_project(tmp_path / "a [b] (c)* 'd'" / "my [project]")
    project.run("dvc", "--wait-for-lock", "repro", "report")
    assert (project.root / "data/report/index.html").exists()
    assert " 6 " in project.run("crossover", "status").stdout
