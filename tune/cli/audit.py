"""`refkd doctor`, `replay`, `export`, `sync`, `cluster check`: is all sound, and is all sent?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from refkd.errors import RefKDError
from tune.cli.command import AddressOption, Output, SnapshotArgument, StudyArgument, printed
from tune.ending.exits import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from tune.audit.difference import Replay
    from tune.audit.examine import Diagnosis
    from tune.audit.retrain import Retrained
    from tune.cluster.findings import Checked

cluster_app = typer.Typer(no_args_is_help=True)
_LEVELS = {"problem": "red", "note": "yellow"}


@printed
def doctor(
    study: SnapshotArgument,
    fix: Annotated[bool, Option("--fix", help="Fix what has only one right answer.")] = False,
) -> Output:
    """Compare study, MLflow, checkpoints, students, teachers, knowledge and ledger.

    Exits with 0 where they agree, with 1 where something is left to do. While a driver searches,
    only what does not change meanwhile is compared, and nothing is fixed.

    Example: `refkd doctor studies/quickstart.yaml --fix`
    """
    from tune.audit.examine import examine

    diagnosis = examine(study, fix=fix)
    return Output(diagnosis, _show_diagnosis, _agreement(not diagnosis.findings))


def _show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    from tune.display.console import say

    if diagnosis.driver is not None:
        text = f"a driver is at work: {diagnosis.driver}; what it changes was not looked at"
        say(console, text, "cyan")
    for row in diagnosis.fixed:
        say(console, f"fixed [{row.check}] {row.what}", "green")
    for row in diagnosis.findings:
        say(console, f"[{row.check}] {row.what}", "red")
        say(console, f"    {'--fix will ' if row.fixable else ''}{row.remedy}")
    if not diagnosis.findings:
        say(console, f"study {diagnosis.study}: everything agrees", "green")


@printed
def replay(
    study: SnapshotArgument,
    trial: Annotated[int | None, Option(help="Train this trial again and compare it.")] = None,
) -> Output:
    """Compute every suggestion and decision of a study again and compare, bit for bit.

    With --trial that trial is trained again from its first epoch, and its metrics are compared:
    equal bit for bit on the same type of CPU. Exits with 1 where something differs.

    Example: `refkd replay studies/quickstart.yaml`
    """
    from tune.audit.replay import replay as run
    from tune.audit.retrain import retrain
    from tune.study.snapshot import open_snapshot

    found: Replay | Retrained
    if trial is None:
        found = replayed = run(open_snapshot(study).optuna)
        decided = f"{replayed.suggestions} suggestions and {replayed.decisions} decisions"
        what = f"{decided} ({replayed.events} events)"
    else:
        found = retrained = retrain(study, trial)
        what = f"{retrained.epochs} epochs of trial {trial}"
    differences = [str(one) for one in found.differences]

    def show(console: Console, _: object) -> None:
        console.print(f"replayed {what}: {'they differ' if differences else 'clean'}")
        for difference in differences:
            console.print(f"  {difference}", style="red", markup=False, highlight=False)

    return Output({**asdict(found), "differences": differences}, show, _agreement(not differences))


def export(
    study: SnapshotArgument,
    out: Annotated[Path, Option(help="The file to write.")] = Path("curves.json"),
) -> None:
    """Write a study's learning curves to a file that `refkd search --plan` can play back.

    Example: `refkd export studies/quickstart.yaml --out curves.json`
    """
    from tune.simulation.curves import curves_of, write_curves
    from tune.study.snapshot import open_snapshot

    table = curves_of(open_snapshot(study))
    write_curves(table, out)
    print(f"wrote {len(table.curves)} curves to {out}")


@printed
def sync(
    study: StudyArgument,
    everything: Annotated[
        bool, Option("--all", help="Send again what the server has or has refused.")
    ] = False,
) -> Output:
    """Send to MLflow what its server could not take while the search ran.

    Exits with 3 where events are left, since the server is down; with 1 where it refused some.

    Example: `refkd sync studies/quickstart.yaml`
    """
    from tune.tracking.sync import sync as run

    found = run(study, everything=everything)
    lines = [f"study {found.study}: {found.sent} events sent to {found.server}"]
    if found.left:
        lines.append(f"{found.left} left ({found.problem}); run the same command again")
    if found.refused:
        lines.append(f"{found.refused} refused, with the reasons in {found.refused_file}")
    if not found.left and not found.refused:
        lines.append("nothing is left")
    code = ExitCode.LEFT if found.left else _agreement(not found.refused)
    return Output(found, "\n".join(lines), code)


def _agreement(agrees: bool) -> ExitCode:
    return ExitCode.DONE if agrees else ExitCode.DISAGREES


@cluster_app.callback()
def cluster() -> None:
    """Check what `ray up` and KubeRay launch."""


@cluster_app.command()
@printed
def check(
    file: Annotated[Path | None, Argument(help="A `ray up` file or KubeRay's RayCluster.")] = None,
    study: Annotated[Path | None, Option(help="A study file that is to run there.")] = None,
    address: AddressOption = None,
    storage: Annotated[
        Path | None, Option(help="With --address: the shared folder; the study's workspace else.")
    ] = None,
) -> Output:
    """Find what `ray up` would not tell: in a file offline, or on every node that runs.

    Exits with 0 where nothing is wrong (notes may be there), with 1 where something is.

    Example: `refkd cluster check cluster.yaml --study studies/cluster.yaml`

    On the head: `refkd cluster check --address auto --study studies/cluster.yaml`
    """
    if (file is None) == (address is None):
        raise RefKDError("give a cluster file, or --address of a cluster that runs")
    if file is not None:
        from tune.cluster.check import check_file

        if storage is not None:
            raise RefKDError("--storage goes with --address; a file names its own folder")
        checked = check_file(file, study=study)
    else:
        from tune.cluster.running import check_running

        checked = check_running(str(address), study=study, storage=storage)
    return Output(checked, _show_checked, _agreement(not checked.problems))


def _show_checked(console: Console, checked: Checked) -> None:
    from rich.text import Text

    from tune.display.console import make_table, plural

    if checked.findings:
        table = make_table(f"{checked.subject} ({checked.kind})", ())
        for head, ratio in (("where", 3), ("what is wrong", 4), ("remedy", 4)):
            table.add_column(head, ratio=ratio, overflow="fold")
        for one in checked.findings:
            line = "" if one.line is None else f":{one.line}"
            where = Text(f"{one.file}{line}\n{one.field}", style=_LEVELS[one.level])
            what = f"{one.value}: {one.what}" if one.value else one.what
            table.add_row(where, Text(what), Text(one.remedy))
        console.print(table)
    problems = len(checked.problems)
    notes = len(checked.findings) - problems
    result = plural(problems, "problem") if problems else "nothing wrong"
    result += f", {plural(notes, 'note')}" if notes else ""
    style = "red" if problems else "green"
    console.print(Text(f"{checked.subject}: {result}", style=style), soft_wrap=True)
