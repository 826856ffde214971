"""Tables of losses whose answer is planted, and a claim to ask of them."""

import json
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from stages.study.claims import Claim
from stages.verdicts.tables import Tables, with_axes

WIDTHS, PIVOT = (16, 24, 32, 48), 24


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Losses with what measurements read; a row gives recipe, width, seed, loss and what differs from the defaults."""
    filled = []
    for row in rows:
        fields = {
            "axes": "{}", "status": "done", "loss_init": 7.0, "n_spikes": 0, "lr": 0.01, "batch": 16,
            "loss_validation": row["loss"], "loss_seen": row["loss"] - 0.1, "loss_fresh": row["loss"],
            "loss_seen_se": 0.0, "loss_fresh_se": 0.0, "n_nonembedding": 24 * row["width"] ** 2,
            "tokens": 480 * row["width"] ** 2, "flops_6n": 6.0 * 24 * 480 * row["width"] ** 4,
        }  # fmt: skip
        fields |= {key: value for key, value in row.items() if key != "loss"}
        fields["axes"] = json.dumps(row.get("axes", {}), sort_keys=True)
        fields.setdefault("fingerprint", f"{row['recipe']}-{row['width']}-{row['seed']}-{fields['axes']}")
        if fields["status"] != "done":
            fields["loss_validation"] = fields["loss_seen"] = fields["loss_fresh"] = np.nan
        filled.append(fields)
    return with_axes(pd.DataFrame(filled))


def ladder(effect: dict[str, Any], seeds: int = 3, sd: float = 0.0, **fields: Any) -> list[dict[str, Any]]:
    """Rows of recipes whose loss is a power of width plus a seed's own shift plus the recipe's effect at the width."""
    generator = np.random.default_rng(0)
    return [
        {"recipe": name, "width": width, "seed": seed, **fields,
         "loss": 8 * width**-0.2 + 0.05 * seed + at(width) + sd * generator.normal()}
        for (name, at), width, seed in product(effect.items(), WIDTHS, range(seeds))
    ]  # fmt: skip


def tables(rows: list[dict[str, Any]], study: str = "s", fit: dict[str, Any] | None = None) -> Tables:
    return Tables({study: table(rows)}, {study: fit or {}})


def claim(**changes: Any) -> Claim:
    fields = {"statement": "b is better", "paper": "ours", "study": "s", "measure": "paired",
              "given": {"a": "a", "b": "b"}, "expects": "below"}  # fmt: skip
    return Claim.model_validate({**fields, **changes})
