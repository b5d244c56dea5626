"""The champions of a search, and of its finalists: chosen, compared, kept and registered."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refkd.data.dataset import Dataset
from refkd.evaluation.predictions import Frozen
from refkd.evaluation.standing import Standing
from refkd.exported import RECORD, export
from refkd.files import write_json
from refkd.training.export import FrozenStudent
from refkd.training.validation import VALIDATION_ROLES
from tune.config.metrics import BALANCED
from tune.config.study_file import StudyFile
from tune.ending.exits import NoneCompleteError
from tune.execution.progress import Reporter
from tune.execution.study_jobs import OpenSearch
from tune.results.comparison import compare, open_students, system_name
from tune.results.kept import SCORES, file_hashes, note_hash, unlike
from tune.results.standings import standings
from tune.study.events import ChampionsChosen, Chooser, champions_of, imported_teachers
from tune.study.finalist_events import SeedResult, finalists_code
from tune.study.folders import finalist_folders, student_folders
from tune.study.launch import made_with
from tune.study.outcomes import Comparison, Finalist, Finalists
from tune.study.ranking import CHAMPIONS, current
from tune.study.summary import FINALISTS, STANDINGS
from tune.tracking.card import Registration
from tune.tracking.operations import finalist_key, trial_key

REGISTERED = "registered"
"""The study's attribute with the champions of the search that the registry has had."""
ALIASES = {**CHAMPIONS, "best-balanced": BALANCED}
"""Metric that a champion among the finalists is the best in, by alias."""


def select_search_champions(
    search: OpenSearch, reporter: Reporter, *, register: bool = True
) -> None:
    """Score champions and teachers with intervals, keep the champions, register them in MLflow.

    Does nothing where there are none, or where that was done before. An alias of the registry that
    is set is not moved. Without `register` registering is left to the next launch.
    """
    summary, study, home = search.summary(), search.study, search.file.folder / "champions"
    champions = summary.champions
    if not champions:
        return
    chosen = _is_chosen(search, champions, summary.ended)
    wanted = search.file.tracking.enabled and summary.crowned is None and register
    registers = wanted and not _is_registered(search, champions)
    if chosen and not registers:
        return
    reporter.stage("scoring the champions and registering them")
    students = search_students(search)
    made = compare_on_validation(search, students)
    folders = {alias: home / alias for alias in champions}
    if not chosen:
        _keep_all(search, {alias: seeds[0] for alias, seeds in students.items()}, home)
        notes = {
            "intervals": interval_table(made),
            "probes": {name: found.model_dump() for name, found in made.probes.items()},
            STANDINGS: _of_search(search, champions),
        }
        for name, note in notes.items():
            study.note(name, note)
        write_json(home / SCORES, notes["intervals"])
        study.append(_choice(search, "search", champions, summary.ended, home, folders, notes))
    if registers:
        _register_champions(search, champions, folders, made)


def _of_search(search: OpenSearch, champions: Mapping[str, int]) -> dict[str, Any]:
    """Return as JSON how each champion of a search stands among its complete trials."""
    folder, seeds = search.file.folder, search.file.replicates.seeds
    counting = [v for v in current(search.study.views()) if v.feasible]
    found = standings(
        search.dataset,
        {
            v.number: [one for n in v.members for one in student_folders(folder, n, seeds)]
            for v in counting
        },
        {alias: (CHAMPIONS[alias], number) for alias, number in champions.items()},
        costs={v.number: v.kept.get("cost/cpu_seconds", 0.0) for v in counting},
        seed=search.file.seed,
    )
    return {alias: one.model_dump(mode="json") for alias, one in found.items()}


def _is_registered(search: OpenSearch, champions: Mapping[str, int]) -> bool:
    """Return whether the registry has had the champions of a search."""
    attributes = search.study.optuna.user_attrs
    known = champions_of(attributes, "search")
    if known is not None and known.files is None:  # of an earlier refkd, which chose them last
        return known.champions == champions
    return bool(attributes.get(REGISTERED) == champions)


def _register_champions(
    search: OpenSearch,
    champions: Mapping[str, int],
    folders: Mapping[str, Path],
    made: Comparison,
) -> None:
    from tune.tracking.registry import register_champions

    study = search.study
    registrations = [
        Registration(
            alias=alias,
            trial=number,
            run=trial_key(number),
            folder=folders[alias],
            scores={role: systems[alias] for role, systems in made.scores.items()},
            reason="best trial of the search, by one validation score",
            code=made_with(study.views()[number], study.launches.all()),
            imported=imported_teachers(study.optuna.user_attrs),
        )
        for alias, number in champions.items()
    ]
    identity = study.identity()
    moved = register_champions(
        search.file, search.dataset, registrations, identity=identity, move=False
    )
    if moved is not None:
        study.note_aliases(moved)
        study.note(REGISTERED, dict(champions))


def _is_chosen(search: OpenSearch, champions: Mapping[str, int], trials: int) -> bool:
    """Return whether a search has chosen these, and all that was left of it is still there."""
    attributes, folder = search.study.optuna.user_attrs, search.file.folder
    known = champions_of(attributes, "search")
    if known is None or (known.champions, known.trials) != (champions, trials):
        return False
    if known.files is None:  # of an earlier refkd
        return "probes" in attributes and all(
            (folder / "champions" / a).is_dir() for a in champions
        )
    return not any(unlike(folder, attributes, known))


def _choice(
    search: OpenSearch,
    by: Chooser,
    champions: dict[str, int],
    trials: int,
    home: Path,
    folders: Mapping[str, Path],
    notes: Mapping[str, Any],
) -> ChampionsChosen:
    """Return the event of a choice: scores in `home`, retrievers in `folders`, attributes."""
    files = [home / SCORES, *(folder / RECORD for folder in folders.values())]
    held = search.study.optuna.user_attrs  # as JSON has given them back
    return ChampionsChosen(
        by=by,
        champions=champions,
        trials=trials,
        files=file_hashes(search.file.folder, *files),
        notes={name: note_hash(held[name]) for name in notes},
    )


def select_finalist_champions(
    search: OpenSearch, finalists: Sequence[Finalist], reporter: Reporter
) -> Finalists:
    """Choose champions by their means, compare them with both teachers, keep and register them.

    A finalist with a seed that failed cannot win. Raises `NoneCompleteError` where none is left.
    """
    means = {one.trial: one.metrics for one in finalists if not one.failures}
    if not means:
        raise NoneCompleteError(
            f"study {search.file.name!r}: every finalist failed on a seed, the first because "
            f"{finalists[0].failures[0]}"
        )
    reporter.stage("scoring the champions and both teachers")
    champions = winners(means)
    runs = {one.trial: one.runs for one in finalists}
    students = {
        n: open_students(search.file.folder, [n], len(runs[n]), finalist=True)
        for n in sorted({*champions.values()})
    }
    found = Finalists(
        study=search.file.name,
        seeds=[run.seed for run in max((one.runs for one in finalists), key=len)],
        trials=search.summary().ended,
        finalists=list(finalists),
        champions=champions,
        kept={alias: best_seed(runs[n], ALIASES[alias]) for alias, n in champions.items()},
        comparison=compare_on_validation(
            search, {system_name(n): seeds for n, seeds in students.items()}
        ),
        standings=finalist_standings(search, finalists),
        marks=search.file.caveats(),
    )
    dumped = found.model_dump(mode="json")
    home = search.file.folder / "finalists"
    kept = {alias: students[n][found.kept[alias]] for alias, n in champions.items()}
    folders = _keep_all(search, kept, home / "champions")
    write_json(home / SCORES, dumped)
    search.study.note(FINALISTS, dumped)
    notes = {FINALISTS: dumped}
    choice = _choice(search, "finalists", champions, found.trials, home, folders, notes)
    if champions_of(search.study.optuna.user_attrs, "finalists") != choice:
        search.study.append(choice)
    if search.file.tracking.enabled:
        _register_finalists(search, found, folders)
    return found


def finalist_standings(search: OpenSearch, finalists: Sequence[Finalist]) -> dict[str, Standing]:
    """Return how the best of the finalists stand, by alias, from the students that each has."""
    whole = {one.trial: one for one in finalists if not one.failures}
    means = {number: one.metrics for number, one in whole.items()}
    if not whole:
        return {}
    return standings(
        search.dataset,
        {n: finalist_folders(search.file.folder, n, len(one.runs)) for n, one in whole.items()},
        {alias: (ALIASES[alias], number) for alias, number in winners(means).items()},
        costs={number: metrics["cost/cpu_seconds"] for number, metrics in means.items()},
        seed=search.file.seed,
    )


def best_seed(runs: Sequence[SeedResult], metric: str) -> int:
    """Return which of a finalist's students is the best on a metric, counted from 0."""
    return max(range(len(runs)), key=lambda k: (runs[k].metrics[metric], -k))


def winners(means: Mapping[int, Mapping[str, float]]) -> dict[str, int]:
    """Return the champion of each alias from the finalists' means; ties as in `place_by`."""
    return {
        alias: min(place_by(number, metrics, metric) for number, metrics in means.items())[-1]
        for alias, metric in ALIASES.items()
    }


def place_by(
    number: int, metrics: Mapping[str, float], name: str, sign: float = 1.0
) -> tuple[float, float, int]:
    """Return a sort key that is lowest for the best on a metric; of -1 less is better.

    Ties go to fewer CPU seconds, then to the lower number.
    """
    return -sign * metrics[name], metrics.get("cost/cpu_seconds", 0.0), number


def search_students(search: OpenSearch) -> dict[str, list[FrozenStudent]]:
    """Return the students of the champions of the search, one a seed, by alias."""
    folder, seeds, found = search.file.folder, search.file.replicates.seeds, search.summary()
    return {
        alias: open_students(folder, found.trial(number).members, seeds, finalist=False)
        for alias, number in found.champions.items()
    }


def compare_on_validation(
    search: OpenSearch, students: Mapping[str, Sequence[Frozen]]
) -> Comparison:
    """Compare students with both teachers on the validation roles."""
    inside, outside = (search.dataset.role(role) for role in VALIDATION_ROLES)
    return compare(
        students, search.teachers, search.dataset, (inside, outside), seed=search.file.seed
    )


def interval_table(made: Comparison) -> dict[str, dict[str, Any]]:
    """Return scores as JSON by role and system, with the bias floors, which look at no video."""
    scores = made.model_dump(include={"scores"})["scores"]
    return {role: {**systems, "floors": made.floors[role]} for role, systems in scores.items()}


def keep_retriever(
    file: StudyFile, student: FrozenStudent, dataset: Dataset, folder: Path
) -> None:
    """Export a student into a folder, in the place of what is there; it needs no study then."""
    if folder.exists():
        shutil.rmtree(folder)
    network = student.record.config.backbone
    export(student.backbone(dataset), network, dataset, folder, marks=file.caveats())


def _keep_all(
    search: OpenSearch, students: Mapping[str, FrozenStudent], home: Path
) -> dict[str, Path]:
    folders = {alias: home / alias for alias in students}
    for alias, student in students.items():
        keep_retriever(search.file, student, search.dataset, folders[alias])
    return folders


def _register_finalists(search: OpenSearch, found: Finalists, folders: Mapping[str, Path]) -> None:
    """Point the registry's aliases at the kept students; their scores are the means."""
    from tune.tracking.registry import register_champions

    study, scores = search.study, found.comparison.scores
    registrations = [
        Registration(
            alias=alias,
            trial=number,
            run=finalist_key(number, found.kept[alias]),
            folder=folders[alias],
            scores={role: systems[system_name(number)] for role, systems in scores.items()},
            reason=f"best mean {ALIASES[alias]} of {len(found.finalists)} finalists over "
            f"{found.seeds_text} (`refkd finalists`); the seed that is best is kept",
            code=finalists_code(study.optuna.user_attrs),
            imported=imported_teachers(study.optuna.user_attrs),
        )
        for alias, number in found.champions.items()
    ]
    identity = study.identity()
    moved = register_champions(search.file, search.dataset, registrations, identity=identity)
    study.note_aliases(moved or [])
