"""From video files to features: frames at a steady rate, and a network that describes them."""

from __future__ import annotations

from importlib.util import find_spec

from refkd.errors import DataError


def require(package: str) -> None:
    """Raise `DataError` where a package is missing that only video files need."""
    if find_spec(package) is None:
        raise DataError(f"{package} is missing, which reads videos: pip install 'refkd[extract]'")
