"""Whether dvc.lock is that of the committed source: what `dvc repro` would run, found out without any data.

python -m flows.studies.stale     exit code 1 where a stage is stale, each named
"""

import re
import subprocess
import sys

_STAGE = re.compile(r"Running stage '([^']+)'")


def stale_stages() -> list[str]:
    """Stages that `dvc repro` would run, data that lies elsewhere taken as unchanged."""
    command = ["dvc", "--wait-for-lock", "repro", "--allow-missing", "--dry"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stderr.strip()}")
    return _STAGE.findall(done.stdout + done.stderr)


def main() -> None:
    """Say what is stale."""
    stale = stale_stages()
    if stale:
        names = ", ".join(stale)
        sys.exit(f"error: {len(stale)} stages are stale: {names}; run `dvc repro`, commit dvc.lock and results")
    print("results are those of this source")


if __name__ == "__main__":
    main()
