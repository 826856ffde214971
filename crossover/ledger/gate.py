"""A launch that is preregistered: what the loss must come to is in the ledger before the run, and the verdict after.

Written as `loss < 2.31`, and asked of the mean of each recipe's runs at the target. With the forecast stands how likely
it was to be met; which it was follows from what came, so nobody has to be trusted with it.
"""

import math
import re
from collections.abc import Mapping

from scipy import special

from crossover.answers.predict import Expected
from crossover.base.errors import UsageError
from crossover.ledger.body import Gate

_WRITTEN = re.compile(r"\s*loss\s*<\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def read_gate(text: str, expected: Mapping[str, Expected]) -> Gate:
    """The criterion, with each recipe's probability of meeting it. Raises `UsageError` for another form."""
    found = _WRITTEN.fullmatch(text)
    if not found:
        raise UsageError(f"--gate '{text}' is no criterion; write it as 'loss < 2.31'")
    limit = float(found[1])
    if not math.isfinite(limit):
        raise UsageError(f"--gate '{text}': {found[1]} is no number that a loss can have")
    p = {name: float(special.ndtr((limit - item.value) / item.sd)) for name, item in expected.items()}
    return Gate(below=limit, p=p)
