"""What a check of a cluster found, as a table for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from tune.cluster.findings import Checked
from tune.display.console import make_table

_STYLES = {"problem": "red", "note": "yellow"}


def show_checked(console: Console, checked: Checked) -> None:
    """Print a row a finding, and whether the cluster can be used."""
    if checked.findings:
        table = make_table(f"{checked.subject} ({checked.kind})", ())
        for head, ratio in (("where", 3), ("what is wrong", 4), ("remedy", 4)):
            table.add_column(head, ratio=ratio, overflow="fold")
        for one in checked.findings:
            line = "" if one.line is None else f":{one.line}"
            where = Text(f"{one.file}{line}\n{one.field}", style=_STYLES[one.level])
            what = f"{one.value}: {one.what}" if one.value else one.what
            table.add_row(where, Text(what), Text(one.remedy))
        console.print(table)
    problems = len(checked.problems)
    notes = len(checked.findings) - problems
    result = ("1 problem" if problems == 1 else f"{problems} problems") if problems else ""
    result = result or "nothing wrong"
    result += f", {notes} notes" if notes > 1 else ", 1 note" if notes else ""
    style = "red" if problems else "green"
    console.print(Text(f"{checked.subject}: {result}", style=style), soft_wrap=True)
