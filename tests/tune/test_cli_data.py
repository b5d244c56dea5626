"""The commands of `refkd data`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.published_layouts import (
    rows_of,
    video_ids,
    write_annotations,
    write_features,
    write_words,
)
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.cli.data import app


def run(*arguments: object) -> str:
    """Run `refkd data` and return what it printed; a user's mistake is raised."""
    runner = CliRunner(env={"COLUMNS": "200"})
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def prepare_arguments(folder: Path) -> list[object]:
    """Write tiny published files; return the command that prepares them."""
    annotations = write_annotations(folder / "annotations")
    rows = {video: rows_of(video) for video in video_ids(annotations)}
    return [
        *("prepare", "charades-cd", "--annotations", annotations),
        *("--features", write_features(folder / "f", "npy", rows)),
        *("--words", write_words(folder / "words.txt"), "--out", folder / "out"),
    ]


def test_prepare_and_show(tmp_path: Path) -> None:
    command = [*prepare_arguments(tmp_path), "--missing-features", "skip", "--jobs", 2]
    printed = json.loads(run(*command, "--json"))
    opened = Dataset.open(tmp_path / "out")
    assert printed == opened.manifest.model_dump(mode="json")
    text = run("show", tmp_path / "out", "--verify")
    for expected in ("charades-cd", "val_ood", "sealed", opened.fingerprint, "words.txt"):
        assert expected in text
    assert "other pairs than the published ones" in text
    assert json.loads(run("show", tmp_path / "out", "--json")) == printed


def test_prepare_tells_that_the_files_are_not_the_published_ones(tmp_path: Path) -> None:
    with pytest.raises(RefKDError, match=r"charades_train\.json: 48 pairs, published are 11,071"):
        run(*prepare_arguments(tmp_path))
    assert not (tmp_path / "out").exists()


def test_simulate_takes_options_over_a_file(tmp_path: Path) -> None:
    config = tmp_path / "simulation.yaml"
    config.write_text("videos: 60\nqueries: 1\nseed: 4\n", encoding="utf-8")
    out = tmp_path / "out"
    facts = json.loads(run("simulate", "--out", out, "--config", config, "--seed", 5, "--json"))
    settings = facts["simulation"]
    assert (settings["videos"], settings["queries"], settings["seed"]) == (60, 1, 5)
    assert "simulated" in run("show", out)


def test_a_wrong_setting_names_file_line_and_value(tmp_path: Path) -> None:
    config = tmp_path / "simulation.yaml"
    config.write_text("videos: 60\nsignal: -2\n", encoding="utf-8")
    with pytest.raises(RefKDError, match=r"simulation\.yaml:2: signal: .*\(given -2\)"):
        run("simulate", "--out", tmp_path / "out", "--config", config)
    with pytest.raises(RefKDError, match=r"^noise: .*\(given -1\.0\)"):
        run("simulate", "--out", tmp_path / "out", "--noise", -1)


def test_showing_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(RefKDError, match="not a prepared dataset"):
        run("show", tmp_path)
