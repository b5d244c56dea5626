"""A study with all that one can have: champions, finalists, a look, an alias moved by hand."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.ended_study import SCORES, EndedStudy, FakeTrainer, end_study

from refkd.data.dataset import Dataset
from refkd.training.teacher import Teacher
from refkd.urls import Url
from tune import evaluate_final, finalists
from tune.execution.progress import Reporter
from tune.execution.study_jobs import open_ended_search
from tune.report.make import report
from tune.results.champions import select_search_champions
from tune.results.promote import promote
from tune.study.events import TeacherTrained
from tune.tracking.record import Record


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The study, in a folder of its own with its dataset and MLflow; a copy of all lies beside."""

    study: EndedStudy
    home: Path
    whole: Path

    @property
    def folder(self) -> Path:
        return self.study.file.folder

    @property
    def store(self) -> Path:
        """MLflow's, an SQLite file."""
        return self.home / "mlflow.db"

    @property
    def held(self) -> Path:
        """Where the store lies while it is not there."""
        return self.home.with_name("held.db")

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Put everything back in the end, at the same paths: MLflow has written them down."""
        try:
            yield
        finally:
            if self.store.is_file():
                self.store.rename(self.held)  # MLflow holds it open: it stays the same file
            shutil.rmtree(self.home)
            shutil.copytree(self.whole, self.home)
            self.held.write_bytes(self.store.read_bytes())
            self.held.replace(self.store)


def finish_study(place: Path, dataset: Dataset, empty_store: Path) -> Finished:
    """Make the study; `empty_store` is a store of MLflow that nothing was sent to."""
    home, whole = place / "home", place / "whole"
    own = Dataset.open(shutil.copytree(dataset.path, home / "dataset"))
    store = shutil.copyfile(empty_store, home / "mlflow.db")
    study = end_study(home, own, tracking={"uri": Url.of_file(store).reveal()})
    with open_ended_search(study.path) as search:
        for role, teacher in search.teachers.items():
            search.study.append(_trained(role, teacher))
        with Record(search.file) as record:
            record.study_started(search.study, own)
        select_search_champions(search, Reporter())
    fake = FakeTrainer(own, {number: [scores] * 2 for number, scores in SCORES.items()})
    finalists(study.path, top=1, seeds=2, train=fake)
    promote(study.path, alias="stable", trial=1, reason="half the parameters")
    evaluate_final(study.path)
    report(study.path)
    gc.collect()  # closes the study's database, whose write-ahead log is merged then
    shutil.copytree(home, whole)
    return Finished(study=study, home=home, whole=whole)


def _trained(role: str, teacher: Teacher) -> TeacherTrained:
    return TeacherTrained(role=role, digest=teacher.digest, file=teacher.file_hash)
