"""The names that are ours: fingerprints, and the files of a cell.

No other is read, copied, touched or deleted, whatever a record, a plan or the listing of a remote names.
"""

import re

RECORD = "record.json"
FILES = ("curve.parquet", "weights.safetensors")
"""What a record may name, beside itself."""
WORK = "work"
_UNFINISHED = ("checkpoint.safetensors", "failure.json", WORK)

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_EVALUATION = re.compile(r"evaluation-[0-9a-f]{16}\.json")
_DRAFT = re.compile(r"\.(?P<of>.+)\.[0-9]+-[0-9a-f]+\.tmp")


def is_fingerprint(name: str) -> bool:
    """Whether this can be the fingerprint of a cell, and so the name of its folder."""
    return _FINGERPRINT.fullmatch(name) is not None


def is_evaluation(name: str) -> bool:
    """Whether a file so named holds losses of a cell."""
    return _EVALUATION.fullmatch(name) is not None


def travels(name: str) -> bool:
    """Whether a file so named belongs to a finished cell, and goes with it from store to store."""
    return name == RECORD or name in FILES or is_evaluation(name)


def draft_of(name: str) -> str | None:
    """What a temporary file of `crossover.base.files.replacing` was to become; None for any other name."""
    found = _DRAFT.fullmatch(name)
    return found["of"] if found else None


def is_cell_file(name: str) -> bool:
    """Whether we may have written that into the folder of a cell, finished or not."""
    name = draft_of(name) or name
    return travels(name) or name in _UNFINISHED
