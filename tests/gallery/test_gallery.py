"""The gallery: every command that it shows prints what it shows; its outcomes are counted from the rows held back."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.blocks import fences
from tests.docs.test_answers import NUMBER, alike
from tests.gallery.entries import ENTRIES
from tests.gallery.making import DOCS, make, page

BLOCKS = fences("gallery.md")
SHOWN = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(ENTRIES)), ids=[entry.name for entry in ENTRIES])
def test_the_command_prints_and_draws_what_is_shown(place: int, tmp_path: Path) -> None:
    (language, command), (_, lines) = SHOWN[place]
    assert language == "sh"
    script = re.sub("^crossover", f"{sys.executable} -m crossover", command).replace("answer.svg", f"{tmp_path}/a.svg")
    done = subprocess.run(["bash", "-ec", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line for line in lines.splitlines() if not any(alike(line, other) for other in said)] == []
    shapes = [len(re.findall("<path", path.read_text())) for path in (tmp_path / "a.svg", _figure(place))]
    assert shapes[0] == pytest.approx(shapes[1], abs=12)  # ticks may fall elsewhere


def _figure(place: int) -> Path:
    return DOCS / f"gallery/{ENTRIES[place].name}.svg"


def test_outcomes_are_those_of_the_rows_held_back() -> None:
    now, shown = page([make(entry) for entry in ENTRIES]), (DOCS / "gallery.md").read_text()
    assert NUMBER.sub("#", now).split() == NUMBER.sub("#", shown).split()
    assert len(re.findall(r"^\*\*What happened\*\*", shown, re.MULTILINE)) == len(ENTRIES) >= 10


def test_abstentions_and_misses_are_shown_as_such() -> None:
    text = (DOCS / "gallery.md").read_text()
    outcomes = re.findall(r"^\| \[.*\| (right|\*\*wrong\*\*|abstained) \|$", text, re.MULTILINE)
    assert len(outcomes) == len(ENTRIES)
    assert {"right", "abstained"} <= set(outcomes)
    assert "outside the 90% interval" in text
    assert "not the one that looked better" in text
