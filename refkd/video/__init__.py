"""From video files and sentences to features, by networks that describe them."""

from __future__ import annotations

from importlib.util import find_spec

from refkd.errors import DataError


def require(package: str) -> None:
    """Raise `DataError` where a package is missing that only making features needs."""
    if find_spec(package) is None:
        raise DataError(
            f"{package} is missing, which makes features: pip install 'refkd[extract]'"
        )
