"""Every parser against broken files; `make fuzz` with 50,000 for each."""

import os
import tempfile
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossover.base.errors import CrossoverError
from tests.fuzz.parsers import EDITS, Edit, Parser, broken, parsers

CASES = int(os.environ.get("CROSSOVER_FUZZ", "150"))
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
PARSERS = parsers(_FOLDER)


@pytest.mark.timeout(7200 if CASES > 1000 else 300)
@pytest.mark.parametrize("name", PARSERS)
def test_a_value_or_one_line(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]

    @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(parser.examples), EDITS)
    def attempt(whole: bytes, edits: list[Edit]) -> None:
        read(parser, tmp_path / "in" / f"file{parser.suffix}", broken(whole, edits))

    for whole in parser.examples:
        read(parser, tmp_path / "in" / f"file{parser.suffix}", whole)
    attempt()


def read(parser: Parser, path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    begun, complaint = time.process_time(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error" if parser.quiet else "ignore")
            parser.read(path)
    except CrossoverError as error:
        complaint = str(error)
    assert time.process_time() < begun + 5, "it hangs"
    assert "\n" not in complaint, "a complaint is one line"
    assert len(complaint) < 3000
