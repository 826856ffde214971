"""Shared pieces: a cell and tokens small enough for milliseconds, and a whole project small enough for seconds."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from stages.study.cell import Cell
from tests.patience import patience

os.environ.update(DVC_NO_ANALYTICS="1", DO_NOT_TRACK="1", GX_ANALYTICS_ENABLED="false", HF_HUB_OFFLINE="1")
# A job in a shell's background is born deaf to ^C, and so would be every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
SKIPS = REPOSITORY / "tests/skips.txt"
_SKIPPED: list[str] = []
_LIMIT = 600.0  # seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips", action="store_true", help="A skipped test that tests/skips.txt lacks is a failure."
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limits of tests, in pyproject.toml and in marks, are for the machine we measure on; twice that for what comes."""
    factor = patience(2.0)
    for item in items:
        mark = item.get_closest_marker("timeout")
        item.add_marker(pytest.mark.timeout(factor * (mark.args[0] if mark else _LIMIT)), append=False)


def pytest_report_header() -> str:
    return f"slowness: {patience(1.0):.1f}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _note_skip(report.nodeid, report.longrepr)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _note_skip(report.nodeid, report.longrepr)


def _note_skip(name: str, told: Any) -> None:
    reason = str(told[2]).removeprefix("Skipped: ") if isinstance(told, tuple) else str(told)
    allowed = [line.partition("#")[0].strip() for line in SKIPS.read_text().splitlines()]
    if reason not in filter(None, allowed):
        _SKIPPED.append(f"{name}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _SKIPPED and session.config.getoption("--strict-skips") and session.exitstatus in (0, pytest.ExitCode.OK):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if _SKIPPED and config.getoption("--strict-skips"):
        terminalreporter.section(f"skipped, and not in {SKIPS.name}: these must run here")
        for line in _SKIPPED:
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def make_cell(**changes: Any) -> Cell:
    """A cell that trains in well under a second."""
    fields = {
        "width": 16, "depth": 2, "heads": 2, "seq_len": 16, "vocab_size": 64, "qk_norm": True, "activation": "gelu",
        "batch": 4, "steps": 40, "unique_tokens": 40 * 4 * 16, "optimizer": "adamw", "lr": 0.01, "final_lr": 1e-5,
        "schedule": "cosine", "warmup_steps": 4, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 1e-3,
        "l2": 0.0, "clip": 1.0, "normalise": False, "z_loss": 0.0, "precision": "fp32", "window": 10, "seed": 0,
    }  # fmt: skip
    fields |= changes
    std = fields["width"] ** -0.5
    derived = {"hidden": 4 * fields["width"], "embedding_std": std, "head_std": std}
    follow = {"micro_batch": "batch", "lr_embedding": "lr", "lr_head": "lr", "lr_gains": "lr"}
    return Cell(**{**derived, **{name: fields[source] for name, source in follow.items()}, **fields})


@pytest.fixture
def cell() -> Cell:
    return make_cell()


@pytest.fixture
def tokens() -> np.ndarray:
    """A learnable stream: every token is followed by its double, modulo 61, three times out of four."""
    generator = np.random.default_rng(0)
    stream = np.zeros(40 * 4 * 16 + 1, np.uint16)
    for i in range(1, len(stream)):
        stream[i] = (2 * stream[i - 1] + 1) % 61 if generator.random() < 0.75 else generator.integers(61)
    return stream


def write_corpus(path: Path, documents: int = 500, seed: int = 0) -> None:
    """A jsonl corpus of pseudo-English: sentences over a small vocabulary with a skewed distribution."""
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghilmnoprstu", k=generator.randint(2, 8))) for _ in range(300)]
    weights = [1 / (rank + 1) for rank in range(300)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for _ in range(documents):
            text = " ".join(generator.choices(words, weights, k=generator.randint(30, 120)))
            file.write(json.dumps({"text": text}) + "\n")


TINY = {
    "active": {"tiny-mini": {"study": "tiny", "scale": "mini"}},
    "studies": {
        "tiny": {
            "title": "Two rules",
            "seeds": 2,
            "window": 10,
            "recipes": {"constant": {"lr": {"exponent": 0}}, "inverse": {"lr": {"exponent": -1}}},
        }
    },
    "scales": {
        "mini": {
            "corpus": "words", "tokenizer": {"vocab_size": 300, "train_bytes": 20000}, "shard_tokens": 8192,
            "machine": {"name": "test", "flops_per_second": 1.0e9}, "depth": 1, "widths": [8, 16], "head_dim": 8,
            "seq_len": 16, "batch": 8, "pivot": 8, "lr": 0.02, "tokens_per_parameter": 5, "validation_tokens": 2048,
            "seen_tokens": 1024,
        }
    },
    "corpora": {"words": {"kind": "files", "train": ["data/sources/words.jsonl"], "validation_share": 0.2}},
    "claims": {
        "same": {
            "statement": "the two rules end within a tenth of a nat of each other", "paper": "ours", "study": "tiny",
            "measure": "paired", "given": {"a": "constant", "b": "inverse"}, "expects": "none", "interest": 0.1,
        }
    },
    "trainers": {"plain": {"command": "python trainers/plain.py", "sources": ["trainers/plain.py"]}},
}  # fmt: skip


class Project:
    """A real project in a folder of its own: this repository's source, small parameters, real git and DVC."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root),
            "CROSSOVER_CHECKPOINT_SECONDS": "0.05",
        }

    def params(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Write params.yaml: the tiny study, changed."""
        values = json.loads(json.dumps(TINY))
        change(values)
        with (self.root / "params.yaml").open("w") as file:
            YAML().dump(values, file)

    def forget(self) -> None:
        """Take away everything made so far: data, but for the ledger that git keeps, and what DVC remembers."""
        made = [path for path in self.root.glob("data/*") if path.name != "sources"]
        for path in (*made, self.root / ".dvc/cache"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (self.root / "dvc.lock").unlink(missing_ok=True)
        (self.root / "data").mkdir(exist_ok=True)
        (self.root / "data/ledger.jsonl").touch()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project."""
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def repro(self, check: bool = True) -> str:
        """`dvc repro`; returns everything it printed."""
        done = self.run("dvc", "--wait-for-lock", "repro", check=check)
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """`crossover status --json` of the tiny study."""
        output = self.run(sys.executable, "-c", "from crossover.cli.app import main; main()", "status", "--json").stdout
        return json.loads(output)["tiny-mini"]

    def losses(self) -> bytes:
        return (self.root / "data/results/tiny-mini/losses.csv").read_bytes()


def make_project(root: Path) -> Project:
    """Copy the source into `root` and make it a git and DVC project with the tiny study."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("crossover", "stages", "flows", "trainers"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "constraints.txt", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(REPOSITORY / ".dvc" / name, root / ".dvc" / name)
    shutil.copytree(REPOSITORY / ".dvc/plots", root / ".dvc/plots")
    write_corpus(root / "data/sources/words.jsonl")
    project = Project(root)
    project.forget()
    project.params()
    project.run("git", "init", "-q")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "x", "--allow-empty")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")
