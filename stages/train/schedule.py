"""The learning rate of every step."""

import math

from stages.study.cell import Cell


def learning_rates(cell: Cell) -> list[float]:
    """One rate per step: linear warmup to the peak, then a half cosine to `final_lr`, or constant."""
    return [_rate(cell, step) for step in range(cell.steps)]


def _rate(cell: Cell, step: int) -> float:
    if step < cell.warmup_steps:
        return cell.lr * (step + 1) / cell.warmup_steps
    if cell.schedule == "constant":
        return cell.lr
    floor = min(cell.final_lr, cell.lr)
    progress = (step - cell.warmup_steps + 1) / (cell.steps - cell.warmup_steps)
    return floor + (cell.lr - floor) * 0.5 * (1 + math.cos(math.pi * progress))
