"""Rules of the house: the README draws the tree, every room says what belongs in it, nothing is long by accident."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.conftest import REPOSITORY

STOREYS = ("crossover", "stages", "flows")
QUESTIONS = ("advise", "allocate", "compare", "fit", "foresee", "keep")
LONG_STORIES = {"stages/train/loop.py train", *(f"crossover/api/{name}.py {name}" for name in QUESTIONS)}
"""The training loop reads from top to bottom; most lines of the questions say what their arguments are."""
MOST_FILES = 12


def sources() -> Iterator[tuple[str, str]]:
    for storey in STOREYS:
        for path in sorted((REPOSITORY / storey).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), path.read_text()


def rooms(storey: str) -> set[str]:
    return {path.parent.name for path in (REPOSITORY / storey).glob("*/__init__.py")}


def test_the_tree_of_the_readme_is_the_tree() -> None:
    text = (REPOSITORY / "README.md").read_text()
    tree = text.split("## The tree", 1)[1].split("```", 2)[1]
    drawn: dict[str, set[str]] = {}
    storey = ""
    for line in tree.splitlines():
        if match := re.match(r"( *)([\w./]+?)/? ", line):
            indent, name = match.groups()
            if indent:
                drawn[storey].add(name)
            else:
                storey = name
                drawn[storey] = set()
                assert (REPOSITORY / name).exists(), name
    for storey in STOREYS:
        assert drawn[storey] == rooms(storey)


def test_every_room_and_module_says_what_it_is_for() -> None:
    silent = [name for name, text in sources() if not ast.get_docstring(ast.parse(text))]
    assert not silent


def test_only_stated_stories_are_long() -> None:
    long = {name for name, text in sources() if len(text.splitlines()) > 400}
    for name, text in sources():
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        long |= {f"{name} {node.name}" for node in functions if node.end_lineno and node.end_lineno - node.lineno >= 60}
    assert long == LONG_STORIES


def test_no_room_is_crowded() -> None:
    """A folder of more than a dozen files is two."""
    places = [REPOSITORY / storey for storey in STOREYS]
    folders = [path.parent for place in places for path in place.rglob("__init__.py")]
    files = {path: [file.name for file in path.glob("*.py") if not file.name.startswith("__")] for path in folders}
    assert not {path.name: len(names) for path, names in files.items() if len(names) > MOST_FILES}


def test_what_is_offered_is_documented() -> None:
    """Every name of an `__all__` says what it is."""
    for name in ("crossover", "crossover.logs"):
        module = importlib.import_module(name)
        silent = [item for item in module.__all__ if not getattr(module, item).__doc__]
        assert not silent, name


def test_tests_mirror_the_rooms() -> None:
    known = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}
    untested = {room for storey in STOREYS for room in rooms(storey)} - known
    assert untested <= {"belief", "plots"}  # whose tests are those of the answers and of the report


def test_the_library_brings_nothing_of_the_pipeline() -> None:
    """Whoever imports it loads neither torch nor a stage."""
    rooms_of = [f"crossover.{room}" for room in sorted(rooms("crossover"))]
    code = (
        "import importlib, pkgutil, sys\n"
        f"for room in {rooms_of}:\n"
        "    for item in pkgutil.iter_modules(importlib.import_module(room).__path__):\n"
        "        if item.name != 'app': importlib.import_module(f'{room}.{item.name}')\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in\n"
        "    ('torch', 'stages', 'flows', 'prefect', 'dvc', 'datasets', 'great_expectations')))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"
