"""What is scanned: the candidates, and params.yaml with studies and scales for them.

The rule, written before the scan was run. Each candidate gets at its pivot the rate with the least mean loss over three
seeds, by half octaves, from inside the grid; a scale is fit for the questions if

* attention matters: without its output a trained model of the largest width loses at least 0.1 nats;
* all cells of `lr_crossover` train in no more time than at the scale before it, on the same machine.

Of those that are fit, the one with the largest effect above the pivot over the difference that its seeds detect, for
the same training time. Seeds 0 to 9 choose; the studies are measured from seed 100 on.

`desk` has one candidate, whose size and text were given: two layers, widths to 96, tokens of pydocs that pass once.
Its decay, times the steps at its pivot, is that of `pocket`. Its rate alone is chosen, by the same rule.
"""

from collections.abc import Callable, Iterable
from typing import Any

CANDIDATES: dict[str, dict[str, Any]] = {  # of pocket
    "a": {"depth": 1, "vocab": 1024, "tokens_per_parameter": 40},
    "b": {"depth": 2, "vocab": 512, "tokens_per_parameter": 20},
    "c": {"depth": 1, "vocab": 512, "tokens_per_parameter": 40},
    "d": {"depth": 2, "vocab": 512, "tokens_per_parameter": 40},
}
DESK: dict[str, dict[str, Any]] = {
    "desk": {"depth": 2, "vocab": 1024, "tokens_per_parameter": 20, "widths": [16, 32, 48, 64, 96], "pivot": 32,
             "head_dim": 16, "seq_len": 128, "weight_decay": 0.0016},
}  # fmt: skip
EVERY = CANDIDATES | DESK
COMMON = {
    "corpus": "pydocs", "shard_tokens": 131072, "widths": [16, 24, 32, 48], "pivot": 24, "head_dim": 8, "seq_len": 64,
    "batch": 4, "beta2": 0.995, "warmup": 0.2, "weight_decay": 0.0015, "validation_tokens": 64000, "seen_tokens": 48000,
    "study_hours": 5.0,
    "machine": {"name": "2 CPU cores", "flops_per_second": 1.2e11, "step_seconds": 0.001, "cells_at_once": 2},
}  # fmt: skip
OCTAVES = [-3, -3.5, -4, -4.5, -5, -5.5, -6, -6.5, -7]
BATCHES = [0.25, 0.5, 1, 2, 4]
INVERSE = {"label": "LR ~ 1/D", "lr": {"exponent": -1}}
SEEDS = 6


def studies(chosen: dict[str, float]) -> dict[str, Any]:
    """The rate at the pivot; then, of candidates that have one, the ladder."""
    plain = {"label": "no QK-Norm, constant", "qk_norm": False}
    return {
        "rate": {"title": "Rate", "seeds": 3, "rungs": [2], "recipes": {"constant": {}},
                 "axes": {"lr_octaves": OCTAVES}},
        "ladder": {
            "title": "Ladder", "seeds": SEEDS, "pairs": [["constant", "inverse"], ["plain", "inverse_plain"]],
            "recipes": {"constant": {}, "inverse": INVERSE, "plain": plain,
                        "inverse_plain": {**INVERSE, "label": "no QK-Norm, 1/D", "qk_norm": False}},
        },
        "batch": {
            "title": "Batch", "seeds": 2, "rungs": [3, 4], "recipes": {"fixed": {**INVERSE, "lr_batch_exponent": 0.5,
            "weight_decay": {"factor": 0}}}, "axes": {"batch_factor": BATCHES, "lr_octaves": [-1.0, 0.0, 1.0]},
        },
    }  # fmt: skip


def scale(name: str, lr: float, **changes: Any) -> dict[str, Any]:
    """A candidate with a rate."""
    what = {**EVERY[name], **changes}
    tokenizer = {"vocab_size": what.pop("vocab"), "train_bytes": 2000000}
    return {**COMMON, "tokenizer": tokenizer, "lr": lr, **what}


def declared(
    names: Iterable[str], corpora: dict[str, Any], rates: dict[str, float]
) -> Callable[[dict[str, Any]], None]:
    """Changes params: the rate of every candidate is scanned around 1; with rates, ladders and batches too."""

    def change(values: dict[str, Any]) -> None:
        scales = {name: scale(name, 1.0) for name in names}
        scales |= {f"{name}_tuned": scale(name, rate) for name, rate in rates.items()}
        active = [("rate", name) for name in names] + [
            (study, f"{name}_tuned") for name in rates for study in ("ladder", "batch")
        ]
        values.update(
            active={f"{study}-{scale}": {"study": study, "scale": scale} for study, scale in active},
            studies=studies(rates), scales=scales, corpora=corpora, claims={}, trainers={},
        )  # fmt: skip

    return change
