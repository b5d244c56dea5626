"""What should stand in MLflow of a study: the same whoever asks, from its events alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from support.simulated_search import recorded_file
from support.small_study import EPOCHS, OUTCOMES, SmallStudy, make_study, metrics

from refkd.data.dataset import Dataset
from tune.study.environment import environment
from tune.study.finalist_events import FinalistEpochEnded, FinalistsBegun, FinalistTrained
from tune.study.lease import DRIVER, Driver
from tune.study.search_study import SearchStudy
from tune.study.view import ENDED
from tune.tracking.lineage import Lineage, found_on_disk
from tune.tracking.operations import (
    BeginRun,
    EndRun,
    KeepModel,
    KeepSettings,
    KeepView,
    LogEpoch,
    Operation,
    finalist_key,
)
from tune.tracking.projection import Projection
from tune.tracking.source import StudySource
from tune.tracking.views import VIEWS, view_key


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> SmallStudy:
    """A study that was searched with tracking off."""
    return make_study(tmp_path, tiny_dataset)


def projection(study: SmallStudy, *, at_work: bool = False) -> Projection:
    opened = study.open()
    attributes = opened.optuna.user_attrs
    lineage = found_on_disk(study.file, attributes)
    return Projection(study.file, attributes, opened.views(), lineage, at_work=at_work)


def of(operations: Iterable[Operation], run: str) -> list[Operation]:
    return [one for one in operations if one.run == run]


def test_all_of_a_study_is_there_once_and_comes_out_the_same_again(study: SmallStudy) -> None:
    operations = projection(study).operations()
    keys = [one.key for one in operations]
    assert len(set(keys)) == len(keys)
    assert projection(study).operations() == operations
    begun = [one for one in operations if isinstance(one, BeginRun)]
    trials = [f"trial/{number:04d}" for number in OUTCOMES]
    assert [one.run for one in begun] == ["study", "teacher/id", "teacher/ood", *trials]
    assert {one.tags["refkd.git_commit"] for one in begun} == {environment().git_commit}
    ends = {one.run: one.status for one in operations if isinstance(one, EndRun)}
    assert ends.keys() == {one.run for one in begun}
    assert (ends["study"], ends["trial/0001"], ends["trial/0002"]) == (
        "FINISHED",
        "KILLED",
        "FAILED",
    )
    for number, (_, epochs) in OUTCOMES.items():
        logged = [one for one in of(operations, trials[number]) if isinstance(one, LogEpoch)]
        assert {one.epoch: one.metrics for one in logged} == {
            epoch: metrics(number, epoch) for epoch in range(1, epochs + 1)
        }
    models = {one.name for one in operations if isinstance(one, KeepModel)}
    assert models == {"teacher-id", "teacher-ood", "student-0000"}


def test_a_model_has_the_time_of_its_epoch(study: SmallStudy) -> None:
    trial = of(projection(study).operations(), "trial/0000")
    (model,) = [one for one in trial if isinstance(one, KeepModel)]
    (kept,) = [one for one in trial if isinstance(one, LogEpoch) and one.epoch == EPOCHS]
    assert (model.time, model.epoch) == (kept.time, kept.epoch)


def test_while_a_driver_is_at_work_the_study_has_no_end(study: SmallStudy) -> None:
    operations = projection(study, at_work=True).operations()
    assert not [one for one in of(operations, "study") if isinstance(one, EndRun)]
    assert len(operations) == len(projection(study).operations()) - 1


def test_a_trial_that_continues_another_uses_up_no_budget(study: SmallStudy) -> None:
    opened = study.open()
    views, nothing = opened.views(), Lineage(workspace=study.file.workspace)
    views[2] = replace(views[2], attributes={**views[2].attributes, "continues": 0})
    found = Projection(study.file, opened.optuna.user_attrs, views, nothing).operations()
    (end,) = [one for one in of(found, "study") if isinstance(one, EndRun)]
    assert end.status == "KILLED", "one of three trials is still to begin"


def test_a_model_of_a_trial_with_several_seeds_has_the_means_of_its_run(study: SmallStudy) -> None:
    opened = study.open()
    attributes, views = opened.optuna.user_attrs, opened.views()
    ended = {**views[0].attributes[ENDED], "students": ["one", "other"]}
    views[0] = replace(views[0], attributes={**views[0].attributes, ENDED: ended})
    lineage = found_on_disk(study.file, attributes)
    trial = of(Projection(study.file, attributes, views, lineage).operations(), "trial/0000")
    (model,) = [one for one in trial if isinstance(one, KeepModel)]
    (end,) = [one for one in trial if isinstance(one, EndRun)]
    assert end.metrics
    assert (model.epoch, model.time, model.metrics) == (0, end.time, end.metrics)


def test_without_the_files_the_curves_are_still_there(study: SmallStudy) -> None:
    opened = study.open()
    nothing = Lineage(workspace=study.file.workspace)
    views, attributes = opened.views(), opened.optuna.user_attrs
    found = Projection(study.file, attributes, views, nothing).operations()
    assert not [one for one in found if isinstance(one, KeepModel)]
    assert not [one for one in found if isinstance(one, BeginRun) and (one.datasets or one.models)]
    epochs = sum(count for _, count in OUTCOMES.values())
    assert len([one for one in found if isinstance(one, LogEpoch)]) == epochs


def test_finalists_stand_below_their_trials(study: SmallStudy) -> None:
    opened, code = study.open(), environment()
    opened.append(FinalistsBegun(begun=1.0, trials=[0], seeds=[17, 18], environment=code))
    for epoch in (1, 2):
        opened.append(
            FinalistEpochEnded(trial=0, replicate=1, epoch=epoch, at=2.0 + epoch, metrics={"m": 1})
        )
    opened.append(FinalistTrained(trial=0, replicate=1, seed=18, failed="not finite"))
    first, second = (
        of(projection(study).operations(), f"finalist/0000/seed-{k}") for k in range(2)
    )
    (only,) = first  # begun, and not trained yet
    assert isinstance(only, BeginRun)
    assert (len(only.datasets), len(only.models)) == (3, 2), "both teachers and their knowledge"
    begun, *_ = second
    assert isinstance(begun, BeginRun)
    assert (begun.parent, begun.params["seed"]) == ("trial/0000", "18")
    assert [one.epoch for one in second if isinstance(one, LogEpoch)] == [1, 2]
    settings, end = second[-2:]
    assert isinstance(settings, KeepSettings)
    assert settings.values["seed"] == 18
    assert isinstance(end, EndRun)
    assert (end.status, end.tags["refkd.reason"]) == ("FAILED", "not finite")


def test_a_trial_keeps_the_parameters_of_the_launch_it_was_asked_in(
    tmp_path: Path, mlflow_store: str
) -> None:
    """What a later launch fixes or searches changes nothing about the runs that are there."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    small = recorded_file(tmp_path, mlflow_store)
    study = SearchStudy(small.search_spec(), url)
    study.begin_launch(environment())
    asked = study.ask()
    assert asked is not None
    study.fail(asked.number, "stopped")
    lineage = Lineage(workspace=small.workspace)

    def begun(file: object) -> BeginRun:
        attributes = study.optuna.user_attrs
        operations = Projection(file, attributes, study.views(), lineage).operations()  # type: ignore[arg-type]
        return next(o for o in operations if isinstance(o, BeginRun) and o.run == "trial/0000")

    before = begun(small)
    space = {
        **small.model_dump(mode="json", by_alias=True)["space"],
        "distill.kd_temperature": {"float": [0.5, 4.0]},
    }
    grown = recorded_file(tmp_path, mlflow_store, space=space)
    SearchStudy(grown.search_spec(), url).begin_launch(environment())
    assert begun(grown) == before
    assert before.params.keys() == small.space.keys()


def test_only_what_has_changed_is_news(tmp_path: Path, mlflow_store: str) -> None:
    file = recorded_file(tmp_path, mlflow_store, workers=2)
    study = SearchStudy(file.search_spec(), f"sqlite:///{tmp_path / 'study.db'}")
    study.begin_launch(environment())
    source = StudySource(file, study.apart(), at_work=lambda: True)
    begun, *views = source.news()
    assert isinstance(begun, BeginRun)
    assert {view.name for view in views if isinstance(view, KeepView)} == {
        view_key(file.name, view) for view in VIEWS
    }
    assert {one.run for one in (begun, *views)} == {"study"}
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    assert {one.run for one in source.news()} == {"trial/0000", "trial/0001"}
    study.record(second.number, 1, {"val_id/miou": 1.0, "val_ood/miou": 2.0})
    news = source.news()
    assert {one.run for one in news} == {"trial/0001"}
    assert [one.epoch for one in news if isinstance(one, LogEpoch)] == [1]
    assert source.news() == []
    again = StudySource(file, study.apart(), at_work=lambda: True)
    assert {one.run for one in again.news()} == {"study", "trial/0000", "trial/0001"}


def test_whoever_took_a_study_over_sends_the_rest(tmp_path: Path, mlflow_store: str) -> None:
    file = recorded_file(tmp_path, mlflow_store, workers=2)
    study = SearchStudy(file.search_spec(), f"sqlite:///{tmp_path / 'study.db'}")
    study.begin_launch(environment())
    mine, other = Driver.me(), replace(Driver.me(), launch="other")
    source = StudySource(file, study.apart(), at_work=lambda: True, holder=mine)
    for holder, news in ((mine, True), (other, False), (None, False)):
        study.optuna.set_user_attr(DRIVER, None if holder is None else asdict(holder))
        assert bool(source.news()) is news


def test_an_epoch_of_a_finalist_is_news_of_finalists_alone(study: SmallStudy) -> None:
    opened = study.open()
    source = StudySource(study.file, opened.apart(), at_work=lambda: True)
    assert source.news()
    opened.append(FinalistsBegun(begun=1.0, trials=[1], seeds=[7], environment=environment()))
    assert {one.run for one in source.news()} >= {"study", "trial/0001", finalist_key(1, 0)}
    for number in (1, 2):
        opened.append(
            FinalistEpochEnded(trial=1, replicate=0, epoch=number, at=2.0, metrics={"m": 1.0})
        )
        news = source.news()
        assert {one.run for one in news} == {finalist_key(1, 0)}
        assert [one.epoch for one in news if isinstance(one, LogEpoch)] == [*range(1, number + 1)]
    assert source.news() == []


def test_a_driver_that_ends_while_its_study_is_read_leaves_a_finished_run(
    tmp_path: Path, mlflow_store: str
) -> None:
    file = recorded_file(tmp_path, mlflow_store, budget={"trials": 1})
    study = SearchStudy(file.search_spec(), f"sqlite:///{tmp_path / 'study.db'}")
    study.begin_launch(environment())
    asked = study.ask()
    assert asked is not None

    def ends_now() -> bool:
        """Let the driver end its last trial and itself at the moment it is asked for."""
        if study.views()[0].state == "RUNNING":
            study.record(asked.number, 1, metrics(asked.number, 1))
            study.complete(asked.number, metrics(asked.number, 1))
        return False

    source = StudySource(file, study.apart(), at_work=ends_now)
    news = [*source.news(), *source.news()]
    ends = {one.run: one.status for one in news if isinstance(one, EndRun)}
    assert ends == {"study": "FINISHED", "trial/0000": "FINISHED"}
