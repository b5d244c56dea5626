"""What is trained on Ray, and the callbacks of a run.

A job crosses to its worker by pickle: it holds configurations and paths alone, and no URL.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.roles import OpenRole
from refkd.training.export import FrozenStudent, open_student, student_is_frozen
from refkd.training.student import StudentConfig
from refkd.training.teacher import AnyTeacher, TeacherConfig, find_teacher
from refkd.urls import Url
from tune.config.limits import Resources
from tune.ending.exits import InterruptedSearchError
from tune.ending.listener import AGAIN
from tune.study.folders import teacher_folder

CHECKPOINTS = "checkpoints"
COST, SPREAD = "cost/", "sd/"
Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """Networks to train that differ by their seeds alone: one, or all of a trial."""

    key: str
    """Its name among the jobs of a run."""
    folder: Path
    """Where the first network lies; see `tune.study.folders.seed_folder` for the others."""
    networks: Sequence[TeacherConfig | StudentConfig]
    """A configuration for each seed."""
    teachers: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the students' teachers, by `id` and `ood`."""
    race: int = 1
    """How many are trained side by side and reported; the others follow once those are through."""
    continues: Path | None = None
    """Folder of another job, from whose checkpoints this one begins."""
    inherited: int = 0
    """Epochs that the other job had; they are not reported again."""
    scored: Sequence[OpenRole] = ()
    """Validation roles whose pairs are reported, by video, where trials race."""
    shared: bool = False
    """Whether others may need the same network: it is trained once, and keeps no checkpoints."""

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where the jobs of a run are trained, and what they may use; paths are absolute."""

    dataset: Path | Url
    """Folder or address of the dataset, as the workers find it."""
    fingerprint: str
    """Of the dataset's content."""
    knowledge: Path
    """Folder of all knowledge."""
    scratch: Path
    """Folder of Ray's own files, removed after the run."""
    resources: Resources
    """What each job holds."""
    workers: int
    """Jobs that are trained at once."""
    retries: int = 1
    """How often a job whose worker died is handed out again within a run."""


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """How a job ended: with metrics, without any where it was stopped, or with a failure."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """What was kept: means over the seeds, and the cost of the whole training."""
    failed: str | None = None
    """Why it failed."""
    died: bool = False
    """Whether its workers failed, not training itself: it may succeed another time."""


class JobListener:
    """Callbacks of a list of jobs, which do nothing unless they are overridden."""

    def job_started(self, job: TrainingJob) -> None:
        """Called when a job is handed out, also when it is handed out again."""

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch with its metrics."""

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Called once for each job."""


class JobList:
    """Jobs that are known from the start, handed out one by one."""

    def __init__(self, jobs: Sequence[TrainingJob], listener: JobListener) -> None:
        self._waiting = deque(jobs)
        self._listener = listener
        self.left = len(jobs)
        """Jobs that have not ended."""
        self.failures: dict[str, str] = {}
        """Why jobs failed, by their key."""

    def next_job(self) -> TrainingJob | None:
        """Return the next of the list; None where there is none now."""
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        self._listener.job_started(job)
        return job

    def may_follow(self) -> bool:
        """Return whether there may be a next one: a job that has not ended may be given back."""
        return self.left > 0

    def epoch_ended(
        self, job: TrainingJob, epoch: int, metrics: Mapping[str, float], scored: Mapping[str, str]
    ) -> bool:
        """Tell the listener; every job goes on to its last epoch."""
        self._listener.epoch_ended(job, epoch, metrics)
        return True

    def give_back(self, job: TrainingJob, *, blameless: bool = False) -> None:
        """Put a job that has lost its worker in front of those that wait."""
        self._waiting.appendleft(job)

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        """Note a failure and tell the listener."""
        self.left -= 1
        if end.failed is not None:
            self.failures[job.key] = end.failed
        self._listener.job_ended(job, end)


def interrupted(left: int, total: int, what: str) -> InterruptedSearchError:
    """Return the error of a run that was stopped with jobs left."""
    return InterruptedSearchError(f"stopped with {left} of {total} {what} left; {AGAIN}")


def trained_network(folder: Path) -> AnyTeacher | FrozenStudent | None:
    """Return the network that was trained in a folder; None where its training has not ended."""
    teacher = find_teacher(folder)
    if teacher is None and student_is_frozen(folder):
        return open_student(folder)
    return teacher


def teacher_job(key: str, config: TeacherConfig, dataset: Dataset, workspace: Path) -> TrainingJob:
    """Return the job of a teacher; its folder is shared by all that need an equal one."""
    folder = teacher_folder(workspace, config, dataset)
    return TrainingJob(key=key, folder=folder, networks=(config,), shared=True)


def mean(results: Sequence[Metrics]) -> Metrics:
    """Return the mean of each metric, costs added up; `sd/` names hold spreads of validation.

    >>> mean([{"val_id/miou": 40.0, "cost/cpu_seconds": 1.0}])
    {'val_id/miou': 40.0, 'cost/cpu_seconds': 1.0}
    >>> mean([{"val_id/miou": 40.0}, {"val_id/miou": 42.0}])["val_id/miou"]
    41.0
    """
    merged: Metrics = {}
    for name in results[0]:
        values = [metrics[name] for metrics in results]
        merged[name] = sum(values) if name.startswith(COST) else statistics.fmean(values)
        if len(values) > 1 and name.startswith("val"):
            merged[SPREAD + name] = statistics.stdev(values)
    return merged
