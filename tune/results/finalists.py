"""Finalists: the best trials again on fresh seeds, and the champions chosen by their means."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from refkd.errors import RefKDError
from refkd.seeds import derive_seed
from refkd.training.export import open_student, record_hash
from tune.config.metrics import BALANCED
from tune.config.search_spec import signs_of
from tune.config.study_file import StudyFile, load_study_file
from tune.ending.exits import UnfinishedError
from tune.ending.stopping import stopped_at_once
from tune.execution.cluster import ray_session
from tune.execution.jobs import (
    CHECKPOINTS,
    JobEnd,
    JobList,
    JobListener,
    TrainingJob,
    Workplace,
    interrupted,
    mean,
)
from tune.execution.progress import Reporter, scores_text
from tune.execution.study_jobs import OpenSearch, open_ended_search
from tune.results.champions import finalist_standings, place_by, select_finalist_champions
from tune.results.rounds import Place, next_round
from tune.study.environment import environment
from tune.study.event_base import study_events
from tune.study.finalist_events import (
    FinalistEpochEnded,
    FinalistsBegun,
    FinalistTrained,
    SeedResult,
)
from tune.study.folders import finalist_folder
from tune.study.outcomes import Finalist, Finalists
from tune.study.ranking import current
from tune.study.storage import to_be_continued
from tune.study.view import TrialView
from tune.tracking.operations import finalist_key
from tune.tracking.record import Record, check_record


def finalists(
    study: StudyFile | Path | str,
    *,
    top: int = 3,
    seeds: int = 3,
    sure: float | None = None,
    address: str | None = None,
    reporter: Reporter | None = None,
    train: Callable[[Sequence[TrainingJob], Workplace, JobListener], None] | None = None,
    verify: bool = True,
) -> Finalists:
    """Run the best trials of an ended search again on fresh seeds and choose the champions.

    The `top` trials by each objective and by the harmonic mean are trained from `seeds` seeds that
    the search never used; champions are chosen by the means. With `sure`, a probability, seeds
    beyond the third are trained only for trials that may still be champions, until each
    champion is the best that surely. Another call continues an earlier one. `train` takes the
    place of Ray; `verify` is as for `open_ended_search`. Raises as that; `UnfinishedError` where a
    worker died for good, `NoneCompleteError` where every finalist failed,
    `InterruptedSearchError` after Ctrl-C. Source: evaluation protocol, "Finalists".
    """
    if top < 1 or seeds < 1:
        raise RefKDError(f"top is {top} and seeds is {seeds}; both must be at least 1")
    if sure is not None and not 0.5 <= sure < 1:
        raise RefKDError(f"sure is {sure}; give a probability from 0.5 to below 1")
    file = study if isinstance(study, StudyFile) else load_study_file(study)
    away = check_record(file)
    with (
        stopped_at_once(),
        reporter or Reporter() as shown,
        open_ended_search(file, verify=verify) as search,
        to_be_continued(),
    ):
        if away is not None:
            shown.stage(away)
        if absent := search.dataset.manifest.no_test:
            shown.stage(f"the dataset has {absent}: `refkd evaluate --final` cannot follow")
        finals = _Finals(search, shown, top=top, seeds=seeds, sure=sure)
        finals.run(train or partial(_train_with_ray, address))
        return select_finalist_champions(search, finals.rows(), shown)


def read_results(attributes: Mapping[str, Any]) -> dict[tuple[int, int], SeedResult]:
    """Return the results of the finalists' students, by trial and replicate."""
    names = [field.name for field in fields(SeedResult)]
    return {
        (one.trial, one.replicate): SeedResult(**{name: getattr(one, name) for name in names})
        for one in study_events(attributes, FinalistTrained)
    }


def choose(
    views: Sequence[TrialView],
    objectives: Sequence[str],
    *,
    top: int,
    minimize: Sequence[str] = (),
) -> list[TrialView]:
    """Return the `top` trials by each objective and by the harmonic mean, each once, by number.

    Only complete trials that keep their constraints count, and of those that continue each other
    the last. Ties go to fewer CPU seconds, then to the lower number.
    """
    names = (*objectives, BALANCED)
    signs = signs_of(names, minimize)
    counting = [v for v in current(views) if v.feasible and all(n in v.kept for n in names)]
    chosen = set[int]()
    for name, sign in zip(names, signs, strict=True):
        best = sorted(place_by(v.number, v.kept, name, sign) for v in counting)[:top]
        chosen |= {number for *_, number in best}
    return sorted((v for v in counting if v.number in chosen), key=lambda v: v.number)


def fresh_seeds(file: StudyFile, wanted: int, views: Sequence[TrialView] = ()) -> list[int]:
    """Return seeds of the finalists: the same at every call, none of them the search's."""
    most = max((view.repeats for view in views), default=0)
    used = {seed for repeats in range(most + 1) for seed in file.seeds(repeats)}
    drawn = (derive_seed(file.seed, "finalists", i) % (1 << 31) for i in count())
    return list(islice((seed for seed in drawn if seed not in used), wanted))


def _train_with_ray(
    address: str | None, jobs: Sequence[TrainingJob], place: Workplace, listener: JobListener
) -> None:
    with ray_session(place.resources, address=address):
        from tune.execution.training import run_jobs

        run_jobs(JobList(jobs, listener), place)


class _Finals(JobListener):
    """One call, and the listener of its jobs."""

    def __init__(
        self,
        search: OpenSearch,
        reporter: Reporter,
        *,
        top: int,
        seeds: int,
        sure: float | None,
    ) -> None:
        self._search, self._reporter, self._sure = search, reporter, sure
        self._seeds = fresh_seeds(search.file, seeds, search.study.views())
        self._chosen = choose(
            search.study.views(),
            search.file.objectives,
            top=top,
            minimize=search.file.minimize,
        )
        self._jobs = {
            (view.number, replicate): search.jobs.students(
                finalist_key(view.number, replicate),
                finalist_folder(search.file.folder, view.number, replicate),
                view.values,
                [seed],
            )
            for replicate, seed in enumerate(self._seeds)
            for view in self._chosen
        }
        """The job of every student, seed by seed, by trial and replicate."""
        self._students = {job.key: student for student, job in self._jobs.items()}
        self._counts = dict.fromkeys((view.number for view in self._chosen), 0)
        """Seeds that each finalist has had, in the rounds so far."""
        self._deaths: dict[str, str] = {}
        """Why workers died for good, by the key of their job."""

    def run(self, train: Callable[[Sequence[TrainingJob], Workplace, JobListener], None]) -> None:
        left: list[TrainingJob] = []
        with Record(self._search.file) as self._record:
            self._record.study_started(self._search.study, self._search.dataset)
            while not left and (places := self._next()):
                left = self._train(places, train)
        for student in read_results(self._search.study.optuna.user_attrs):
            job = self._jobs.get(student)
            if job is not None and (job.folder / CHECKPOINTS).is_dir():
                shutil.rmtree(job.folder / CHECKPOINTS)
        if self._deaths:
            reasons = "; ".join(f"{key}: {why}" for key, why in self._deaths.items())
            raise UnfinishedError(f"{reasons}; run the same command again to continue")
        if left:
            raise interrupted(len(left), len(places), "students of finalists")

    def _next(self) -> list[Place]:
        """Return the students of the next round.

        It follows from the results of earlier rounds alone, so another call does the same.
        """
        if any(self._counts.values()) and all(row.failures for row in self.rows()):
            return []
        return next_round(
            self._counts,
            lambda: finalist_standings(self._search, self.rows()).values(),
            most=len(self._seeds),
            sure=self._sure,
        )

    def _train(
        self,
        places: Sequence[Place],
        train: Callable[[Sequence[TrainingJob], Workplace, JobListener], None],
    ) -> list[TrainingJob]:
        """Train the students of a round; return those that are left."""
        left = self._left(places)
        of = len({number for number, _ in places})
        self._reporter.stage(
            f"{of} finalists on {1 + max(k for _, k in places)} fresh seeds: {len(left)} of "
            f"{len(places)} students to train"
        )
        if left:
            first = not any(self._counts.values())
            for last in [max(k for _, k in places)] if first else sorted({k for _, k in places}):
                self._append(
                    FinalistsBegun(
                        begun=time.time(),
                        trials=sorted({n for n, k in places if first or k == last}),
                        seeds=self._seeds[: last + 1],
                        environment=environment(),
                    )
                )
            train(left, self._search.jobs.place, self)
        left = self._left(places)
        for number, _ in () if left else places:
            self._counts[number] += 1
        return left

    def rows(self) -> list[Finalist]:
        """Return each finalist with its results on the seeds that it has had."""
        results, found = read_results(self._search.study.optuna.user_attrs), []
        for view in self._chosen:
            runs = [results[view.number, k] for k in range(self._counts[view.number])]
            whole = all(run.failed is None for run in runs)
            metrics = mean([run.metrics for run in runs]) if whole else {}
            found.append(
                Finalist(trial=view.number, values=view.values, runs=runs, metrics=metrics)
            )
        return found

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Store an epoch."""
        trial, replicate = self._students[job.key]
        self._append(
            FinalistEpochEnded(
                trial=trial,
                replicate=replicate,
                epoch=epoch,
                at=time.time(),
                metrics=dict(metrics),
            )
        )

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Store and report the result of a student, or why its training failed.

        A failed training would fail again; after the death of a worker another call trains again.
        """
        if end.died:
            self._deaths[job.key] = str(end.failed)
            return
        trial, replicate = self._students[job.key]
        trained = end.failed is None
        self._append(
            FinalistTrained(
                trial=trial,
                replicate=replicate,
                seed=self._seeds[replicate],
                epochs=job.networks[0].total_epochs() if trained else 0,
                metrics=dict(end.metrics),
                sha256=open_student(job.folder).record.sha256 if trained else None,
                record=record_hash(job.folder) if trained else None,
                failed=end.failed,
            )
        )
        text = scores_text(end.metrics) if trained else f"failed: {end.failed}"
        self._reporter.stage(f"{job.key}: {text}")

    def _append(self, event: FinalistsBegun | FinalistEpochEnded | FinalistTrained) -> None:
        self._search.study.append(event)
        self._record.wake()

    def _left(self, places: Sequence[Place]) -> list[TrainingJob]:
        known = read_results(self._search.study.optuna.user_attrs)
        return [self._jobs[place] for place in places if place not in known]
