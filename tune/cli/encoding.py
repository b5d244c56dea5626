"""Paths that the environment's encoding cannot tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refkd.errors import RefKDError
from refkd.files import encodable


@contextmanager
def readable_paths() -> Iterator[None]:
    """Raise `RefKDError` where the command's words or folder are no text, or the body meets such.

    Under LC_ALL=C with Python's UTF-8 mode switched off every character beyond ASCII is.
    """
    encoding = sys.getfilesystemencoding()
    told = "set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
    for text in (_folder(), *sys.argv):
        if not encodable(text):
            shown = text.encode("ascii", "replace").decode()
            what = "rename it" if encoding == "utf-8" else told
            raise RefKDError(f"{shown}: is no text in the encoding {encoding}; {what}")
    try:
        yield
    except UnicodeError as error:
        if encoding == "utf-8":
            raise
        raise RefKDError(f"a path or a text is no {encoding}: {error}; {told}") from None


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # removed meanwhile, which not every command minds
        return ""
