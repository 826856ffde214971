"""Which test runs which line, in this process and in those that tests start: data for `drawn.py`.

    python -m tests.mutants.cover coverage/ -m "not slow" tests/laws ...

Needs coverage.py (`uv pip install coverage`). Every process writes a file of its own into the folder. A child knows its
test from the environment that pytest sets; that it measures at all is due to a line in the environment's site-packages,
which is taken out again at the end. Tests that start processes by `forkserver` hang under it: leave them out (-k).
"""

import os
import sys
import sysconfig
from pathlib import Path

_SETTINGS = """[run]
parallel = True
data_file = {folder}/{kind}
include =
    */crossover/*
    */stages/*
    */flows/*
omit =
    */site-packages/*
    */tests/*
sigterm = True
patch = _exit
{context}
"""
_CONTEXTS = {"here": "dynamic_context = test_function", "child": "context = ${PYTEST_CURRENT_TEST-none}"}
_LINE = (
    "import os; exec('import coverage; coverage.process_startup()') if 'COVERAGE_PROCESS_START' in os.environ else 0\n"
)


def main() -> int:
    """Run pytest with the words after the folder."""
    import coverage
    import pytest

    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {kind: folder.with_name(f"{folder.name}-{kind}.rc") for kind in _CONTEXTS}
    for kind, path in settings.items():
        path.write_text(_SETTINGS.format(folder=folder, kind=kind, context=_CONTEXTS[kind]))
    hook = Path(sysconfig.get_paths()["purelib"]) / "measured_children.pth"
    hook.write_text(_LINE)
    os.environ["COVERAGE_PROCESS_START"] = str(settings["child"])
    measured = coverage.Coverage(config_file=str(settings["here"]))
    measured.start()
    try:
        return int(pytest.main(["-p", "no:cacheprovider", *sys.argv[2:]]))
    finally:
        measured.stop()
        measured.save()
        hook.unlink()


if __name__ == "__main__":
    sys.exit(main())
