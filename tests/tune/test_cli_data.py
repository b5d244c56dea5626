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
    shown = json.loads(run("show", tmp_path / "out", "--json"))
    assert set(shown.pop("profile")["roles"]) == {"fit", "val_id", "val_ood"}
    assert shown == printed


def test_an_own_table_is_prepared_and_judged(tmp_path: Path) -> None:
    rows = ["clip,text,t0,t1,id"]
    for k in range(24):
        start = 7.0 if k % 6 == 5 else 0.5 + 0.1 * (k % 7)
        rows += [f"V{k:02d},person opens the zebra,{start},{start + 3},{2 * k}"]
        rows += [f"V{k:02d},person opens the zebra,9,10,{2 * k}"]
        rows += [f"V{k:02d},person closes the book,{start},{start + 2.5},{2 * k + 1}"]
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    features = {f"V{k:02d}": rows_of(f"V{k:02d}") for k in range(24)}
    columns = ("video=clip", "query=text", "start=t0", "end=t1", "qid=id")
    run(
        *("prepare", "table", "--annotations", tmp_path / "mine.csv", "--name", "mine"),
        *(word for column in columns for word in ("--column", column)),
        *("--rows-per-second", 1, "--carve-fraction", 0.3, "--val-fraction", 0.2),
        *("--features", write_features(tmp_path / "f", "npy", features)),
        *("--words", write_words(tmp_path / "words.txt"), "--out", tmp_path / "out"),
    )
    text = run("show", tmp_path / "out")
    for expected in (
        "mine",
        "layout       table",
        "5 train videos are val_id (0.2 of them, seed 0), as there was no split of val",
        "annotated pairs with several: 19 of train, 5 of val",
        "no test_id and no test_ood: `refkd evaluate --final` has nothing to look at",
        "Where moments lie",
        "█",
        "Words without a vector: 1, ",
        "'zebra'",
        "Few pairs: a score of R1 on val_id is uncertain by about 16 points",
    ):
        assert expected in text
    (fit,) = [line for line in text.splitlines() if line.startswith("  fit ")][1:2]
    assert fit.split()[-2:] == ["1.50", "0"]


@pytest.mark.parametrize("given", ["video", "=clip", "video="])
def test_columns_are_named_by_field(tmp_path: Path, given: str) -> None:
    with pytest.raises(RefKDError, match=f"--column {given}: not NAME=VALUE; say it once"):
        run(*prepare_arguments(tmp_path), "--column", given)
    with pytest.raises(RefKDError, match="--split val=b: given twice"):
        run(*prepare_arguments(tmp_path), "--split", "val=a", "--split", "val=b")


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
