"""Numbers as people write them: 1e22, not 1e+22."""

import re

_EXPONENT = re.compile(r"e\+?(-?)0*(\d)")


def chance(p: float) -> str:
    """A probability with what joins it to its name, never rounded to certainty: `= 0.578`, `above 0.999`."""
    return "above 0.999" if p > 0.999 else "below 0.001" if p < 0.001 else f"= {p:.3f}"


def short(value: float, digits: int = 3, sign: str = "") -> str:
    """So many significant digits; `sign` is `+` where a positive number shows one.

    >>> short(1e22), short(0.000031), short(0.5, sign="+")
    ('1e22', '3.1e-5', '+0.5')
    """
    return _EXPONENT.sub(r"e\1\2", f"{value:{sign}.{digits}g}")
