"""What a study has cost, what one will, and what one of its trials takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from tune.display.console import make_table

if TYPE_CHECKING:
    from tune.execution.capacity import Share
    from tune.results.bill import Bill, BillRow
    from tune.simulation.plan import Expected, Plan


def bill_cells(row: BillRow) -> list[str]:
    """Return item, trials, epochs, CPU seconds, GPU seconds and money of a line of a bill."""
    counts = (str(row.trials or ""), str(row.epochs or ""))
    seconds = (f"{row.cpu_seconds:,.1f}", f"{row.gpu_seconds:,.1f}")
    return [row.item, *counts, *seconds, f"{row.money:.4f}"]


def show_bill(console: Console, bill: Bill) -> None:
    """Print a row an item, the total, machines, and the cost of an epoch and of a point."""
    if not bill.rows:
        console.print(f"study {bill.study}: nothing was trained yet, so there is nothing to pay")
        return
    heads = ("", "trials", "epochs", "CPU seconds", "GPU seconds", bill.currency)
    table = make_table(f"Bill of {bill.study}", heads, map(bill_cells, bill.rows))
    table.add_section()
    table.add_row(*bill_cells(bill.total))
    console.print(table)
    if bill.nodes:
        heads = ("type", "machines", "hours", "CPU hours", "GPU hours", bill.currency)
        caption = None if bill.busy is None else f"used by students: {bill.busy:.0%}"
        table = make_table("Machines while a driver was at work", heads, caption=caption)
        for row in bill.nodes:
            hours = (f"{n:.3f}" for n in (row.hours, row.cpu_hours, row.gpu_hours))
            money = "no price" if row.money is None else f"{row.money:.4f}"
            table.add_row(row.type, str(row.nodes), *hours, money)
        console.print(table)
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


def show_plan(console: Console, plan: Plan) -> None:
    """Print how far trials will come, what that takes, and what will end the search."""
    heads = ("epoch", "trials that reach it")
    rows = ([str(epoch), f"{count:.1f}"] for epoch, count in plan.reaching.items())
    console.print(make_table(f"Plan of {plan.study}", heads, rows))
    share = plan.epochs.mean / plan.full_epochs
    costs = [f"{_expected(plan.hours, 2)} hours, {_expected(plan.cpu_hours, 2)} CPU hours"]
    if plan.gpu_hours.mean:
        costs.append(f"{_expected(plan.gpu_hours, 2)} GPU hours")
    if plan.money.mean:
        costs.append(f"{plan.currency} {_expected(plan.money, 2)}")
    end, *others = (f"budget.{name} in {count}" for name, count in plan.ends.items())
    for line in (
        f"{_expected(plan.complete)} trials COMPLETE and {_expected(plan.pruned)} PRUNED, of "
        f"{plan.budget_trials} in the budget",
        f"{_expected(plan.epochs)} epochs of {plan.epoch_seconds:.1f} s, {share:.0%} of the "
        f"{plan.full_epochs} without pruning and limits",
        f"{', '.join(costs)}; teachers come on top",
        f"the search ends with {', '.join([end, *others])} of {sum(plan.ends.values())} "
        "simulated searches",
        "a figure is their mean; nine in ten such searches lie within its brackets",
        f"they play {plan.source}",
    ):
        console.print(line, highlight=False)


def _expected(figure: Expected, digits: int = 0) -> str:
    """Return the mean and the range, which is rounded to its outer side."""
    scale = 10**digits
    low, high = math.floor(figure.low * scale) / scale, math.ceil(figure.high * scale) / scale
    return f"{figure.mean:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def show_share(console: Console, share: Share) -> None:
    """Print what a trial takes, how many fit, and what to write into the study file."""
    taken = share.taken
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("student", f"{taken.parameters:,} parameters, the largest of those drawn")
    table.add_row("batch", f"{taken.pairs} pairs of {taken.clips} clips, the longest there are")
    table.add_row("a step", f"{1000 * taken.step_seconds:.3g} ms")
    table.add_row("memory", f"{decimal(taken.memory)} of {decimal(taken.capacity)}")
    place, time = "a machine", "cores"
    if taken.device != "cpu":
        place, time = "a GPU", "time"
        table.add_row(taken.device, f"computes {taken.busy:.0%} of the time")
    console.print(table)
    if share.trials == 0:
        console.print(
            f"not even one trial fits on {place}: make the batches or the network smaller"
        )
        return
    console.print(
        f"{share.trials} at a time fit on {place} (by memory {share.by_memory}, by {time} "
        f"{share.by_time}). In the study file:\n"
        f"resources: {{cpu: {share.resources.cpu:g}, gpu: {share.resources.gpu:g}}}\n"
        f"workers: {share.workers}",
        highlight=False,
    )
