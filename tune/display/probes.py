"""A table of bias probes for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.table import Table

from tune.results.probe_rows import MEANING, PROBE_HEADS, probe_row


def probe_table(probes: Mapping[str, Mapping[str, Any]], named: Callable[[str], str]) -> Table:
    """Return a row a system; `named` makes a title of its name."""
    table = Table(title="Bias probes, mIoU", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("system", no_wrap=True)
    for head in PROBE_HEADS:
        table.add_column(head, justify="right")
    for system, found in probes.items():
        table.add_row(named(system), *probe_row(found))
    table.caption, table.caption_justify = MEANING, "left"
    return table
