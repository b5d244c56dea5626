"""Numbers as cluster files write them: Ray's, a shell's, and Kubernetes' quantities."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}
_DECIMAL |= {letter: 1000.0**power for power, letter in enumerate("MGTPE", 2)}
_BINARY = {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}


def whole(value: object) -> int | None:
    """Return a whole number that YAML read as one; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """Return a number, written as text or not; None for anything else.

    >>> number(4), number("0.5"), number("two"), number("$(nproc)"), number(True)
    (4.0, 0.5, None, None, None)
    """
    found = _NUMBER.fullmatch(str(value))
    return float(found[0]) if found else None


def quantity(value: object) -> float | None:
    """Return a quantity of Kubernetes in its unit; None where it is none.

    >>> quantity("200m"), quantity("2Ki"), quantity(4), quantity("16GB"), quantity("4 cores")
    (0.2, 2048.0, 4.0, None, None)
    """
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        return None
    amount, unit = found.groups()
    if unit and unit[1:] and unit not in _BINARY:  # an exponent
        return float(f"{amount}{unit}")
    return float(amount) * (_DECIMAL | _BINARY).get(unit or "", 1.0)
