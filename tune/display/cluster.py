"""What a check of a cluster found, as a table for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tune.cluster.findings import Checked, ClusterFinding

_STYLES = {"problem": "red", "note": "yellow"}


def show_checked(console: Console, checked: Checked) -> None:
    """Print a row a finding, and whether the cluster can be used."""
    if checked.findings:
        title = f"{checked.subject} ({checked.kind})"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for head, ratio in (("where", 3), ("what is wrong", 4), ("remedy", 4)):
            table.add_column(head, ratio=ratio, overflow="fold")
        for finding in checked.findings:
            style = _STYLES[finding.level]
            where = Text(f"{_place(finding)}\n{finding.field}", style=style)
            table.add_row(where, Text(_what(finding)), Text(finding.remedy))
        console.print(table)
    problems = len(checked.problems)
    notes = len(checked.findings) - problems
    told = f"{problems} problems" if problems != 1 else "1 problem"
    told = told if problems else "nothing wrong"
    told += f", {notes} notes" if notes > 1 else ", 1 note" if notes else ""
    console.print(
        Text(f"{checked.subject}: {told}", style="red" if problems else "green"), soft_wrap=True
    )


def _place(finding: ClusterFinding) -> str:
    line = "" if finding.line is None else f":{finding.line}"
    return f"{finding.file}{line}"


def _what(finding: ClusterFinding) -> str:
    return f"{finding.value}: {finding.what}" if finding.value else finding.what
