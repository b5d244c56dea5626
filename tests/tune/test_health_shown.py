"""Where the health of a search and the importance of its values are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ended_study import EndedStudy, end_study, scored
from support.report_page import Page, content_of, page_of
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from tune.cli import app
from tune.config.study_file import load_study_file
from tune.report.figure import Section
from tune.study.effects import FEW
from tune.study.launch import Launch
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot

STARTED = "curves draws at random until 6 trials have ended, but the search ended with 4: lower "


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    """A study of four trials, which is fewer than its sampler begins with."""
    return end_study(tmp_path, tiny_dataset)


def printed(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.output.split())


def test_status_says_it_and_tells_it_to_scripts(study: EndedStudy) -> None:
    assert f"! {STARTED}" in printed("status", study.path)
    (found,) = json.loads(printed("status", study.path, "--json"))["health"]
    assert (found["check"], found["about"]) == ("sampler", "curves")
    assert f"{found['what']}: {found['remedy']}.".startswith(STARTED)


def test_watch_says_it_and_tells_it_to_scripts(study: EndedStudy) -> None:
    assert f"! {STARTED}" in printed("watch", study.path, "--once")
    assert f"! {STARTED}" in printed("watch", study.path)
    told = json.loads(printed("watch", study.path, "--once", "--json"))
    assert told["health"] == json.loads(printed("status", study.path, "--json"))["health"]


def test_the_report_says_it(study: EndedStudy) -> None:
    words = page_of(study.path).words
    assert f"What to mend in the search {STARTED}" in words


def test_a_study_in_good_health_says_nothing(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = end_study(tmp_path, tiny_dataset, sampler={"name": "random"})
    assert "!" not in printed("status", study.path)
    assert json.loads(printed("status", study.path, "--json"))["health"] == []
    assert "What to mend" not in page_of(study.path).words


def test_a_study_that_no_launch_has_begun_is_not_judged(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    path = searched(tmp_path, tiny_dataset, trials=0)
    assert open_snapshot(path).summary.health == []


def searched(
    folder: Path, dataset: Dataset, *, trials: int, objectives: int = 2, launch: bool = False
) -> Path:
    """Search where lambda_id decides about ID and nothing about OOD; return the study file."""
    content: dict[str, Any] = {
        "name": "searched",
        "dataset": str(dataset.path),
        "workspace": str(folder / "runs"),
        "training": {"epochs": 1},
        "distill": {"warmup_epochs": 1},
        "space": {
            "distill.lambda_id": {"float": [0.0, 1.0]},
            "distill.lambda_ood": {"float": [0.0, 1.0]},
            "distill.affinity": {"choice": ["ce", "kl"]},
            "distill.kd_temperature": {"float": [0.5, 4.0], "when": {"distill.affinity": "kl"}},
        },
        "objectives": ["val_id/miou", "val_ood/miou"][:objectives],
        "budget": {"trials": max(1, trials)},
        "sampler": {"name": "qmc"},
        "tracking": {"enabled": False},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    file = load_study_file(path)
    file.folder.mkdir(parents=True)
    study = SearchStudy(file.search_spec(), f"sqlite:///{file.folder / 'study.db'}")
    if launch:
        study.begin_launch()
    for _ in range(trials):
        ask = study.ask()
        assert ask is not None
        value = ask.values["distill.lambda_id"]
        assert isinstance(value, float)
        metrics = scored(20.0 + 10.0 * value, 20.0 + ask.number % 7)
        study.record(ask.number, 1, metrics)
        study.complete(ask.number, metrics)
    return path


def importance(path: Path) -> Section:
    (found,) = (one for one in content_of(path).figures if one.key == "importance")
    return found


def test_importance_waits_for_30_complete_trials(tmp_path: Path, tiny_dataset: Dataset) -> None:
    section = importance(searched(tmp_path, tiny_dataset, trials=FEW - 1))
    assert section.panels == section.tables == []
    assert section.text == (
        "The study has only 29 complete trials; this needs 30. Raise the budget and search on to "
        "learn it."
    )


def test_importance_has_intervals(tmp_path: Path, tiny_dataset: Dataset) -> None:
    section = importance(searched(tmp_path, tiny_dataset, trials=FEW + 6))
    of_id, of_ood = section.panels
    (bars,) = of_id.plot.data
    assert sorted(bars.y) == ["affinity", "lambda_id", "lambda_ood"]
    assert bars.y[-1] == "lambda_id"
    assert bars.x[-1] > 0.7 > 0.3 > bars.x[-2]
    assert all(end > 0 for end in bars.error_x.array)
    assert "lambda_id leads with 0." in of_id.label
    assert of_ood.name == "importance-val_ood-miou"
    (table,) = section.tables
    assert table.heads == ["", "ID mIoU", "OOD mIoU"]
    names = [row[0] for row in table.rows]
    assert names == ["affinity", "kd_temperature", "lambda_id", "lambda_ood"]
    assert table.rows[1][1:] == ["too few trials"] * 2
    assert " to " in table.rows[0][1]


def test_importance_of_one_objective(tmp_path: Path, tiny_dataset: Dataset) -> None:
    path = searched(tmp_path, tiny_dataset, trials=FEW, objectives=1)
    assert [panel.name for panel in importance(path).panels] == ["importance-val_id-miou"]


def test_a_report_of_it_is_a_page(tmp_path: Path, tiny_dataset: Dataset) -> None:
    page: Page = page_of(searched(tmp_path, tiny_dataset, trials=FEW, launch=True))
    assert "importance-val_id-miou" in page.labels
    assert "What to mend in the search pruning saves nothing" in page.words


def test_a_launch_of_an_earlier_release_is_judged_by_its_study_file(study: EndedStudy) -> None:
    (launch,) = open_snapshot(study.path).launches
    assert launch.search is not None
    facts = {**vars(launch), "search": None}
    facts.pop("settings", None)
    earlier = Launch(**facts)
    assert earlier.settings == launch.settings
    assert earlier.settings.space == study.file.space
