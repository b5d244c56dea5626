"""`refkd predict`: the retriever's own answers, from a folder or the registry, or a clear no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mlflow import MlflowClient
from support.registered import NAME, register, write_retriever
from typer.testing import CliRunner, Result

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.retriever import Retriever, Span
from tune.cli import app
from tune.inference.timeline import bar

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
QUERIES = ["a person opens the door", "someone [throws] $a$ towel"]


@pytest.fixture
def clips(tiny_dataset: Dataset) -> np.ndarray:
    shape = (9, tiny_dataset.feature_dim)
    return np.random.default_rng(0).normal(size=shape).astype(np.float16)


@pytest.fixture
def features(clips: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "video.npy", clips)
    return tmp_path / "video.npy"


@pytest.fixture
def folder(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    return write_retriever(tiny_dataset, tmp_path / "retriever", seed=3)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, words)], env={"COLUMNS": "100"})


def ask(*words: object, query: list[str] = QUERIES, seconds: float = 20.0) -> Any:
    asked = [word for text in query for word in ("--query", text)]
    done = run(*words, *asked, "--duration", seconds, "--json")
    if isinstance(done.exception, RefKDError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_folder_answers_as_its_retriever_does(
    folder: Path, features: Path, clips: np.ndarray
) -> None:
    found = ask("--model", folder, "--features", features, "--top", 3)
    expected = Retriever.load(folder).retrieve(clips, QUERIES, duration=20.0, top=3)
    for answer, query, spans in zip(found["answers"], QUERIES, expected, strict=True):
        assert answer["query"] == query
        assert [Span(**span) for span in answer["spans"]] == spans
    assert (found["clips"], found["duration"], found["duration_given"]) == (9, 20.0, True)


def test_words_without_a_vector_are_named(folder: Path, features: Path) -> None:
    known = Retriever.load(folder).words.tokens[0]
    (answer,) = ask("--model", folder, "--features", features, query=[f"{known} zyzzyva"])[
        "answers"
    ]
    assert answer["unknown"] == ["zyzzyva"]
    shown = run("--model", folder, "--features", features, "--query", f"{known} zyzzyva").output
    assert "no vector for zyzzyva" in shown


def test_every_kind_of_file_gives_the_same_answer(
    folder: Path, features: Path, clips: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "other.npz", features=clips)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["abc"] = clips
    with h5py.File(tmp_path / "two.hdf5", "w") as file:
        file["v_abc"], file["def"] = clips, clips[:4]
    answers = [
        ask("--model", folder, "--features", tmp_path / name, *more)["answers"]
        for name, more in (
            ("video.npy", ()),
            ("other.npz", ()),
            ("one.h5", ()),
            ("two.hdf5", ("--video", "abc")),
        )
    ]
    assert all(answer == answers[0] for answer in answers)


def test_an_alias_and_a_version_are_found_in_the_registry(
    tiny_dataset: Dataset, features: Path, mlflow_store: str, tmp_path: Path
) -> None:
    made = register(tmp_path, tiny_dataset, mlflow_store, {"best-id": 3, "best-ood": 5})
    common = ("--features", features, "--tracking", mlflow_store)
    own = ask("--model", made["best-ood"], "--features", features)
    for model in (f"models:/{NAME}@best-ood", f"models:/{NAME}/2"):
        found = ask("--model", model, *common)
        assert found["answers"] == own["answers"]
        assert found["facts"] == {"version": "2", "trial": "5"}
    with pytest.raises(RefKDError, match=rf"no alias 'best'.*there is models:/{NAME}@best-id"):
        ask("--model", f"models:/{NAME}@best", *common)
    with pytest.raises(RefKDError, match=f"'other' has no version 1.*models there: {NAME}"):
        ask("--model", "models:/other/1", *common)


@pytest.mark.parametrize("name", ["weights.safetensors", "words.safetensors", "retriever.json"])
def test_a_changed_byte_of_a_registered_model_is_refused(
    name: str, tiny_dataset: Dataset, features: Path, mlflow_store: str, tmp_path: Path
) -> None:
    register(tmp_path, tiny_dataset, mlflow_store, {"best-ood": 5})
    place = MlflowClient(mlflow_store).get_model_version_download_uri(NAME, "1")
    (path,) = Path(place.removeprefix("file://")).rglob(name)
    content = bytearray(path.read_bytes())
    content[content.rfind(b"5") if name == "retriever.json" else -1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RefKDError, match=name):
        ask("--model", f"models:/{NAME}@best-ood", *("--features", features), *_at(mlflow_store))


def test_another_model_in_the_place_of_a_registered_one_is_refused(
    tiny_dataset: Dataset, features: Path, mlflow_store: str, tmp_path: Path
) -> None:
    register(tmp_path, tiny_dataset, mlflow_store, {"best-ood": 5})
    place = MlflowClient(mlflow_store).get_model_version_download_uri(NAME, "1")
    (record,) = Path(place.removeprefix("file://")).rglob("retriever.json")
    write_retriever(tiny_dataset, record.parent, seed=6)
    with pytest.raises(RefKDError, match="is not what was registered"):
        ask("--model", f"models:/{NAME}@best-ood", *("--features", features), *_at(mlflow_store))


def _at(store: str) -> tuple[str, str]:
    return "--tracking", store


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "nowhere"}, "nowhere: no such folder; give one that holds a retriever"),
        ({"--model": "models:/best@id@x"}, "is no name in a registry; write models:/NAME"),
        ({"--model": "models:/x@y", "--tracking": "sqlite:///no.db"}, "no.db: no MLflow store"),
        ({"--model": "models:/x@y", "--tracking": "http://127.0.0.1:9"}, "does not answer"),
        ({"--features": "nothing.npy"}, "nothing.npy: no such file"),
        ({"--features": "notes.txt"}, "unknown kind '.txt'; give one of .npy"),
        ({"--features": "narrow.npy"}, r"shape \(9, 3\); this retriever needs \(clips, 16\)"),
        ({"--features": "pickled.npy"}, "pickled.npy: cannot be read"),
        ({"--features": "two.h5"}, r"two.h5: holds 2 videos \(a, b\); say which: --video"),
        ({"--features": "two.h5", "--video": "c"}, "has no entry 'c'; it holds a, b"),
        ({"--features": "torn.h5"}, "torn.h5: not an intact HDF5 file"),
        ({"--video": "c"}, "holds one video; --video c is for HDF5 files"),
        ({"--features": ""}, "give the video: --video FILE.mp4, or its --features FILE"),
        ({"--features": "", "--video": "no.mp4"}, "no.mp4: no such file; --video names a video"),
        ({"--features": "", "--video": "notes.txt"}, "were made of videos is not known"),
        ({"--query": " "}, "query 0 is empty"),
        ({"--duration": "0"}, "the duration is 0.0"),
        ({"--png": "spans.gif"}, "spans.gif: the picture's name must end in one of png"),
    ],
    ids=lambda value: (
        " ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_a_mistake_is_one_clear_line(
    change: dict[str, str],
    message: str,
    folder: Path,
    features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no features")
    Path("torn.h5").write_bytes(b"\x89HDF\r\n")
    np.save("narrow.npy", np.zeros((9, 3), dtype=np.float32))
    np.save("pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with h5py.File("two.h5", "w") as file:
        file["a"] = file["b"] = np.zeros((2, 16))
    words = {"--model": str(folder), "--features": str(features), "--query": "a door", **change}
    done = run(*(word for pair in words.items() if pair[1] for word in pair))
    assert isinstance(done.exception, RefKDError), done.output
    assert "\n" not in str(done.exception)
    with pytest.raises(RefKDError, match=message):
        raise done.exception


def test_the_terminal_and_the_picture_show_every_query(
    folder: Path, features: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "spans.png"
    asked = [word for text in QUERIES for word in ("--query", text)]
    done = run("--model", folder, "--features", features, *asked, "--top", 2, "--png", picture)
    assert done.exit_code == 0, done.output
    assert all(query in done.output for query in QUERIES)
    assert done.output.count("█") >= 4
    assert "without --duration each row of the features counts as one second" in done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 5_000


@pytest.mark.parametrize(
    ("span", "line"),
    [((0, 10), "██████████"), ((0, 1), "█─────────"), ((9.99, 10), "─────────█")],
)
def test_a_line_shows_even_the_shortest_span(span: tuple[float, float], line: str) -> None:
    assert bar(Span(start=span[0], end=span[1], score=1.0), 10.0, 10) == line
