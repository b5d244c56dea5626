"""Every job of a run has one end, whatever becomes of its workers: Ray's part is played here."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from ray.tune.search import Searcher
from support.ended_study import scored

from refkd.data.dataset import Dataset
from tune.config.limits import Resources
from tune.config.study_file import StudyFile
from tune.ending.exits import UnfinishedError
from tune.execution.jobs import JobEnd, JobList, JobListener, TrainingJob, Workplace
from tune.execution.machine import fault_of
from tune.execution.preemption import NodeLeavingError
from tune.execution.progress import Reporter
from tune.execution.searcher import JobSearcher
from tune.execution.study_jobs import SearchJobs, StudyJobs
from tune.execution.worker import FAILED, FAULT, FINAL, train_job
from tune.study.request import TrialRequest
from tune.study.search_study import SearchStudy
from tune.study.storage import StorageError

GAVE_UP, SILENT = "the loss is not finite", "the worker ended without reporting its last epoch"
DIED = "the worker process died"
TRAINED = {"val_id/miou": 1.0}
ENDS = {
    "trained": JobEnd(metrics=TRAINED),
    "died with its work done": JobEnd(metrics=TRAINED),
    "gave up": JobEnd(failed=GAVE_UP),
    "silent": JobEnd(failed=SILENT, died=True),
}
"""How a job ends by what becomes of its worker."""
FATES = (*ENDS, "died", "left its node", "its disk is full")


@dataclass
class Heard(JobListener):
    """A listener that writes down what it hears."""

    started: Counter[str] = field(default_factory=Counter)
    epochs: Counter[str] = field(default_factory=Counter)
    ends: list[tuple[str, JobEnd]] = field(default_factory=list)

    def job_started(self, job: TrainingJob) -> None:
        self.started[job.key] += 1

    def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs[job.key] += epoch

    def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
        self.ends.append((job.key, end))


@dataclass
class Played:
    """A run whose workers meet the fates that are given for each job, one a start."""

    searcher: JobSearcher
    fates: Mapping[str, Iterator[str]]

    def __post_init__(self) -> None:
        self.running: dict[str, str] = {}
        """Ray's trial to the job's key."""
        self.order: list[str] = []
        """Keys as they are handed out."""

    def play(self, *, workers: int, random: Random) -> None:
        """Begin and end workers in any order until there is no more to hand out."""
        for trial in map(str, range(1000)):
            while len(self.running) == workers or (self.running and random.random() < 0.5):
                self._end_one(random)
            while (config := self.searcher.suggest(trial)) is None:
                self._end_one(random)
            if isinstance(config, str):
                assert config == Searcher.FINISHED
                assert not self.running, "a job that runs may be given back"
                return
            self.running[trial] = config["job"].key
            self.order.append(config["job"].key)
        raise AssertionError("it does not end")

    def _end_one(self, random: Random) -> None:
        assert self.running, "nothing runs, and yet there is to be more"
        trial = random.choice(sorted(self.running))
        key = self.running.pop(trial)
        fate = next(self.fates[key])
        self.searcher.report(trial, {"epoch": self.order.count(key), **TRAINED})
        if fate in ("trained", "died with its work done"):
            self.searcher.report(trial, {FINAL + name: value for name, value in TRAINED.items()})
        if fate == "gave up":
            self.searcher.report(trial, {FAILED: GAVE_UP})
        if fate == "its disk is full":
            said = asdict(fault_of(OSError(errno.ENOSPC, "No space left on device")))
            self.searcher.report(trial, {FAULT + name: value for name, value in said.items()})
        if fate == "left its node":
            self.searcher.errors[trial] = NodeLeavingError.__name__
        for _ in range(2):  # a second time is as good as never
            self.searcher.on_trial_complete(trial, error=fate not in ENDS or "died" in fate)


def then_trained(fates: list[str]) -> Iterator[str]:
    yield from fates
    while True:
        yield "trained"


def expected(fates: list[str], retries: int) -> tuple[int, JobEnd]:
    """Return how often a job is begun, and its end."""
    deaths = 0
    for begun, fate in enumerate(then_trained(fates), start=1):
        deaths += fate == "died"
        if fate in ENDS or deaths > retries:
            return begun, ENDS.get(fate, JobEnd(failed=DIED, died=True))
    raise AssertionError


@given(
    fates=st.lists(st.lists(st.sampled_from(FATES), max_size=4), max_size=4),
    retries=st.integers(0, 2),
    workers=st.integers(1, 3),
    random=st.randoms(use_true_random=False),
)
def test_every_job_ends_once_and_is_begun_as_often_as_it_may(
    fates: list[list[str]], retries: int, workers: int, random: Random
) -> None:
    heard, by_key = Heard(), {str(number): one for number, one in enumerate(fates)}
    jobs = [TrainingJob(key=key, folder=Path(key), networks=[]) for key in by_key]
    source = JobList(jobs, heard)
    searcher = JobSearcher(source, retries=retries)
    run = Played(searcher, {key: then_trained(one) for key, one in by_key.items()})
    run.play(workers=workers, random=random)
    wanted = {key: expected(one, retries) for key, one in by_key.items()}
    if len(wanted) == 1 and wanted["0"][1].died and wanted["0"][1].failed == DIED:
        assert heard.ends == [], "whether it is to blame, nothing tells"
        with pytest.raises(UnfinishedError, match=DIED):
            searcher.check()
        return
    searcher.check()
    assert sorted(key for key, _ in heard.ends) == sorted(by_key)
    assert dict(heard.ends) == {key: end for key, (_, end) in wanted.items()}
    assert dict(heard.started) == {key: begun for key, (begun, _) in wanted.items()}
    epochs = {key: sum(range(begun + 1)) for key, (begun, _) in wanted.items()}
    assert dict(heard.epochs) == epochs
    assert source.failures == {k: e.failed for k, (_, e) in wanted.items() if e.failed}


def test_a_job_that_lost_its_worker_comes_before_those_that_wait() -> None:
    jobs = [TrainingJob(key=key, folder=Path(key), networks=[]) for key in "abc"]
    searcher = JobSearcher(JobList(jobs, Heard()), retries=1)
    run = Played(searcher, {key: then_trained(["died"] if key == "b" else []) for key in "abc"})
    run.play(workers=1, random=Random(0))
    assert run.order == ["a", "b", "b", "c"]


@pytest.mark.parametrize("fails", ["started", "epoch", "ended"])
def test_a_storage_that_fails_ends_the_run_and_no_job(fails: str) -> None:
    class Failing(Heard):
        def job_started(self, job: TrainingJob) -> None:
            self._fail("started")
            super().job_started(job)

        def epoch_ended(self, job: TrainingJob, epoch: int, metrics: Mapping[str, float]) -> None:
            self._fail("epoch")

        def job_ended(self, job: TrainingJob, end: JobEnd) -> None:
            self._fail("ended")
            super().job_ended(job, end)

        def _fail(self, where: str) -> None:
            if where == fails:
                raise StorageError("the server is down; start it")

    heard = Failing()
    jobs = [TrainingJob(key=key, folder=Path(key), networks=[]) for key in "ab"]
    searcher = JobSearcher(JobList(jobs, heard), retries=1)
    if fails == "started":
        assert searcher.suggest("one") == Searcher.FINISHED
    else:
        assert searcher.suggest("one") == {"job": jobs[0]}
        assert searcher.report("one", {"epoch": 1}) is (fails == "ended")
        searcher.on_trial_complete("one", error=fails == "epoch")
        assert searcher.suggest("two") == Searcher.FINISHED
    assert heard.ends == []
    with pytest.raises(StorageError, match=r"^the server is down; start it$"):
        searcher.check()


def test_what_was_at_work_when_faults_stop_a_run_goes_back_in_line_without_blame() -> None:
    back: list[tuple[str, bool]] = []

    class Source(JobList):
        def give_back(self, job: TrainingJob, *, blameless: bool = False) -> None:
            back.append((job.key, blameless))

    jobs = [TrainingJob(key=key, folder=Path(key), networks=[]) for key in "abcdef"]
    searcher = JobSearcher(Source(jobs, JobListener()), retries=1)
    full = asdict(fault_of(OSError(errno.ENOSPC, "No space left on device")))
    searcher.suggest("at work")
    for trial in "123":
        searcher.suggest(trial)
        searcher.report(trial, {FAULT + name: value for name, value in full.items()})
        searcher.on_trial_complete(trial, error=True)
    with pytest.raises(UnfinishedError, match="3 faults in a row"):
        searcher.check()
    assert ("a", True) in back
    assert {blameless for _, blameless in back} == {True}


def fault_in_a_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> dict[str, Any]:
    """Return the fault that a worker reports of a job without a dataset."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.tune.report", told.append)
    monkeypatch.setattr("tune.execution.worker.check_node", lambda: None)
    job = TrainingJob(key="0", folder=folder / "0000", networks=[])
    place = Workplace(
        dataset=folder / "lost",
        fingerprint="0",
        knowledge=folder,
        scratch=folder,
        resources=Resources(),
        workers=1,
    )
    with pytest.raises(kind):
        train_job({"job": job}, place=place)
    (report,) = told
    return {name.removeprefix(FAULT): value for name, value in report.items()}


def test_a_dataset_that_a_node_has_not_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault_in_a_worker(tmp_path, monkeypatch, OSError)["machine"] is True
    assert not (tmp_path / "0000").exists()


def test_the_traceback_of_an_error_that_nobody_thought_of_is_kept_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(place: Workplace) -> Dataset:
        raise ZeroDivisionError("of postgresql://ann:secret@host/studies")

    monkeypatch.setattr("tune.execution.worker.open_dataset", fails)
    fault = fault_in_a_worker(tmp_path, monkeypatch, ZeroDivisionError)
    assert fault["cause"].endswith(" (traceback: 0000/traceback.txt)")
    kept = (tmp_path / "0000" / "traceback.txt").read_text()
    assert "in fails\n" in kept
    assert kept.endswith("ZeroDivisionError: of postgresql://ann:***@host/studies\n")


def test_a_point_that_is_tried_again_is_trained_with_further_seeds(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = StudyFile.model_validate(
        {
            "name": "again",
            "dataset": str(tiny_dataset.path),
            "workspace": str(tmp_path),
            "space": {"distill.lambda_id": {"choice": [0.1]}},
            "replicates": {"seeds": 2},
        }
    )
    ask = TrialRequest(number=3, values={"distill.lambda_id": 0.1}, attempt=1, repeats=1)
    job = StudyJobs(file, tiny_dataset).trial(ask)
    assert [network.seed for network in job.networks] == file.seeds(1)


def test_values_that_no_student_has_together_fail_their_trial_alone(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = StudyFile.model_validate(
        {
            "name": "odd",
            "dataset": str(tiny_dataset.path),
            "workspace": str(tmp_path),
            "backbone": {"hidden": 12, "heads": 2},
            "training": {"epochs": 2},
            "distill": {"warmup_epochs": 1},
            "space": {
                "backbone.hidden": {"choice": [12, 10]},
                "backbone.heads": {"choice": [2, 3]},
            },
            "budget": {"trials": 2},
            "pruning": {"name": "none"},
        }
    )
    study = SearchStudy(file.search_spec(), InMemoryStorage())
    for hidden in (10, 12):
        study.enqueue({"backbone.hidden": hidden, "backbone.heads": 3})
    source = SearchJobs(StudyJobs(file, tiny_dataset), study, Reporter())
    job = source.next_job()
    assert job is not None
    assert job.key == "1"
    assert source.epoch_ended(job, 1, scored(1.0, 2.0), {})
    source.job_ended(job, JobEnd(metrics=scored(1.0, 2.0)))
    assert source.next_job() is None
    assert not source.may_follow()
    failed, trained = study.views()
    assert (failed.state, trained.state) == ("FAIL", "COMPLETE")
    assert "hidden=10 is not divisible by heads=3" in str(failed.reason)
