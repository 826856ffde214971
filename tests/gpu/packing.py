"""At home, before: the text, the plan and the packages that a bare GPU machine lacks, in one folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from crossover.base.errors import UsageError
from tests.gpu.warming import SCALE

WHEELS = (
    "pydantic==2.14.3", "pydantic-core==2.50.4", "annotated-types==0.8.0", "typing-inspection==0.4.5",
    "typing-extensions==4.16.0", "ruamel.yaml==0.19.1",
)  # fmt: skip
PYTHON = "3.12"
MOST = 48 * 2**20
_SMALL: dict[str, Any] = {
    "corpus": "pydocs", "tokenizer": {"vocab_size": 512, "train_bytes": 200_000}, "shard_tokens": 16_384, "depth": 1,
    "widths": [16, 32], "head_dim": 8, "seq_len": 64, "batch": 4, "pivot": 16, "tokens": 6_400,
    "validation_tokens": 4_096, "seen_tokens": 2_048,
}  # fmt: skip


def pack(folder: Path, studies: Sequence[str], miniature: bool) -> None:
    """Make everything anew. Ends where the tree has changes: the plan's fingerprints speak of its source."""
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode:
        raise SystemExit("commit first: what is trained there must be of a commit")
    shutil.rmtree(folder / "data" / "studies", ignore_errors=True)
    folder.mkdir(exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    (folder / "commit").write_text(commit)
    _write_params(folder / "params.yaml", studies, miniature)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    for stage in (["stages.tokens"], *(["stages.cells", "plan", study, SCALE] for study in studies)):
        subprocess.run([sys.executable, "-m", *stage], cwd=folder, env=environment, check=True)
    _fetch_wheels(folder / "wheels")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB")
    if size > MOST:
        raise UsageError(f"{folder} is larger than {MOST / 2**20:.0f} MiB; a shorter text or fewer shards would help")
    print(f"next, on the GPU machine, in a copy of this tree with {folder}: make gpu OUT=found")
    print("then, here: make gpu-take DIR=found")


def _write_params(path: Path, studies: Sequence[str], miniature: bool) -> None:
    """The project's, with these studies active."""
    yaml = YAML()
    params = yaml.load(Path("params.yaml"))
    params["active"] = {f"{study}-{SCALE}": {"study": study, "scale": SCALE} for study in studies}
    if miniature:
        params["scales"][SCALE].update(_SMALL)
        for study in studies:
            params["studies"][study]["seeds"] = 1
    for corpus in params["corpora"].values():
        if "path" in corpus and Path(corpus["path"]).is_dir():
            corpus["path"] = str(Path(corpus["path"]).resolve())
    yaml.dump(params, path)


def _fetch_wheels(folder: Path) -> None:
    """Those of Linux on x86-64 and Python 3.12."""
    platforms = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    command += ["--python-version", PYTHON, "--implementation", "cp"]
    command += [word for name in platforms for word in ("--platform", f"{name}_x86_64")]
    subprocess.run([*command, *WHEELS], check=True)
