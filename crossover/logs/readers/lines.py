"""Text that training programs print, a line per logging, as of nanoGPT, modded-nanogpt, llm.c and torchtitan.

A line counts where it names a step and a loss (or what belongs to one) by the words those programs print:

    step 250: train loss 1.9625, val loss 2.0594            iter 250: loss 1.9623, time 12.5ms, mfu 1.2%
    step:125/5100 val_loss:4.5678 train_time:24710ms        s:250 tel:6.4632
    step 20/19560 | loss 10.8234 (+nanz)| norm 4.2 | lr 1.2e-05 | 305.6 ms    step: 10  loss:  8.1234  grad_norm: 1.2
"""

import re
from pathlib import Path

from crossover.base.errors import DamageError
from crossover.logs.launches import join
from crossover.logs.logged import LoggedRun

SUFFIXES = (".log", ".txt", ".out")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|[-+]?inf"
_STEP = re.compile(r"(?:^|[\s\]|])(?:step|iter|iteration|s)[\s:=]\s*(\d+)(?:\s*/\s*\d+)?\b", re.IGNORECASE)
_METRIC = re.compile(
    rf"(?:^|(?<=[\s,|]))((?:train|training|val|valid|validation|eval|test|lm)[\s_/]loss|loss|tel|trl|lr|learning[\s_]rate|"
    rf"(?:grad[\s_])?norm)\s*[:=]?\s*({_NUMBER})(?![\w.])",
    re.IGNORECASE,
)
_NAMES = {"tel": "val_loss", "trl": "train_loss", "norm": "grad_norm"}
_ALONE = re.compile(rf"\s*val loss\s+({_NUMBER})\s*", re.IGNORECASE)


def is_lines(path: Path) -> bool:
    """Whether the name is that of printed text."""
    return path.suffix.lower() in SUFFIXES


def read_lines(path: Path) -> list[LoggedRun]:
    """The runs of a file of printed lines. Raises `DamageError` where fewer than two name a step and a loss."""
    run, last, lines = LoggedRun(path.stem, path), 0.0, 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            plain = _COLOURS.sub("", line[:2000])
            if alone := _ALONE.fullmatch(plain):  # llm.c prints it on a line of its own, after its step
                run.log(last, {"val_loss": float(alone[1])})
            elif (step := _STEP.search(plain)) and (found := _metrics(plain)):
                last = float(step[1])
                run.log(last, found)
                lines += 1
    if lines < 2 or not any("loss" in name for name in run.curves):
        raise DamageError(f"{path} has no lines that name a step and a loss; leave it out")
    run.notes.append(f"read from {lines} printed lines, whose losses are rounded")
    return join([run])


def _metrics(line: str) -> dict[str, float]:
    found = {re.sub(r"[\s/]", "_", name.lower()): float(value) for name, value in _METRIC.findall(line)}
    return {_NAMES.get(name, name): value for name, value in found.items()}
