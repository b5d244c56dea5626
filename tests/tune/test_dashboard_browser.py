"""A study opened in optuna-dashboard, in a real browser."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.browser import needs_chromium
from support.ports import reserve_port
from support.recorded_curves import fill, study_file
from support.shared import url_answers

from tune.study.search_study import SearchStudy

pytestmark = [*needs_chromium, pytest.mark.system]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard on a study with complete, pruned and failed trials."""
    url = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'study.db'}"
    file = study_file(name="shown", budget={"trials": 12}, pruning={"type": "stop"})
    fill(SearchStudy(file.search_spec(), url))
    port = reserve_port()
    program = Path(sys.executable).parent / "optuna-dashboard"
    server = subprocess.Popen([program, url, "--host", "127.0.0.1", "--port", str(port)])
    address = f"http://127.0.0.1:{port}"
    while not url_answers(f"{address}/api/studies"):
        assert server.poll() is None
        time.sleep(0.2)
    yield address
    server.kill()
    server.wait()


def test_the_dashboard_lists_every_state(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/dashboard/studies/1/trials")
    for state in ("Complete", "Pruned", "Fail"):
        expect(page.get_by_text(state).first).to_be_visible()
    page.screenshot(path=tmp_path / "trials.png")


def test_the_dashboard_draws_the_front(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/dashboard/studies/1")
    expect(page.get_by_text("Pareto Front").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .scatterlayer .point").first).to_be_visible()
    picture = tmp_path / "front.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
