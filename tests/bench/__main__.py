"""`make bench`: every part in a process of its own, ratios within one run; or the parts that are named.

    python -m tests.bench [training] [grid] [tokens] [laws] [books] [start] [flow] [page] [gpu]

What each measures is said at the top of its module. `gpu` runs only where there is one, unless it is named.
"""

import subprocess
import sys

import torch

PARTS = ("training", "grid", "tokens", "laws", "books", "start", "flow", "page", "gpu")


def main() -> None:
    """Run the parts; a failing one does not keep the others from running."""
    chosen = sys.argv[1:] or [part for part in PARTS if part != "gpu" or torch.cuda.is_available()]
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    failed = [part for part in chosen if subprocess.call([sys.executable, "-m", f"tests.bench.{part}"])]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
