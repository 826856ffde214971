"""Bombs: a few megabytes that unpack to gigabytes are one line, and cost no memory."""

import gzip
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from crossover.base.errors import UsageError
from crossover.logs import find_runs
from crossover.runs.table import read_runs

_GIB = 1 << 30


def bomb(path: Path) -> Path:
    """Three gibibytes of one row again and again, or of one value."""
    if path.suffix == ".parquet":
        pieces = pa.chunked_array([pa.array([1.0] * (1 << 16))] * 6144)
        pa.parquet.write_table(pa.table({"loss": pieces}), path)
        return path
    row = b"1e18,2.5\n" * (1 << 17)
    if path.suffix == ".gz":
        with gzip.open(path, "wb", compresslevel=9) as file:
            file.write(b"flops,loss\n")
            for _ in range(3 * _GIB // len(row)):
                file.write(row)
    else:
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(b"flops,loss\n")
            for _ in range(3 * _GIB // len(row)):
                file.write(row)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.parquet", "a.jsonl.gz"])
def test_a_bomb_is_one_line_and_costs_no_memory(tmp_path: Path, name: str) -> None:
    path = bomb(tmp_path / name)
    assert path.stat().st_size < 20e6
    code = f"from crossover.cli.app import main; import sys; sys.argv = ['crossover', 'compare', {str(path)!r}]; main()"
    room = (6 * _GIB, 6 * _GIB)  # of addresses, which libraries take a lot of
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, room),
    )  # fmt: skip
    assert done.returncode == 2
    assert "unpacks to more than 2 GiB" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(UsageError, match="unpacks to more than 2 GiB"):
        find_runs([path])


def test_a_table_is_no_bomb(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write(b"flops,loss\n" + b"1e18,2.5\n1e19,2.4\n")
    assert len(read_runs(tmp_path / "a.csv.gz").table) == 2
