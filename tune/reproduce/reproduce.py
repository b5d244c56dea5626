"""`refkd reproduce`: a table or a figure of the paper, trained, scored and written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.errors import RefKDError
from refkd.training.validation import VALIDATION_ROLES
from tune.execution.progress import Reporter
from tune.reproduce import figures
from tune.reproduce.experiments import Experiment
from tune.reproduce.paper import family_of
from tune.reproduce.request import Request
from tune.reproduce.scales import Scale
from tune.reproduce.scores import SIDES, Scored, score_units
from tune.reproduce.table import Facts
from tune.reproduce.tracking import TableRecord
from tune.reproduce.training import train
from tune.reproduce.units import Units
from tune.reproduce.written import write_log, write_numbers, write_settings
from tune.results.sealed_scores import check_sealed, open_test_roles
from tune.study.ledger import Evaluated, Look, check_look, read_looks


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a table or figure came to, and where it was written."""

    experiment: Experiment
    scored: Scored
    facts: Facts
    files: list[Path]


def reproduce(request: Request, *, address: str | None, reporter: Reporter) -> Result:
    """Train what is missing, score it, write the table or figure.

    The same command after any interruption continues. Both validation roles are scored, or, where
    the request is final, the sealed test roles, after the look is in the ledger. Raises
    `RefKDError` where a network could not be trained, the others are kept; `LedgerError` for a
    look that is not allowed, before anything is trained.
    """
    asked, scale, dataset, units = request.open()
    request.home.mkdir(parents=True, exist_ok=True)
    with _alone(request):
        return _reproduce(request, asked, scale, dataset, units, address, reporter)


@contextmanager
def _alone(request: Request) -> Iterator[None]:
    """Refuse a second driver of the same table: the ledger and the record are one writer's."""
    try:
        with FileLock(request.home / "driver.lock", timeout=0):
            yield
    except Timeout:
        raise RefKDError(
            f"{request.title} is being made by another process; wait for it, or give --workspace"
        ) from None


def _reproduce(
    request: Request,
    asked: Experiment,
    scale: Scale,
    dataset: Dataset,
    units: Units,
    address: str | None,
    reporter: Reporter,
) -> Result:
    looks = read_looks(request.home)
    if request.final:
        check_look(looks, study=request.title, again=request.again, reason=request.reason)
        check_sealed(dataset, request.dataset)
    request.folder.mkdir(parents=True, exist_ok=True)
    told = {"table": request.name, "scale": scale.name, "seeds": str(scale.seeds)}
    origin = {"command": request.command, **told, "dataset": dataset.name}
    settings = write_settings(request.folder, asked, units, origin)
    with TableRecord(
        request.title, request.workspace, request.home, uri=request.tracking
    ) as record:
        record.begun(dataset, told, [settings])
        train(request, units, dataset, record, address, reporter)
        if request.final:
            roles, looks = _sealed(request, units, dataset, number=len(looks) + 1)
        else:
            roles = _by_side(*map(dataset.role, VALIDATION_ROLES))
        reporter.stage(f"scoring on {roles['id'].role} and {roles['ood'].role}")
        scored = score_units(units, dataset, roles)
        facts = Facts(
            command=request.command,
            dataset=f"{dataset.name} ({dataset.fingerprint[:12]})",
            family=family_of(dataset.name),
            scale=scale.name,
            seeds=scale.seeds,
            marks=_marks(units),
            subset=_subset(dataset),
            simulated=dataset.manifest.simulation is not None,
            looks=tuple(look.title for look in looks) if request.final else (),
        )
        name = f"{asked.name}-test" if request.final else asked.name
        files = write_numbers(request.folder, name, asked, scored, facts)
        if asked.kind != "table":
            picture = request.folder / f"{name}.png"
            lines = []
            if asked.kind == "timelines":
                lines = figures.timelines(asked, units, dataset, roles["ood"])
            figures.draw(asked, scored, lines, picture)
            files.append(picture)
        files = [settings, *files, write_log(request.folder, units)]
        record.artifacts(files)
    return Result(experiment=asked, scored=scored, facts=facts, files=files)


def _sealed(
    request: Request, units: Units, dataset: Dataset, *, number: int
) -> tuple[dict[str, Pairs], list[Look]]:
    """Look at the test roles, which the ledger of the table holds from then on."""
    systems = {
        label: Evaluated(students={unit.folder.name: unit.frozen().record.sha256 for unit in row})
        for label, row in units.rows.items()
    }
    _, roles = open_test_roles(
        request.home,
        dataset,
        request.dataset,
        request.home,
        number=number,
        study=request.title,
        champions=systems,
        teachers={},
        reason=request.reason,
    )
    return _by_side(*roles), read_looks(request.home)


def _by_side(inside: Pairs, outside: Pairs) -> dict[str, Pairs]:
    return dict(zip(SIDES, (inside, outside), strict=True))


def _marks(units: Units) -> dict[str, str]:
    found = {label: ", ".join(row[0].marks) for label, row in units.rows.items()}
    return {label: mark for label, mark in found.items() if mark}


def _subset(dataset: Dataset) -> str | None:
    counts = dataset.manifest.splits.values()
    used, there = sum(c.pairs for c in counts), sum(c.annotated_pairs for c in counts)
    return None if used == there else f"{used:,} of {there:,} annotated pairs have features"
