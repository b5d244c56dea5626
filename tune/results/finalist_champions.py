"""The champions among the finalists: chosen by their means, compared, kept and registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from refkd.errors import RefKDError
from refkd.evaluation.predictions import Frozen
from refkd.files import write_json
from refkd.training.export import open_student
from tune.config.marks import study_marks
from tune.execution.progress import Reporter
from tune.execution.replicates import mean
from tune.results.choice import (
    ALIASES,
    FinalistRun,
    best_seed,
    winners,
)
from tune.results.comparison import compare
from tune.results.outcome import Outcome
from tune.results.search_champions import keep_retriever
from tune.study.events import ChampionsChosen, champions_of, finalists_code
from tune.study.folders import finalist_folder
from tune.study.outcomes import Comparison, Finalist, Finalists, SeedResult
from tune.study.summary import FINALISTS
from tune.study.view import TrialView
from tune.tracking.operations import finalist_key


def select_finalist_champions(
    outcome: Outcome,
    chosen: Sequence[TrialView],
    results: Mapping[FinalistRun, SeedResult],
    reporter: Reporter,
) -> Finalists:
    """Choose the champions, compare them with both teachers, keep and register them.

    A finalist with a seed that failed cannot win. Raises `RefKDError` where none is left.
    """
    rows = [_row(v, [r for run, r in results.items() if run.number == v.number]) for v in chosen]
    means = {row.trial: row.metrics for row in rows if not row.failures}
    if not means:
        raise RefKDError(
            f"study {outcome.file.name!r}: every finalist failed on a seed, the first because "
            f"{rows[0].failures[0]}"
        )
    reporter.stage("scoring the champions and both teachers")
    champions = winners(means)
    runs = {row.trial: row.runs for row in rows}
    found = Finalists(
        study=outcome.file.name,
        seeds=[run.seed for run in rows[0].runs],
        trials=outcome.summary().ended,
        finalists=rows,
        champions=champions,
        kept={alias: best_seed(runs[n], ALIASES[alias]) for alias, n in champions.items()},
        comparison=_compare(outcome, {n: len(runs[n]) for n in sorted({*champions.values()})}),
        marks=study_marks(outcome.file),
    )
    outcome.study.note(FINALISTS, found.model_dump(mode="json"))
    choice = ChampionsChosen(by="finalists", champions=champions, trials=found.trials)
    if champions_of(outcome.study.optuna.user_attrs, "finalists") != choice:
        outcome.study.append(choice)
    write_json(outcome.file.folder / "finalists" / "scores.json", found.model_dump(mode="json"))
    _register(outcome, found, _export(outcome, found))
    return found


def system_name(trial: int) -> str:
    """Return what a trial is called in a comparison."""
    return f"trial-{trial:04d}"


def _row(view: TrialView, runs: Sequence[SeedResult]) -> Finalist:
    whole = all(run.failed is None for run in runs)
    metrics = mean([run.metrics for run in runs]) if whole else {}
    return Finalist(trial=view.number, values=view.values, runs=list(runs), metrics=metrics)


def _compare(outcome: Outcome, seeds: Mapping[int, int]) -> Comparison:
    """Compare trials, each with the number of its students, on the validation roles."""
    folder, dataset = outcome.file.folder, outcome.dataset
    students: dict[str, Sequence[Frozen]] = {
        system_name(n): [open_student(finalist_folder(folder, n, k)) for k in range(count)]
        for n, count in seeds.items()
    }
    roles = (dataset.role("val_id"), dataset.role("val_ood"))
    return compare(students, outcome.teachers, dataset, roles, seed=outcome.file.seed)


def _export(outcome: Outcome, found: Finalists) -> dict[str, Path]:
    """Export each champion's kept student as a retriever that needs neither study nor dataset."""
    folders = {}
    for alias, number in found.champions.items():
        student = open_student(finalist_folder(outcome.file.folder, number, found.kept[alias]))
        folder = outcome.file.folder / "finalists" / "champions" / alias
        keep_retriever(outcome.file, student, outcome.dataset, folder)
        folders[alias] = folder
    return folders


def _register(outcome: Outcome, found: Finalists, folders: Mapping[str, Path]) -> None:
    """Point the registry's aliases at the kept students; their scores are the means."""
    if not outcome.file.tracking.enabled:
        return
    from tune.tracking.registry import register_champions

    table = {
        role: {alias: systems[system_name(number)] for alias, number in found.champions.items()}
        for role, systems in found.comparison.scores.items()
    }
    runs = {
        alias: finalist_key(number, found.kept[alias]) for alias, number in found.champions.items()
    }
    summary = outcome.summary().model_copy(update={"champions": found.champions})
    reasons = {
        alias: f"best mean {ALIASES[alias]} of {len(found.finalists)} finalists over "
        f"{len(found.seeds)} fresh seeds (`refkd finalists`); the seed that is best is kept"
        for alias in found.champions
    }
    borne = register_champions(
        outcome.file,
        summary,
        outcome.dataset,
        folders,
        table,
        identity=outcome.study.identity(),
        code=dict.fromkeys(folders, finalists_code(outcome.study.optuna.user_attrs)),
        runs=runs,
        reasons=reasons,
    )
    outcome.study.note_aliases(borne or [])
