"""Bugs drawn by `draw.py`, each planted in a copy of the source; the tests that run its line must fail.

    python -m tests.mutants.drawn drawn.jsonl coverage/ found.jsonl [part of parts]

`coverage/` holds data of coverage.py with a context per test, as `cover.py` leaves it. A bug on a line that no test
runs is asked of all tests that run its file. A line of JSON per bug: what it was, and the test that caught it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY
from tests.mutants.__main__ import lay_out

ROOMS = ("crossover", "stages", "flows")
SLOW = {
    "flows/server.py": "tests/flows/test_server.py", "flows/slurm.py": "tests/end_to_end/test_slurm.py",
    "flows/workspace.py": "tests/flows/test_workspace.py", "flows/scheduled.py": "tests/flows/test_scheduled.py",
    "flows/pipeline.py": "tests/end_to_end/test_flows.py", "flows/runners.py": "tests/end_to_end/test_flows.py",
    "flows/artifacts.py": "tests/end_to_end/test_flows.py", "flows/grid.py": "tests/end_to_end/test_flows.py",
    "flows/commands/report.py": "tests/end_to_end/test_dvc.py",
    "flows/commands/diff.py": "tests/end_to_end/test_diff.py",
    "stages/cells/together.py": "tests/cells/test_together.py",
    "stages/cells/assemble.py": "tests/end_to_end/test_care.py", "crossover/runs/unpacking.py": "tests/runs",
}  # fmt: skip
"""Slow tests, which are not measured: what they alone run."""
_FEW = 30
_SECONDS = (240.0, 80.0)
"""For the few, which take seconds: who is not done by then never will be. For the many: a bug that they have not found
by then is taken to have survived."""


def contexts(folder: Path) -> dict[str, dict[int, set[str]]]:
    """By file and line: the tests that ran it, as pytest names them without parameters."""
    from coverage import CoverageData

    found: dict[str, dict[int, set[str]]] = {}
    for path in sorted(folder.iterdir()):
        data = CoverageData(str(path))
        data.read()
        for measured in data.measured_files():
            if match := _inside(measured):
                lines = found.setdefault(match, {})
                for line, names in data.contexts_by_lineno(measured).items():
                    lines.setdefault(line, set()).update(filter(None, map(_node, names)))
    return found


def _inside(path: str) -> str | None:
    """The part of a path, here or in a copy of the project, that is a file of ours."""
    parts = path.split("/")
    ends = ["/".join(parts[i:]) for i, part in enumerate(parts) if part in ROOMS]
    return next((end for end in ends if (REPOSITORY / end).exists()), None)


def _node(context: str) -> str | None:
    """`tests.a.test_b.test_c`, or `tests/a/test_b.py::test_c[x] (call)`, as `tests/a/test_b.py::test_c`."""
    if "::" in context:
        return context.partition("[")[0].partition(" (")[0]
    module, _, name = context.rpartition(".")
    ours = module.startswith("tests.") and name.startswith("test_")
    return f"{module.replace('.', '/')}.py::{name}" if ours else None


def chosen(bug: dict[str, Any], ran: dict[str, dict[int, set[str]]]) -> Iterator[list[str]]:
    """Tests in the order in which to ask: few of its own room, then all that run the line, or the file at import."""
    lines = ran.get(bug["file"], {})
    covering = lines.get(bug["line"], set()) or {name for names in lines.values() for name in names}
    covering |= {name for start, names in SLOW.items() if bug["file"].startswith(start) for name in names.split()}
    own = sorted(covering, key=lambda name: (bug["file"].split("/")[1] not in name, name))
    yield own[:_FEW]
    yield own[_FEW:]


def caught(bug: dict[str, Any], ran: dict[str, dict[int, set[str]]], left_out: set[str]) -> str:
    """The first test that fails, `timeout`, or nothing."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        lay_out(Path(folder))
        (Path(folder) / bug["file"]).write_text(bug["source"])
        for tests, seconds, late in zip(chosen(bug, ran), _SECONDS, ("timeout", ""), strict=True):
            asked = [name for name in tests if name not in left_out]
            if asked and (found := _failing(folder, asked, seconds, late)):
                return found
    return ""


def _failing(folder: str, tests: list[str], seconds: float, late: str) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": folder}
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=seconds,
            start_new_session=True,  # a bug may kill its group
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return late
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode == 4 and "not found: " in done.stderr:
        raise RuntimeError(f"pytest found no such test: {done.stdout[-500:]}{done.stderr[-500:]}")
    return failed[0] if failed else "" if done.returncode in (0, 5) else f"exit code {done.returncode}"


def main() -> None:
    """Plant every one of this part."""
    drawn, coverage, out, *part = sys.argv[1:]
    number, parts = (int(part[0]), int(part[1])) if part else (0, 1)
    bugs = [json.loads(line) for line in Path(drawn).read_text().splitlines()][number::parts]
    ran = contexts(Path(coverage))
    left_out = set(os.environ.get("LEFT_OUT", "").split())
    done = Path(out).read_text().count("\n") if Path(out).exists() else 0
    with Path(out).open("a") as file:
        for bug in bugs[done:]:
            result = {
                **{name: value for name, value in bug.items() if name != "source"},
                "by": caught(bug, ran, left_out),
            }
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(f"{bug['file']}:{bug['line']} {bug['was']} -> {bug['is']}: {result['by'] or 'SURVIVED'}", flush=True)


if __name__ == "__main__":
    main()
