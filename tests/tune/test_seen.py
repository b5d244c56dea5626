"""What a driver remembers of its trials is what their storage holds, whatever storage it is."""

from __future__ import annotations

import pytest
from optuna.storages import InMemoryStorage
from support.recorded_curves import TABLE, study_file

from tune.study.search_study import SearchStudy
from tune.study.storage import open_storage
from tune.study.view import view


def compare(driver: SearchStudy, other: SearchStudy) -> None:
    """Assert that the driver sees what somebody sees who looks for the first time."""
    assert driver.views() == [view(trial) for trial in other.optuna.get_trials(deepcopy=False)]


@pytest.mark.parametrize("pruning", [{}, {"type": "stop"}], ids=str)
def test_a_driver_sees_every_write_in_the_storage(
    storage_url: str, pruning: dict[str, str]
) -> None:
    file = study_file(budget={"trials": 8}, pruning=pruning)
    driver = SearchStudy(file.search_spec(), storage_url)
    driver.begin_launch()
    driver.enqueue({"distill.lambda_id": 0.5, "distill.lambda_ood": 0.5})
    other = SearchStudy(file.search_spec(), open_storage(storage_url))
    while (ask := driver.ask()) is not None:
        compare(driver, other)
        first = driver.views()[ask.number].epoch + 1
        for epoch in range(first, file.training.epochs + 1):
            metrics = TABLE.nearest(ask.values).at(epoch)
            action = driver.record(ask.number, epoch, metrics)
            compare(driver, other)
            if ask.number == 3:
                driver.fail(ask.number, "the loss is not finite")
            elif action == "pause":
                driver.pause(ask.number)
            elif action == "stop":
                driver.prune(ask.number)
            elif epoch == file.training.epochs:
                driver.complete(ask.number, metrics)
            else:
                continue
            break
        compare(driver, other)
    driver.close_paused()
    compare(driver, other)
    assert {v.state for v in driver.views()} == {"COMPLETE", "PRUNED", "FAIL"}


def test_a_trial_that_has_not_changed_is_not_read_again() -> None:
    driver = SearchStudy(study_file().search_spec(), InMemoryStorage())
    driver.begin_launch()
    first, second = driver.begin().number, driver.begin().number
    before = driver.views()
    driver.record(first, 1, TABLE.curves[0].at(1))
    after = driver.views()
    assert after[first] is not before[first]
    assert after[second] is before[second]
