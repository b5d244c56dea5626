"""Tables of what a study has cost, and of what one will."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tune.results.bill import Bill
    from tune.simulation.plan import Plan


def show_bill(console: Console, bill: Bill) -> None:
    """Print a row an item, the total, and the cost of an epoch and of a point."""
    if not bill.rows:
        console.print(f"study {bill.study}: nothing was trained yet, so there is nothing to pay")
        return
    table = Table(title=f"Bill of {bill.study}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for head in ("trials", "epochs", "CPU seconds", "GPU seconds", bill.currency):
        table.add_column(head, justify="right")
    for row in [*bill.rows, bill.total]:
        if row is bill.total:
            table.add_section()
        counts = (str(row.trials or ""), str(row.epochs or ""))
        amounts = (f"{row.cpu_seconds:.1f}", f"{row.gpu_seconds:.1f}", f"{row.money:.4f}")
        table.add_row(row.item, *counts, *amounts)
    console.print(table)
    if bill.nodes:
        console.print(_nodes(bill))
    if bill.cpu_seconds_an_epoch is not None:
        console.print(
            f"an epoch: {bill.cpu_seconds_an_epoch:.2f} CPU seconds, {bill.currency} "
            f"{bill.money_an_epoch or 0:.6f}",
            highlight=False,
        )
    if bill.cpu_seconds_a_point is not None:
        console.print(
            f"a point of hypervolume ({bill.hypervolume:.0f} in all): "
            f"{bill.cpu_seconds_a_point:.3f} CPU seconds, {bill.currency} "
            f"{bill.money_a_point or 0:.6f}",
            highlight=False,
        )


def _nodes(bill: Bill) -> Table:
    """Return the machines by type, and what share of their time trials used."""
    table = Table(
        title="Machines while a driver was at work", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("type")
    for head in ("machines", "hours", "CPU hours", "GPU hours", bill.currency):
        table.add_column(head, justify="right")
    for row in bill.nodes:
        hours = (f"{n:.3f}" for n in (row.hours, row.cpu_hours, row.gpu_hours))
        money = "no price" if row.money is None else f"{row.money:.4f}"
        table.add_row(row.type, str(row.nodes), *hours, money)
    if bill.busy is not None:
        table.caption = f"used by students: {bill.busy:.0%}"
        table.caption_justify = "left"
    return table


def show_plan(console: Console, plan: Plan) -> None:
    """Print how far trials will come, and what that takes."""
    title = f"Plan of {plan.study} ({plan.source})"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("epoch", justify="right")
    table.add_column("trials that reach it", justify="right")
    for epoch, count in plan.reaching.items():
        table.add_row(str(epoch), f"{count:.1f}")
    console.print(table)
    share = 100 * plan.epochs / plan.full_epochs
    console.print(
        f"about {plan.epochs:.0f} epochs of {plan.epoch_seconds:.1f} s ({share:.0f} % of "
        f"{plan.full_epochs} without pruning), {plan.hours:.2f} h, {plan.cpu_hours:.2f} CPU h, "
        f"{plan.currency} {plan.money:.2f}; teachers come on top",
        highlight=False,
    )
