"""The command line as a whole: help, width, examples, extras that are missing, readers that leave."""

import inspect
import os
import pty
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossover.base.extras import EXTRAS
from crossover.cli.app import GROUPS, app
from tests.conftest import REPOSITORY

COMMANDS = {command.__name__.rstrip("_"): command for group in GROUPS for command in group.commands}
NO_JSON = {"serve"}


def in_terminal(columns: int, *words: str) -> str:
    """What a terminal so wide shows."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "LINES": "50", "TERM": "xterm"}
    command = [sys.executable, "-m", "crossover", *words]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment, cwd=REPOSITORY)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed
        pass
    process.wait()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_help_is_in_groups_with_an_example_each() -> None:
    shown = CliRunner().invoke(app, ["-h"]).stdout
    for group in GROUPS:
        part = shown.split(f"{group.title}:", 1)[1]
        assert part.index("$ crossover ") < len(part.split(":\n", 1)[0])
        for command in group.commands:
            assert re.search(rf"^  {command.__name__.rstrip('_')} ", part, re.MULTILINE)
    assert "Which of two recipes wins along x, and where they cross." in shown  # a first sentence that has room
    assert "Options:" in shown
    assert "--install-completion" in shown


def test_a_command_has_one_line_of_the_help() -> None:
    shown = in_terminal(80, "--help").splitlines()
    for group in GROUPS:
        first = shown.index(f"{group.title}:") + 1
        assert [line.split()[0] for line in shown[first : first + len(group.commands)]] == [
            command.__name__.rstrip("_") for command in group.commands
        ]


@pytest.mark.parametrize("columns", [80, 120])
def test_help_is_as_wide_as_the_terminal(columns: int) -> None:
    for words in (["--help"], ["compare", "--help"]):
        widest = max(map(len, in_terminal(columns, *words).splitlines()))
        assert columns - 20 < widest <= columns


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_one_example_that_parses(name: str) -> None:
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(COMMANDS[name]) or "")
    examples = [text for text in paragraphs if text.startswith("crossover ")]
    assert len(examples) == 1
    _, word, *options = shlex.split(examples[0])
    assert word == name
    known = CliRunner().invoke(app, [name, "-h"]).stdout
    assert all(re.search(rf"(?<![\w-]){option}(?![\w-])", known) for option in options if option.startswith("-"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json_or_the_list_says_that_it_does_not(name: str) -> None:
    has = "as_json" in inspect.signature(COMMANDS[name]).parameters
    assert has == (name not in NO_JSON)
    text = (REPOSITORY / "docs/commands.md").read_text()
    assert "Every command but `serve` takes `--json`" in text


def test_examples_of_groups_use_what_there_is() -> None:
    for group in GROUPS:
        _, name, *options = shlex.split(group.example)
        known = CliRunner().invoke(app, [name, "-h"]).stdout
        assert all(option in known for option in options if option.startswith("-"))


def test_the_version_is_that_of_the_distribution() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"crossover {declared}\n"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    rows = [
        f"{10**power},{3 - 0.2 * power + 0.01 * seed},{name},{seed}"
        for power in range(5) for seed in range(300) for name in "ab"
    ]  # fmt: skip
    path = tmp_path / "runs.csv"
    path.write_text("flops,loss,recipe,seed\n" + "\n".join(rows) + "\n")
    return path


def test_a_reader_that_leaves_ends_it_quietly(runs: Path) -> None:
    words = f"{sys.executable} -m crossover compare {runs} --pair seed"
    for end in ("", " --json"):
        command = f"({words}{end}; echo code $? >&2) | true"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert done.stderr in ("code 0\n", "code 1\n")


def test_what_is_written_is_said_beside_the_answer(runs: Path) -> None:
    plot, page = runs.with_name("a.svg"), runs.with_name("a.html")
    command = [sys.executable, "-m", "crossover", "compare", str(runs), "--pair", "seed", "--json"]
    done = subprocess.run([*command, "--plot", plot, "--html", page], capture_output=True, text=True, check=True)
    assert done.stderr == f"written: {plot}\nwritten: {page}\n"
    assert done.stdout.startswith("{")
    assert plot.exists()
    assert page.exists()


def test_long_lines_wrap_at_words_in_a_terminal(runs: Path) -> None:
    shown = in_terminal(60, "compare", str(runs), "--pair", "seed", "--at", "x=1e5")
    assert max(map(len, shown.splitlines())) <= 60
    words = set(re.findall(r"[A-Za-z]{9,}", shown))
    whole = CliRunner().invoke(app, ["compare", str(runs), "--pair", "seed", "--at", "x=1e5"]).stdout
    assert words <= set(re.findall(r"[A-Za-z]{9,}", whole))


@pytest.mark.parametrize(("module", "extra", "words"), [
    ("altair", "plots", ["compare", "{}", "--plot", "a.png"]),
    ("vl_convert", "plots", ["compare", "{}", "--html", "a.html"]),
    ("ruamel", None, ["compare", "{}"]),
])  # fmt: skip
def test_a_missing_extra_is_named_in_one_line(runs: Path, module: str, extra: str | None, words: list[str]) -> None:
    code = f"import sys; sys.modules['{module}'] = None; from crossover.cli.app import main; main()"
    given = [word.replace("{}", str(runs)) for word in words]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    if extra is None:
        assert done.returncode == 0
    else:
        said = f"error: this needs the extra '{extra}' ({module} is not installed): pip install "
        assert (done.returncode, done.stderr) == (2, f"{said}'scaling-crossover[{extra}]'\n")


def test_the_extras_are_those_of_the_distribution() -> None:
    project: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = {
        extra: {re.split(r"[<>=\[]", need)[0] for need in needs if not need.startswith("scaling-crossover")}
        for extra, needs in project["optional-dependencies"].items()
    }
    modules = {"vl_convert": "vl-convert-python", "great_expectations": "great-expectations", "dvc_s3": "dvc-s3",
               "prefect_dask": "prefect-dask", "prefect_ray": "prefect-ray"}  # fmt: skip
    assert set(declared) == set(EXTRAS)
    for extra, needs in declared.items():
        assert needs <= {modules.get(name, name) for name in EXTRAS[extra]}
