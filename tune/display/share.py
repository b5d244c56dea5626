"""What one trial takes, and the lines of the study file that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

if TYPE_CHECKING:
    from tune.execution.capacity import Share


def show_share(console: Console, share: Share) -> None:
    """Print what was measured, how many fit, and what to write into the study."""
    taken = share.taken
    on_gpu = taken.device != "cpu"
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("student", f"{taken.parameters:,} parameters, the largest of those drawn")
    table.add_row("batch", f"{taken.pairs} pairs of {taken.clips} clips, the longest there are")
    table.add_row("a step", f"{1000 * taken.step_seconds:.3g} ms")
    table.add_row("memory", f"{decimal(taken.memory)} of {decimal(taken.capacity)}")
    if on_gpu:
        table.add_row(taken.device, f"computes {taken.busy:.0%} of the time")
    console.print(table)
    place, time = ("a GPU", "time") if on_gpu else ("a machine", "cores")
    if share.trials == 0:
        console.print(
            f"not even one trial fits on {place}: make the batches or the network smaller"
        )
        return
    console.print(
        f"{share.trials} at a time fit on {place} (by memory {share.by_memory}, by {time} "
        f"{share.by_time}). In the study file:",
        highlight=False,
    )
    console.print(
        f"resources: {{cpu: {share.resources.cpu:g}, gpu: {share.resources.gpu:g}}}\n"
        f"workers: {share.workers}",
        highlight=False,
    )
