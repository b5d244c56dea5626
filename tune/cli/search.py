"""`refkd init`, `schema`, `search`, `teach`, `share`: begin a study and train its networks."""

from __future__ import annotations

import json
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from refkd.errors import RefKDError
from tune.cli.command import (
    AddressOption,
    JsonOption,
    NoVerifyOption,
    Output,
    PlanOption,
    StudyArgument,
    outcome,
    printed,
    progress,
)


def init(
    path: Annotated[Path, Argument(help="Where to write it.")] = Path("study.yaml"),
    force: Annotated[bool, Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented study file to start from.

    Example: `refkd init study.yaml`
    """
    if path.exists() and not force:
        raise RefKDError(f"{path}: exists; give another name, or --force to replace it")
    text = files("tune").joinpath("templates/study.yaml").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}; set `dataset`, then run: refkd search {path}")


def schema() -> None:
    """Print the JSON schema of study files, for editors and programs.

    Example: `refkd schema > study.schema.json`
    """
    from tune.config.study_file import StudyFile

    print(json.dumps(StudyFile.model_json_schema(by_alias=True), indent=2))


@printed
def search(
    study: StudyArgument,
    address: AddressOption = None,
    plan: PlanOption = False,
    curves: Annotated[Path | None, Option(help="Plan on curves from `refkd export`.")] = None,
    no_verify: NoVerifyOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Begin a search, or continue it: run the same command after any interruption.

    Trains both teachers where they are missing, then searches students until the budget is used
    up. Only `fit`, `val_id` and `val_ood` are read. Exits with 3 where trials are left, since
    something has to be mended first; with 4 where it has ended and no trial is complete within the
    constraints; with 5 where the local cluster died: run it again.

    Example: `refkd search studies/quickstart.yaml`
    """
    if plan:
        from tune.config.study_file import load_study_file
        from tune.display.cost import show_plan
        from tune.simulation.plan import make_plan

        return Output(make_plan(study, load_study_file(study), curves=curves), show_plan)
    if curves is not None:
        raise RefKDError("--curves goes with --plan")
    from tune.display.study import show_end
    from tune.launch import search as launch

    reporter = progress(as_json, live=True)
    summary = launch(study, address=address, reporter=reporter, verify=not no_verify)
    return Output(summary, partial(show_end, study=study), outcome(summary))


@printed
def retry(
    study: StudyArgument,
    trials: Annotated[
        list[int] | None, Argument(min=0, help="Numbers of failed trials; else all that failed.")
    ] = None,
) -> Output:
    """Put failed trials back in line: the next `refkd search` tries their values again.

    Each goes on under a new number, since Optuna never changes a trial that has ended; `status`
    says which, and commands that take a trial's number take the old one for it too. It costs
    nothing of `budget.trials`. Trials that another program put there or ended are refused.

    Example: `refkd retry studies/quickstart.yaml 3`
    """
    from tune.study.retries import retry_trials

    found = retry_trials(study, trials or [])
    rows = [f"trial {number} goes on as trial {new}" for number, new in found.items()]
    rows += [f"train them: refkd search {study}"] if found else ["no trial has failed"]
    return Output([{"trial": n, "retried_as": new} for n, new in found.items()], "\n".join(rows))


@printed
def teach(
    study: StudyArgument,
    tune: Annotated[
        bool,
        Option("--tune", help="Search a teacher's own hyperparameters: `teachers.ROLE.tune`."),
    ] = False,
    role: Annotated[str, Option(help="The teacher to tune: id or ood.")] = "ood",
    check: Annotated[
        Path | None, Option(help="Check a file of somebody else's answers; write nothing.")
    ] = None,
    published: Annotated[
        tuple[str, Path] | None,
        Option(
            "--import",
            metavar="MODEL CHECKPOINT",
            help="Ask a published checkpoint of vslnet, emb, qave or tan2d about every pair.",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None, Option(help="With --import: JSON of the checkpoint's words (not tan2d).")
    ] = None,
    vectors: Annotated[
        Path | None, Option(help="With --import: word vectors (qave: .npy; tan2d: GloVe).")
    ] = None,
    settings: Annotated[
        Path | None,
        Option(
            help="With --import: the checkpoint's settings, where not beside it (tan2d: YAML)."
        ),
    ] = None,
    out: Annotated[Path | None, Option(help="With --import: where to write its answers.")] = None,
    address: AddressOption = None,
    no_verify: NoVerifyOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Train both teachers of a study unless they exist; a search finds them there.

    A teacher with `from: FILE` is imported: its answers to every pair of `fit`, `val_id` and
    `val_ood` stand in FILE, as JSONL, Parquet or npz. With --check FILE, say whether a file can be
    a teacher of this study, and what it scores on the validation roles. --import MODEL CHECKPOINT
    writes such a file of a published checkpoint of VSLNet, EMB, QAVE or 2D-TAN.

    With --tune, search a teacher's own hyperparameters for the best mIoU on its validation role,
    in a space such as `tune: {space: {recipe.w_kl: {float: [0.1, 3.0]}}, trials: 12}` below
    `teachers.ROLE` of the study file. Run the same command after any interruption. Exits with 3
    where a teacher is left; with 4 where --tune could train none; with 5 where the local cluster
    died: run it again.

    Example: `refkd teach studies/quickstart.yaml`
    """
    if role not in ("id", "ood"):
        raise RefKDError(f"--role {role!r} is neither id nor ood")
    from tune.config.study_file import load_study_file
    from tune.display.study import show_checked, show_taught, show_tuned
    from tune.teach import ask_checkpoint, check_answers, train_teachers, tune_teacher

    if sum((tune, check is not None, published is not None)) > 1:
        raise RefKDError("--check, --import and --tune are three commands; give one of them")
    given = {"vocabulary": vocabulary, "vectors": vectors, "settings": settings}
    if (published is None) != (out is None) or (published is None and any(given.values())):
        raise RefKDError(
            "--vocabulary, --vectors, --settings and --out go with --import, which "
            "needs --out; give both"
        )
    file, reporter, verify = load_study_file(study), progress(as_json), not no_verify
    if published is not None and out is not None:
        checked = ask_checkpoint(file, published, given, out, reporter=reporter, verify=verify)
        return Output([checked], lambda console, _: show_checked(console, checked))
    if check is not None:
        checked = check_answers(file, check, reporter=reporter, verify=verify)
        return Output([checked], lambda console, _: show_checked(console, checked))
    if tune:
        tuned = tune_teacher(file, role, address=address, reporter=reporter, verify=verify)
        return Output([tuned], lambda console, _: show_tuned(console, tuned))
    taught = train_teachers(file, address=address, reporter=reporter, verify=verify)
    return Output(list(taught.values()), lambda console, _: show_taught(console, taught))


@printed
def share(
    study: StudyArgument, address: AddressOption = None, as_json: JsonOption = False
) -> Output:
    """Measure how many trials fit on a GPU, or on a machine without, and change nothing.

    Trains the largest of some students of the space for a few steps, on a whole GPU where there
    is one, and measures its memory and the share of the time in which the GPU computes. Exits with
    5 where the local cluster died: run it again.

    Example: `refkd share studies/quickstart.yaml`
    """
    from tune.config.study_file import load_study_file
    from tune.display.cost import show_share
    from tune.execution.capacity import measure
    from tune.execution.cluster import machines_coming, machines_there, ray_session
    from tune.launch import open_dataset

    file = load_study_file(study)
    open_dataset(file, progress(as_json), verify=False)
    with ray_session(file.resources.model_copy(update={"gpu": 0.0}), address=address):
        coming = [] if address is None else machines_coming()
        return Output(measure(file, [*machines_there(), *coming]), show_share)
