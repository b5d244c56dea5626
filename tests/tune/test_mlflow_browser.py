"""What a person sees of a search in MLflow's own pages, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mlflow.entities import Run
from playwright.sync_api import Page, expect
from support.browser import needs_chromium
from support.recording import SECONDS, by_name, put_everything, tracker

from tune import compat
from tune.tracking.delivery import Delivered

EXPERIMENT = "refkd/shown"

pytestmark = [
    *needs_chromium,
    pytest.mark.system,
    pytest.mark.filterwarnings(
        # MLflow's own imports, which nothing here can mend.
        "ignore::DeprecationWarning:mlflow.*",
        "ignore::FutureWarning:mlflow.*",
    ),
]


@pytest.fixture(scope="module")
def students(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Three finished trials of a study, by their names."""
    folder = tmp_path_factory.mktemp("study")
    track = tracker(mlflow_uri, folder, EXPERIMENT)
    put_everything(track, folder, trials=3)
    assert track.close(SECONDS) == Delivered()
    found = by_name(mlflow_uri, EXPERIMENT)
    return {name: run for name, run in sorted(found.items()) if name.startswith("trial-")}


def show(page: Page, address: str) -> None:
    """Open an address for good: a page of the same document would only change its fragment."""
    page.goto("about:blank")
    page.goto(address)


def test_the_compare_page_shows_three_students_side_by_side(
    mlflow_uri: str, students: dict[str, Run], page: Page, tmp_path: Path
) -> None:
    runs = [run.info.run_id for run in students.values()]
    (experiment,) = {run.info.experiment_id for run in students.values()}
    show(page, f"{mlflow_uri}/#/{compat.compare_page(experiment, runs)}")

    for name, run in students.items():
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
        value = run.data.metrics["val_id/miou"]
        shown = re.compile(rf"^\s*{value:g}(\.0+)?\s*$")
        expect(page.get_by_text(shown).first).to_be_visible()
    for name in ("val_id/miou", "train/loss", "distill.tau"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    picture = tmp_path / "compare.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 10_000


def test_the_experiment_lists_the_study_and_its_students(
    mlflow_uri: str, students: dict[str, Run], page: Page, tmp_path: Path
) -> None:
    (experiment,) = {run.info.experiment_id for run in students.values()}
    show(page, f"{mlflow_uri}/#/experiments/{experiment}/runs")
    study = page.get_by_role("gridcell").filter(has_text="quick")
    expect(study.first).to_be_visible()
    study.first.get_by_role("button").first.click()  # children are folded below their parent
    for name in students:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "experiment.png")
