"""Anybody's training logs as a table of runs that `fit`, `compare` and `optimum` read.

`find_runs` reads files and folders of Weights & Biases, TensorBoard, Hugging Face and plain tables, without their
libraries; `propose` makes one row per run and guesses which column is what, each guess with its evidence;
`write_table` writes it.
"""

from crossover.logs.finding import find_runs
from crossover.logs.naming import read_names
from crossover.logs.picking import Take, parse_take
from crossover.logs.proposal import Choice, Proposal, propose
from crossover.logs.writing import require_writable, write_table

__all__ = [
    "Choice", "Proposal", "Take", "find_runs", "parse_take", "propose", "read_names", "require_writable", "write_table",
]  # fmt: skip
