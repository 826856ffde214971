"""A GPU for at most ten minutes: is the CUDA step right, how fast is it, and a slice of a real ladder.

    python -m tests.gpu pack [--study NAME...] [--miniature]   at home: text, plan and wheels into .gpu, under 48 MiB
    python -m tests.gpu run --out DIR [--miniature]   on the GPU machine, in a copy of the tree and of .gpu
    python -m tests.gpu take DIR                      at home: cells into the store, figures into data/benchmarks

The GPU machine needs Python 3.11 or later with torch, numpy, pyarrow and safetensors, and no network; what else
training imports travels as wheels. Phases, each a process with a deadline of its own, so that one that fails or hangs
costs itself only; what each found is in DIR/gpu.json as soon as it is known:

  look     ceilings of the card, and how the head's products depend on the vocabulary
  warm     compile all shapes side by side into one cache, while
  right    holds ten steps against float64 on the CPU, and
  bits     asks which runs have the same
  speed    tokens/s, utilisation and memory of our step and of a compiled nanoGPT-style loop, by turns in one process
  ladder   cells of the packed plans, whole seeds first, until the time is up
"""

import argparse
import sys
from pathlib import Path

FOLDER = Path(".gpu")
PHASES = ("look", "warm", "right", "bits", "speed", "ladder")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="prepare .gpu")
    packing.add_argument("--miniature", action="store_true")
    packing.add_argument("--study", nargs="+", default=["lr_crossover"], help="what to train, the first first")
    run = commands.add_parser("run", help="all phases, or some")
    run.add_argument("--out", type=Path, required=True, help="an empty folder for what is found")
    run.add_argument("--seconds", type=float, default=570.0, help="until everything is written")
    run.add_argument("--miniature", action="store_true", help="every phase in small, on a CPU too")
    run.add_argument("--only", nargs="+", choices=PHASES, default=PHASES, help="these phases, not all")
    run.add_argument("--phase", help="this one, in this process")
    run.add_argument(
        "--until", type=float, default=float("inf"), help="when that phase ends, in seconds of time.time()"
    )
    commands.add_parser("take", help="what came back").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        from tests.gpu.packing import pack

        pack(FOLDER, arguments.study, arguments.miniature)
    elif arguments.command == "take":
        from tests.gpu.taking import take

        take(FOLDER, arguments.folder)
    else:
        from tests.gpu.phases import run_all, run_one

        task = run_one if arguments.phase else run_all
        sys.exit(task(Path.cwd() if arguments.phase else FOLDER.resolve(), arguments))


if __name__ == "__main__":
    main()
