"""A Slurm of one machine: `sbatch`, `srun`, `sacct` and `scancel` as submitit calls them, run by this file's copies.

`sbatch` starts the array's tasks in the background, two at a time; states are files in $FAKE_SLURM.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
JOB = "1234"


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    (HOME / "script").write_text(text)
    last = int(re.search(r"--array=0-(\d+)", text)[1])  # type: ignore[index]
    print(f"Submitted batch job {JOB}")
    sys.stdout.flush()
    subprocess.Popen(
        [sys.executable, __file__, "array", script, str(last)], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def array(script: str, last: str) -> None:
    (HOME / "pid").write_text(str(os.getpid()))
    with ThreadPoolExecutor(2) as slots:
        list(slots.map(lambda number: _task(script, number), range(int(last) + 1)))


def _task(script: str, number: int) -> None:
    identity = {
        "SLURM_JOB_ID": str(5000 + number), "SLURM_ARRAY_JOB_ID": JOB, "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_PROCID": "0",
        "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "localhost",
    }  # fmt: skip
    state = HOME / f"state-{JOB}_{number}"
    state.write_text("RUNNING")
    done = subprocess.run(["bash", script], env={**os.environ, **identity}, check=False)
    state.write_text("COMPLETED" if done.returncode == 0 else "FAILED")


def srun(*words: str) -> None:
    """Everything from the first word that is no option or its value."""
    rest = list(words)
    while rest and rest[0].startswith("--"):
        rest = rest[2:] if rest[0] in ("--output", "--error") else rest[1:]
    os.execvp(rest[0], rest)


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")
    for path in sorted(HOME.glob("state-*")):
        print(f"{path.name.removeprefix('state-')}|{path.read_text()}|localhost")


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "array": array, "scancel": sacct}[sys.argv[1]](*sys.argv[2:])
