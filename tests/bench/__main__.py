"""`make bench`: every part in a process of its own, ratios within one run; or the parts that are named.

    python -m tests.bench [training] [grid] [tokens] [laws] [books] [start] [flow] [page] [logs]
    python -m tests.bench training --against REV [--batch 4]      our step beside that of another commit

What each measures is said at the top of its module. `make gpu` is for a GPU.
"""

import subprocess
import sys

PARTS = ("training", "grid", "tokens", "laws", "books", "start", "flow", "page", "logs")


def main() -> None:
    """Run the parts; a failing one does not keep the others from running."""
    words = sys.argv[1:]
    if words[:1] == ["training"] and len(words) > 1 and words[1].startswith("--"):
        raise SystemExit(subprocess.call([sys.executable, "-m", "tests.bench.against", *words[1:]]))
    chosen = words or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    failed = [part for part in chosen if subprocess.call([sys.executable, "-m", f"tests.bench.{part}"])]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
