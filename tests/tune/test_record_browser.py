"""A search that really ran, as a lab finds it in MLflow's pages: from the list to the lineage."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, expect
from support.browser import needs_chromium

from tune import compat
from tune.tracking.views import view_key

if TYPE_CHECKING:
    from support.chaos import Workspace
    from support.tracking_server import Server

pytestmark = [
    *needs_chromium,
    pytest.mark.system,
    pytest.mark.filterwarnings(
        # MLflow's own imports, which nothing here can mend.
        "ignore::DeprecationWarning:mlflow.*",
        "ignore::FutureWarning:mlflow.*",
    ),
]
EXPERIMENT, MODEL = "refkd/quick", "refkd-quick"


class Lab:
    """The server of a finished search's record, and a browser before it."""

    def __init__(self, server: Server, page: Page) -> None:
        self.page = page
        self._uri = server.uri
        self.client = MlflowClient(server.uri)
        held = self.client.get_experiment_by_name(EXPERIMENT)
        assert held is not None
        self.experiment = str(held.experiment_id)
        runs = self.client.search_runs([self.experiment], max_results=200)
        self.runs = {run.info.run_name: run for run in runs}

    def students(self, count: int) -> list[str]:
        """Return the names of the first trials that were trained to the end."""
        done = [n for n, r in self.runs.items() if r.data.tags.get("refkd.state") == "COMPLETE"]
        return sorted(name for name in done if name.startswith("trial-"))[:count]

    def show(self, address: str) -> Page:
        """Open an address for good: one of the same document would only change its fragment."""
        self.page.goto("about:blank")
        self.page.goto(f"{self._uri}/#/{address}")
        return self.page


@pytest.fixture(scope="module")
def lab(calm: Workspace, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from support.tracking_server import Server

    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(calm.runs / "mlflow.db", folder / "mlflow.db")
    server = Server(folder)
    server.start()
    yield Lab(server, page)
    server.kill()


def seen(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_text(text, exact=isinstance(text, str)).first).to_be_visible()


def scroll_to(page: Page, text: str) -> None:
    """Go down a list of metrics, of which MLflow makes only the part near what is in sight."""
    for _ in range(100):
        if page.get_by_text(text, exact=True).count():
            return
        page.get_by_role("link", name=re.compile(rf"^{text.partition('/')[0]}\b")).last.hover()
        page.mouse.wheel(0, 60)
        page.wait_for_timeout(100)


def picture(page: Page, path: Path) -> None:
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 10_000


def test_three_students_and_a_teacher_stand_side_by_side(lab: Lab, tmp_path: Path) -> None:
    names = [*lab.students(3), "teacher-id"]
    assert len(names) == 4
    asked: dict[str, Any] = {
        "runs": [lab.runs[name].info.run_id for name in names],
        "experiments": [lab.experiment],
    }
    query = "&".join(f"{key}={quote(json.dumps(value))}" for key, value in asked.items())
    page = lab.show(f"compare-runs?{query}")
    for name in names:
        seen(page, name)
    metric = "kept/val_id/miou"  # of the epoch that was kept
    seen(page, metric)
    for name in names:
        value = lab.runs[name].data.metrics[metric]
        seen(page, re.compile(rf"^\s*{re.escape(f'{value:.4g}')}\s*$"))
    scroll_to(page, "kept/val_ood/miou")
    seen(page, "kept/val_ood/miou")
    picture(page, tmp_path / "compare.png")


def test_the_table_holds_state_scores_and_searched_values(lab: Lab, tmp_path: Path) -> None:
    page = lab.show(compat.runs_page(lab.experiment, view_key("quick", "table")))
    page.set_viewport_size({"width": 2400, "height": 1000})
    best = max(lab.runs.values(), key=lambda run: run.data.metrics.get("kept/val_id/miou", 0.0))
    seen(page, str(best.info.run_name))
    rows = page.locator("a", has_text=re.compile(r"^(trial-\d{4}|teacher-(id|ood))$"))
    assert rows.first.inner_text() == best.info.run_name, "the best first objective is on top"
    searched = list(lab.runs[lab.students(1)[0]].data.params)
    assert searched
    for name in ("kept/val_id/miou", "kept/val_ood/miou", "refkd.state", *searched):
        seen(page, name)
    picture(page, tmp_path / "table.png")


def test_the_charts_draw_searched_values_and_both_objectives(lab: Lab, tmp_path: Path) -> None:
    page = lab.show(compat.runs_page(lab.experiment, view_key("quick", "charts"), charts=True))
    seen(page, re.compile(r"Search\s*\(2\)"))
    drawn = page.locator("svg text")
    for name in lab.runs[lab.students(1)[0]].data.params:
        expect(drawn.filter(has_text=name[-6:]).first).to_be_attached()
    expect(drawn.filter(has_text="val_ood/miou").first).to_be_attached()
    picture(page, tmp_path / "charts.png")


@pytest.mark.parametrize("teacher", ["teacher-id", "teacher-ood"])
def test_a_students_page_leads_to_its_teachers(lab: Lab, teacher: str, tmp_path: Path) -> None:
    student = lab.students(1)[0]
    page = lab.show(f"experiments/{lab.experiment}/runs/{lab.runs[student].info.run_id}")
    seen(page, re.compile("Distilled from"))
    picture(page, tmp_path / "student.png")
    address = page.get_by_role("link", name=teacher, exact=True).first.get_attribute("href")
    assert address is not None
    assert f"experiments/{lab.experiment}/models/" in address
    lab.show(address.rpartition("#/")[2])  # it opens in a tab of its own
    expect(page.get_by_role("heading", name=teacher).first).to_be_visible()
    picture(page, tmp_path / f"{teacher}.png")


def test_the_registered_model_names_its_aliases(lab: Lab, tmp_path: Path) -> None:
    page = lab.show(f"models/{MODEL}")
    for alias in lab.client.get_registered_model(MODEL).aliases:
        seen(page, re.compile(alias))
    seen(page, re.compile("best-ood"))
    seen(page, re.compile("Student of trial"))
    picture(page, tmp_path / "registered.png")
