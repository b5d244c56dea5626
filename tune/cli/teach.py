"""`refkd teach`: the teachers of a study alone."""

from __future__ import annotations

from typing import Annotated

import typer

from refkd.errors import RefKDError
from tune.cli.options import AddressOption, JsonOption, StudyArgument, interruptible
from tune.cli.output import Output, printed


@printed
def teach(
    study: StudyArgument,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Search a teacher's own hyperparameters: `teachers.ROLE.tune`."
        ),
    ] = False,
    role: Annotated[
        str, typer.Option(help="The teacher that --tune is about: id or ood.")
    ] = "ood",
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> Output:
    """Train both teachers of a study unless they exist; a search finds them there.

    With --tune, search a teacher's own hyperparameters for the best mIoU on its validation role,
    in a space such as `tune: {space: {recipe.w_kl: {float: [0.1, 3.0]}}, trials: 12}` below
    `teachers.ROLE` of the study file. Run the same command after any interruption.

    Example: `refkd teach studies/quickstart.yaml`
    """
    if role not in ("id", "ood"):
        raise RefKDError(f"--role {role!r} is neither id nor ood")
    from tune.config.study_file import load_study_file
    from tune.display.console import make_console
    from tune.display.study import show_taught, show_tuned
    from tune.execution.progress import Lines, Silent
    from tune.teach import train_teachers, tune_teacher

    file = load_study_file(study)
    with interruptible(), Silent() if as_json else Lines(make_console()) as told:
        if tune:
            tuned = tune_teacher(file, role, address=address, reporter=told)
            return Output(value=[tuned], show=lambda console: show_tuned(console, tuned))
        taught = train_teachers(file, address=address, reporter=told)
    return Output(value=list(taught.values()), show=lambda console: show_taught(console, taught))
