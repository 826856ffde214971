"""Random words on the command line, in a real process: exit code 0, 1 or 2, one line of complaint, and soon."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

CASES = int(os.environ.get("CROSSOVER_FUZZ_LINES", "12"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_FIT = "--law --loss --x --n --d --objective --where --heldout --at --by --starts --plot --cluster --delta --json"
_COMMANDS = {
    "plan": "--scale --study --detect --noise --power --json", "status": "--json", "diff": "--md --json --html --all",
    "report": "--figures --study", "fit": _FIT, "compare": "--x --loss --by --pair --at --where --cost --plot --json",
    "optimum": "--lr --batch --n --d --loss --where --json", "verify": "-k --study --tolerance --seed --json",
    "predict": "--x --n --d --loss --by --pair --at --runs --law --lodge --gate --name --check --score --json",
    "keep": "--x --loss --by --pair --at --where --cost --worth --noise --level --miss --log --of --study --json",
    "advise": "--n --d --x --loss --candidates --cost --at --budget --by --pair --study --scale --json",
    "accept": "--verify --study --tolerance", "doctor": "--deep --json", "gc": "--days",
}  # fmt: skip
_VALUES = [
    "runs.csv", "empty.csv", "broken.parquet", "nowhere.csv", "..", "/", "params.yaml", "x", "flops", "loss", "recipe",
    "N=1e9", "N=", "0", "-1", "1e999", "nan", "9" * 40, "pocket", "paper", "lr_crossover", "lr_crossover-pocket", "all",
    "", " ", "<script>", "`", "loss > 3", "loss >", "__import__('os')", "a" * 3000, "\U0001f642", "--", "-x", "HEAD",
    "HEAD~99", "--output=x", "chinchilla", "power", "huber_log", "out.png", "out.xyz", "nowhere/out.svg", "*", "$(id)",
    ";", "\n", "%s", "{}",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    rows = [
        f"{10**power},{3 - 0.2 * power + 0.01 * seed},{name},{seed}"
        for power in range(5)
        for seed in range(2)
        for name in "ab"
    ]
    (folder / "runs.csv").write_text("flops,loss,recipe,seed\n" + "\n".join(rows) + "\n")
    (folder / "empty.csv").write_text("")
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    return folder


@pytest.mark.parametrize("case", range(CASES))
def test_words_at_random(folder: Path, case: int) -> None:
    generator = random.Random(case)
    command = generator.choice(sorted(_COMMANDS))
    words = [command]
    words += ["a", "b"] if command == "keep" else []
    if command in ("keep", "fit", "compare", "optimum", "predict", "advise") and generator.random() < 0.8:
        words.append(generator.choice(_VALUES[:6]))
    for _ in range(generator.randint(0, 5)):
        option = generator.choice(_COMMANDS[command].split())
        words.append(option)
        if (
            option not in ("--json", "--md", "--all", "--deep", "--lodge", "--check", "--score")
            or generator.random() < 0.1
        ):
            words.append(generator.choice(_VALUES))
    done = subprocess.run(
        [sys.executable, "-m", "crossover", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = (0, 3, 4) if command == "keep" else (0,)
    assert done.returncode in (*said, 1, 2), (words, done.stderr[-500:])
    assert "Traceback" not in done.stderr, (words, done.stderr[-1500:])
    if done.returncode not in said:
        assert done.stderr.strip(), words
