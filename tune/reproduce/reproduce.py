"""`refkd reproduce`: a table or a figure of the paper, trained, scored and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.errors import RefKDError
from refkd.files import write_text
from refkd.training.validation import VALIDATION_ROLES
from tune.execution.cluster import ray_session
from tune.execution.jobs import Workplace
from tune.execution.progress import Reporter
from tune.reproduce import formats
from tune.reproduce.experiments import Experiment
from tune.reproduce.request import Request
from tune.reproduce.scores import SIDES, score_units
from tune.reproduce.table import Result, family_of
from tune.reproduce.tracking import TableRecord, tracking_of
from tune.reproduce.units import Unit, Units
from tune.results.sealed_roles import check_sealed, open_test_roles
from tune.study.ledger import Evaluated, Look, check_look, read_looks, with_row, write_looks
from tune.tracking.reach import check_start


def reproduce(
    request: Request, *, address: str | None, reporter: Reporter
) -> tuple[Result, list[Path]]:
    """Train what is missing, score it, write the table or figure; return the files as well.

    The same command after any interruption continues. Validation is scored, or the sealed test
    roles where the request is final. Raises `RefKDError` where a network could not be trained or
    another process makes the same table; `LedgerError` for an evaluation that is not allowed.
    """
    experiment, scale, dataset, units = request.open()
    away = check_start(None, tracking_of(request))
    if away is not None:
        reporter.stage(away)
    request.home.mkdir(parents=True, exist_ok=True)
    try:
        # The ledger and what MLflow has are one writer's.
        lock = FileLock(request.home / "driver.lock", timeout=0).acquire()
    except Timeout:
        raise RefKDError(
            f"{request.title} is being made by another process; wait for it, or give --workspace"
        ) from None
    with lock:
        looks = read_looks(request.home)
        if request.final:
            check_look(looks, study=request.title, again=request.again, reason=request.reason)
            check_sealed(dataset, request.dataset)
        facts = {"table": request.name, "scale": scale.name, "seeds": str(scale.seeds)}
        origin = {"command": request.command, **facts, "dataset": dataset.name}
        settings = _write_settings(request.folder, experiment, units, origin)
        with TableRecord(request, units.all(), reporter) as record:
            record.begin(dataset, facts)
            record.keep([settings], None)
            _train(request, units, dataset, record, address, reporter)
            looks, pairs = _open_roles(request, looks, units, dataset)
            roles = dict(zip(SIDES, pairs, strict=True))
            reporter.stage(f"scoring on {roles['id'].role} and {roles['ood'].role}")
            scored = score_units(units, dataset, roles)
            if request.final:
                looks[-1] = looks[-1].model_copy(update={"state": "done"})
                write_looks(request.home, looks)  # from here on something may be shown
            caveats = {label: ", ".join(row[0].caveats) for label, row in units.rows.items()}
            splits = dataset.manifest.splits.values()
            used, there = sum(s.pairs for s in splits), sum(s.annotated_pairs for s in splits)
            result = Result(
                experiment=experiment,
                scored=scored,
                command=request.command,
                dataset=f"{dataset.name} ({dataset.fingerprint[:12]})",
                family=family_of(dataset.name),
                scale=scale.name,
                seeds=scale.seeds,
                caveats={label: caveat for label, caveat in caveats.items() if caveat},
                subset=None
                if used == there
                else f"{used:,} of {there:,} annotated pairs have features",
                simulated=dataset.manifest.simulation is not None,
                test_evaluations=[x.title for x in looks if request.final],
            )
            files = [settings, *_write(request, result, units, dataset, roles["ood"])]
            record.keep(files, "results")
    return result, files


def _train(
    request: Request,
    units: Units,
    dataset: Dataset,
    record: TableRecord,
    address: str | None,
    reporter: Reporter,
) -> None:
    """Train teachers, then students; networks of earlier calls are kept."""
    from tune.execution.training import train_jobs

    place = Workplace(
        dataset=request.dataset.absolute(),
        fingerprint=dataset.fingerprint,
        knowledge=request.workspace.absolute() / "knowledge",
        scratch=request.home / "ray",
        resources=request.resources,
        workers=request.workers,
    )
    with ray_session(request.resources, address=address) if units.left() else nullcontext():
        for what in ("teacher", "student"):
            left = [one for one in units.left() if bool(one.teachers) == (what == "student")]
            if not left:
                continue
            epochs = sum(unit.config.total_epochs() for unit in left)
            reporter.stage(f"training {len(left)} {what}s, {epochs} epochs")
            train_jobs([unit.job() for unit in left], place, record, what=what)
    for unit in units.all():
        record.trained(unit)


def _open_roles(
    request: Request, looks: list[Look], units: Units, dataset: Dataset
) -> tuple[list[Look], tuple[Pairs, Pairs]]:
    """Open validation, or the test roles: the table's ledger, returned, then holds that look."""
    if not request.final:
        return looks, (dataset.role(VALIDATION_ROLES[0]), dataset.role(VALIDATION_ROLES[1]))
    systems = {
        label: Evaluated(students={unit.folder.name: unit.frozen().record.sha256 for unit in row})
        for label, row in units.rows.items()
    }
    look, roles = open_test_roles(
        looks,
        dataset,
        request.dataset,
        request.home,
        study=request.title,
        champions=systems,
        teachers={},
        reason=request.reason,
        begin=lambda row: write_looks(request.home, with_row(looks, row)),
    )
    return with_row(looks, look), roles


def _write_settings(
    folder: Path, experiment: Experiment, units: Units, origin: Mapping[str, str]
) -> Path:
    """Write every row's configuration and seeds: what one needs to train it again."""
    rows = {
        label: {
            "seeds": [unit.config.seed for unit in row],
            "teachers": {role: teacher.row for role, teacher in row[0].teachers.items()},
            **row[0].config.model_dump(mode="json", exclude={"seed"}),
        }
        for label, row in units.rows.items()
    }
    content = {"experiment": experiment.name, "title": experiment.title, **origin, "rows": rows}
    path = folder / "settings.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


def _write(
    request: Request, result: Result, units: Units, dataset: Dataset, outside: Pairs
) -> list[Path]:
    """Write the numbers, the figure, and a line a network: seed, address, epoch and metrics."""
    name = f"{request.name}-test" if request.final else request.name
    texts = {
        f"{name}.md": formats.markdown(result),
        f"{name}.csv": formats.comma_separated(result),
        f"{name}.tex": formats.latex(result),
        f"{name}.json": result.scored.model_dump_json(indent=1) + "\n",
        "runs.jsonl": "".join(json.dumps(_run(unit)) + "\n" for unit in units.all()),
    }
    for file, text in texts.items():
        write_text(request.folder / file, text)
    files = [request.folder / file for file in texts]
    if result.experiment.kind != "table":
        from tune.reproduce.figures import draw

        picture = request.folder / f"{name}.png"
        draw(result, units, dataset, outside, picture)
        files.insert(-1, picture)
    return files


def _run(unit: Unit) -> dict[str, object]:
    record = unit.frozen().record
    return {
        "row": unit.row,
        "replicate": unit.replicate,
        "address": unit.folder.name,
        "epoch": record.epoch,
        "epochs": unit.config.total_epochs(),
        "metrics": {k: round(v, 6) for k, v in sorted(record.metrics.items())},
    }
