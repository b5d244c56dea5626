"""How annotation files are laid out: one file a family, and the registry of all."""

from __future__ import annotations

from refkd.data.layouts import captions, charades_sta, didemo, qvhighlights, table
from refkd.data.layouts.record import Layout
from refkd.errors import DataError

_FAMILIES = (captions, charades_sta, qvhighlights, didemo, table)
LAYOUTS: dict[str, Layout] = {one.name: one for family in _FAMILIES for one in family.LAYOUTS}


def layout_of(name: str) -> Layout:
    """Return a layout by its name; `DataError` where there is none."""
    if name not in LAYOUTS:
        raise DataError(f"unknown layout {name!r}; give one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
