"""The report of a study: self-contained, escaped, complete, and honest about what is missing."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.ended_study import EndedStudy, FakeTrainer, end_study, scored
from support.recorded_curves import fill, study_file
from support.report_page import Page, content_of, page_of
from support.sealed_watch import opened_by

from refkd.data.dataset import Dataset
from refkd.evaluation.comparison import MEANING, mean_row
from refkd.evaluation.predictions import measure
from tune import evaluate_final, finalists
from tune.display.comparison import system_words
from tune.display.study import show_best
from tune.execution.study_jobs import open_ended_search
from tune.report.curves import pruning
from tune.report.examples import Bar, Example, Examples, choose_rows
from tune.report.figure import Table
from tune.report.make import compose, render
from tune.results.champions import compare_on_validation, interval_table, search_students
from tune.study.events import ChampionsChosen
from tune.study.lease import lease
from tune.study.search_study import SearchStudy
from tune.study.snapshot import open_snapshot

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of MLflow's own imports
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
SCORES = {n: [(40.0 - 10 * n, 10.0 + 10 * n)] for n in range(3)}
EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset)


@pytest.fixture
def chosen(study: EndedStudy, tiny_dataset: Dataset) -> EndedStudy:
    """The study with finalists."""
    finalists(study.path, top=1, seeds=1, train=FakeTrainer(tiny_dataset, SCORES))
    return study


def figures(path: Path) -> dict[str, Any]:
    return {figure.key: figure for figure in content_of(path).figures}


def test_the_page_asks_nothing_of_any_network(chosen: EndedStudy) -> None:
    page = page_of(chosen.path)
    assert [a for a in page.asked if not a.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in render(content_of(chosen.path))
    libraries = [script for script in page.scripts if len(script) > 1_000_000]
    assert len(libraries) == 1
    assert len(page.scripts) == 3


def test_every_picture_has_a_sentence_and_its_numbers(chosen: EndedStudy) -> None:
    content = content_of(chosen.path)
    page = Page(render(content))
    drawn = [figure for figure in content.figures if figure.panels]
    assert {"front", "curves", "finalists", "finalists-differences"} <= {f.key for f in drawn}
    for figure in drawn:
        assert figure.text.endswith(".")
        assert figure.tables
        assert all(table.rows for table in figure.tables)
        assert all(len(row) == len(t.heads) for t in figure.tables for row in t.rows)
    assert all(page.labels.values())
    plots = json.loads(page.scripts[0])
    assert list(page.labels) == list(plots)
    assert set(plots) == {panel.name for figure in drawn for panel in figure.panels}


def test_names_of_pictures_and_sections_are_used_once(chosen: EndedStudy) -> None:
    content = content_of(chosen.path)
    names = [panel.name for figure in content.figures for panel in figure.panels]
    names += [figure.key for figure in content.figures if not figure.panels]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_what_users_write_is_text_and_never_markup(study: EndedStudy) -> None:
    content = content_of(study.path)
    before = Page(render(content))
    bar = Bar(name=EVIL, kind="truth", start=0.0, end=1.0, tiou=None)
    shown = Example(why=EVIL, role="ID", query=EVIL, video=EVIL, duration=2.0, bars=[bar])
    evil = dataclasses.replace(
        content,
        study=EVIL,
        test_caveats=[f"`{EVIL}`"],
        test_evaluations=Table(heads=[EVIL], rows=[[EVIL]]),
        examples=Examples(text=EVIL, items=[shown]),
    )
    page = Page(render(evil))
    assert Counter(page.tags)["script"] == Counter(before.tags)["script"]
    assert "img" not in page.tags
    assert page.words.count(EVIL) >= 7


def test_values_in_pictures_cannot_end_the_script(study: EndedStudy) -> None:
    content = content_of(study.path)
    front = next(figure for figure in content.figures if figure.key == "front")
    front.panels[0].plot.update_xaxes(title=EVIL)
    page = Page(render(content))
    assert json.loads(page.scripts[0])["front"]["layout"]["xaxis"]["title"]["text"] == EVIL
    assert len(page.scripts) == 3


def test_every_trial_can_be_pointed_at_with_its_values(study: EndedStudy) -> None:
    front = figures(study.path)["front"].panels[0].plot
    texts = [text for trace in front.data for text in trace.hovertext or []]
    for number, value in enumerate(v.values["distill.lambda_id"] for v in study.open().views()):
        (text,) = [t for t in texts if t.startswith(f"trial {number},")]
        assert f"lambda_id {value:.4g}" in text


def test_without_finalists_no_difference_is_claimed(study: EndedStudy) -> None:
    page = page_of(study.path)
    assert "Best out of distribution: best-ood (trial 2)" in page.words
    assert "No difference to a teacher is claimed" in page.words
    assert "No finalists yet." in page.words
    assert "No probes yet" in page.words
    assert "Nobody has looked at the test roles" in page.words


def test_intervals_belong_to_the_champions_they_were_made_for(
    study: EndedStudy, tiny_dataset: Dataset
) -> None:
    with open_ended_search(study.path) as search:
        summary = search.summary()
        table = interval_table(compare_on_validation(search, search_students(search)))
        search.study.note("intervals", table)
        chosen = ChampionsChosen(by="search", champions=summary.champions, trials=4)
        search.study.append(chosen)
    scores = figures(study.path)["search-scores"]
    systems_shown = ["ID teacher", "OOD teacher", "trial 0", "trial 2"]
    assert [row[:2] for row in scores.tables[0].rows] == [
        [role, system] for role in ("val_id", "val_ood") for system in systems_shown
    ]
    low = table["val_ood"]["best-ood"]["miou"]["low"]
    assert f"[{low:.2f}, " in content_of(study.path).headline.text
    assert MEANING in page_of(study.path).words
    for kept in (table, as_stored_before(table)):
        console = Console(width=200, record=True, file=io.StringIO())
        show_best(console, summary.model_copy(update={"intervals": kept}))
        shown = console.export_text()
        assert f"[{low:.2f}, " in shown
        assert MEANING in shown

    study.change(budget={"trials": 5})
    grown = SearchStudy(open_snapshot(study.path).file.search_spec(), study.url)
    ask = grown.ask()
    assert ask is not None
    for epoch in (1, 2):
        grown.record(ask.number, epoch, scored(1.0, 99.0))
    grown.complete(ask.number, scored(1.0, 99.0))
    assert "trial 2 is best-ood" in figures(study.path)["search-scores"].text
    headline = content_of(study.path).headline.text
    assert "best-ood (trial 4) with OOD validation mIoU 99.00." in headline


def test_every_student_of_a_replicated_champion_counts(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    study = end_study(tmp_path, tiny_dataset, replicates={"seeds": 2})
    with open_ended_search(study.path) as search:
        systems = search_students(search)
        scores = compare_on_validation(search, systems).scores
    assert {name: len(students) for name, students in systems.items()} == {
        "best-id": 2,
        "best-ood": 2,
    }
    assert set(scores["val_ood"]) == {"teacher-id", "teacher-ood", "best-id", "best-ood"}
    students = measure(systems["best-ood"], tiny_dataset, [tiny_dataset.role("val_ood")])
    assert list(students["val_ood"].values) == study.file.seeds()
    assert scores["val_ood"]["best-ood"] == mean_row(students["val_ood"], seed=0)
    assert scores["val_ood"]["best-ood"]["miou"].sd is not None


def as_stored_before(table: dict[str, Any]) -> dict[str, Any]:
    """Return a study's table as earlier versions kept it."""
    kept: dict[str, Any] = {}
    for role, systems in table.items():
        kept[role] = {
            name: {
                metric: {end: row[metric][end] for end in ("value", "low", "high")}
                for metric in ("miou", "r1_iou0.5")
            }
            for name, row in systems.items()
            if name != "floors"
        }
        kept[role]["floors"] = systems["floors"]
    return kept


def test_finalists_bring_paired_differences_and_the_way_to_test(chosen: EndedStudy) -> None:
    content = content_of(chosen.path)
    assert content.state == "finalists chosen"
    assert content.headline.text.startswith("On validation, the mean over 1 fresh seed")
    assert [c for c in content.commands.values() if "evaluate --final" in c]
    assert content.examples is not None
    assert len(content.examples.items) == 6
    for example in content.examples.items:
        assert [bar.kind for bar in example.bars] == ["truth", "id", "ood", "champion"]
        assert all(0 <= bar.start < bar.end <= example.duration for bar in example.bars)


def test_a_look_at_test_is_shown_with_its_reason_and_its_marks(chosen: EndedStudy) -> None:
    evaluate_final(chosen.path)
    once = content_of(chosen.path)
    assert once.state == "evaluated on test"
    assert once.headline.text.startswith("On the sealed test roles (1 seed a champion), ")
    assert not [mark for mark in once.test_caveats if "times" in mark]
    evaluate_final(chosen.path, again=True, reason="the <first> features were wrong")
    page = page_of(chosen.path)
    assert "the <first> features were wrong" in page.words
    assert "The test roles were looked at 2 times; only the first result" in page.words


def test_students_of_the_search_on_test_are_marked(study: EndedStudy) -> None:
    evaluate_final(study.path)
    caveats = content_of(study.path).test_caveats
    assert [one for one in caveats if one.startswith("The champions that were tested are the")]
    before = content_of(study.path)
    (study.file.folder / "final-1.json").unlink()
    after = content_of(study.path)
    assert after.headline == before.headline, "the file is a copy"
    assert not [m for m in after.test_caveats if "was not kept" in m]


def test_trials_after_a_look_are_marked(study: EndedStudy, tiny_dataset: Dataset) -> None:
    evaluate_final(study.path)
    study.change(budget={"trials": 5})
    grown = SearchStudy(open_snapshot(study.path).file.search_spec(), study.url)
    ask = grown.ask()
    assert ask is not None
    grown.record(ask.number, 1, scored(1.0, 1.0))
    grown.fail(ask.number, "made to fail")
    caveats = content_of(study.path).test_caveats
    assert [one for one in caveats if one.startswith("1 trial ended after the first look")]


def test_a_ledger_that_cannot_be_read_is_said(study: EndedStudy) -> None:
    (study.file.folder / "ledger.jsonl").write_text("half a row")
    content = content_of(study.path)
    assert content.test_evaluations_text == "The ledger of looks at the test roles cannot be read."
    assert "cannot be counted" in content.test_caveats[0]


def test_the_report_opens_nothing_sealed(tmp_path: Path, tiny_dataset: Dataset) -> None:
    own = Dataset.open(shutil.copytree(tiny_dataset.path, tmp_path / "dataset"))
    study = end_study(tmp_path, own)
    assert opened_by(study, "report") == ([], [])


def test_the_study_is_only_read(study: EndedStudy) -> None:
    before, trials = study.attributes(), study.open().optuna.get_trials()
    page_of(study.path)
    assert study.attributes() == before
    assert study.open().optuna.get_trials() == trials


def test_what_pruning_saved_adds_up(tmp_path: Path, study: EndedStudy) -> None:
    url = f"sqlite:///{tmp_path / 'filled.db'}"
    filled = SearchStudy(study_file(name="shown", budget={"trials": 12}).search_spec(), url)
    fill(filled)
    views = filled.views()
    facts = dataclasses.replace(
        open_snapshot(study.path), trials=views, attributes={"epochs": filled.spec.epochs}
    )
    figure = pruning(facts)
    run = sum(int(row[2]) for row in figure.tables[0].rows)
    saved = sum(int(row[3]) for row in figure.tables[0].rows)
    pruned = [v for v in views if v.state == "PRUNED"]
    assert pruned
    assert run == sum(v.epoch for v in views)
    assert saved == sum(filled.spec.epochs - v.epoch for v in pruned)
    assert f"{saved} saved" in figure.text


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=n, max_size=n)
    )
)
def test_queries_are_chosen_by_the_rule(overlaps: list[tuple[float, float, float]]) -> None:
    champion, first, second = np.array(overlaps, dtype=np.float64).T
    rows = choose_rows(champion, [first, second])
    assert len(set(rows.values())) == len(rows) == min(3, len(overlaps))
    gain = champion - np.maximum(first, second)
    assert gain[rows["largest gain"]] == gain.max()
    if "largest loss" in rows:
        others = [g for row, g in enumerate(gain) if row != rows["largest gain"]]
        assert gain[rows["largest loss"]] == min(others)


def test_a_driver_at_work_is_named(study: EndedStudy) -> None:
    with lease(study.url, study.file.name, signs=[1.0, 1.0]):
        facts = open_snapshot(study.path)
        content = compose(facts)
    assert content.state == "search ended"
    assert any(f"0 at work now: process {os.getpid()} of" in fact for fact in content.facts)
    assert "Best out of distribution:" in content.headline.text


def test_probes_stand_beside_the_strongest_evidence(
    chosen: EndedStudy, tiny_dataset: Dataset
) -> None:
    held = figures(chosen.path)["probes"]
    assert held.text.startswith("On validation, of the first fresh seed.")
    systems, places = held.tables
    found = open_snapshot(chosen.path).finalists
    assert found is not None
    probes = found.comparison.probes
    assert [row[0] for row in systems.rows] == [system_words(name) for name in probes]
    first = next(iter(probes.values()))
    assert systems.rows[0][1:5] == [
        f"{getattr(first.id, kind)['miou']:.2f}"
        for kind in ("own", "query_blind", "video_blind", "shuffled_clips")
    ]
    pairs = {"ID": len(tiny_dataset.role("val_id")), "OOD": len(tiny_dataset.role("val_ood"))}
    counted = [(row[1], int(row[4])) for row in places.rows if row[0] == systems.rows[0][0]]
    assert {side: sum(n for s, n in counted if s == side) for side in pairs} == pairs
    assert len(held.panels) == 2
