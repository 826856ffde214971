"""Faults of every kind, a few before each recovery; `make chaos` puts in hundreds."""

import pytest

from tests.faults.__main__ import TOGETHER, inflict
from tests.faults.arena import Arena
from tests.faults.sharing import KINDS

NAMES = list(KINDS)
SOME = ["worker killed (SIGKILL, as by the kernel when memory is out)", "power cut at the n-th flush or rename",
        "checkpoint truncated, flipped or swapped with another cell's", "record with a flipped bit"]  # fmt: skip
ALL = [NAMES[first : first + TOGETHER] for first in range(0, len(NAMES), TOGETHER)]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    made = Arena(tmp_path_factory.mktemp("faults"))
    if made.shim is None:
        pytest.skip("needs Linux and a C compiler")
    return made


@pytest.mark.parametrize(
    "together", [SOME, *(pytest.param(names, marks=pytest.mark.long) for names in ALL)], ids="; ".join
)
def test_faults_are_survived(arena: Arena, together: list[str]) -> None:
    inflict(arena, together)
