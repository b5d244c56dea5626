"""Features of queries by a network: of annotations in any layout, and of a new question."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from support.annotation_files import FILES, world, write_layout
from support.published_layouts import rows_of, write_features
from support.videos import write_clip
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5EncoderModel
from typer.testing import CliRunner, Result

from refkd.data.annotations import read_queries
from refkd.data.dataset import Dataset
from refkd.data.extraction import text_extraction_of
from refkd.data.prepare import prepare
from refkd.data.simulate import SimulationConfig, simulate
from refkd.data.words import query_key
from refkd.errors import DataError, RefKDError
from refkd.exported import export
from refkd.models import VSLNetConfig, build_backbone
from refkd.retriever import Retriever
from refkd.video.encoder import TextEncoder
from refkd.video.queries import extract_queries
from tune.cli import app

QUERIES = ["person opens the door", " person  opens the door", "a dog runs"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def extracted(queries: list[str], model: Path, out: Path) -> Any:
    return extract_queries(queries, str(model), out, progress=False)


def test_a_sentence_is_its_last_hidden_states(tmp_path: Path, clip: Path) -> None:
    made = extracted(QUERIES, clip, tmp_path / "text.h5")
    assert (made.queries, made.made, made.cut) == (2, 2, 0)
    encoder = TextEncoder(str(clip))
    with h5py.File(tmp_path / "text.h5") as file:
        assert set(file) == {query_key(query) for query in QUERIES}
        for query in QUERIES[1:]:
            rows = file[query_key(query)][()]
            letters = len(query.replace(" ", ""))
            assert rows.shape == (letters + 2, 32)  # and the ends
            np.testing.assert_allclose(rows, encoder(query)[0], atol=2e-3)
        assert not np.allclose(file[query_key(QUERIES[0])][1], file[query_key(QUERIES[2])][1])
    how = text_extraction_of(tmp_path / "text.h5")
    assert how is not None
    assert (how.model, how.sha256) == (str(clip), encoder.sha256)


def test_new_sentences_are_added_and_long_ones_are_cut(tmp_path: Path, clip: Path) -> None:
    out = tmp_path / "text.h5"
    extracted(QUERIES[:1], clip, out)
    with h5py.File(out) as file:
        before = file[query_key(QUERIES[0])][()]
    made = extracted([*QUERIES, "a" * 200], clip, out)
    assert (made.queries, made.made, made.cut) == (3, 2, 1)
    with h5py.File(out) as file:
        assert np.array_equal(file[query_key(QUERIES[0])], before)
        assert file[query_key("a" * 200)].shape == (77, 32)


def test_the_encoder_of_a_network_that_answers_by_text_is_read(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(clip, folder)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=64, **sizes)).save_pretrained(folder)
    rows, cut = TextEncoder(str(folder))("a door")
    assert (rows.shape, cut) == ((7, 16), False)


def _without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _of_pictures(folder: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = CLIPVisionConfig(num_attention_heads=2, image_size=32, patch_size=8, **sizes)
    CLIPVisionModel(config).save_pretrained(folder)


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without_tokenizer, "holds no tokenizer"),
        (_of_pictures, "which reads no text"),
        (_without_weights, "no weights as safetensors"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_network_that_reads_no_text_is_refused(
    tmp_path: Path, clip: Path, change: Any, said: str
) -> None:
    shutil.copytree(clip, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(DataError, match=said):
        extracted(QUERIES, tmp_path / "model", tmp_path / "text.h5")
    assert not (tmp_path / "text.h5").exists()


def test_another_networks_file_is_not_gone_on_with(tmp_path: Path, clip: Path) -> None:
    extracted(QUERIES, clip, tmp_path / "text.h5")
    other = write_clip(tmp_path / "other", seed=1)
    with pytest.raises(DataError, match=r"text\.h5: exists, made by .*clip"):
        extracted(QUERIES, other, tmp_path / "text.h5")
    with h5py.File(tmp_path / "videos.h5", "w") as file:
        file["v"] = np.ones((3, 4), np.float32)
    with pytest.raises(DataError, match=r"made by something else"):
        extracted(QUERIES, clip, tmp_path / "videos.h5")
    with pytest.raises(DataError, match=r"ends in \.h5"):
        extracted(QUERIES, clip, tmp_path / "text.npz")


@pytest.mark.parametrize("kind", FILES)
def test_the_queries_of_every_layout_are_found_again(
    tmp_path: Path, clip: Path, kind: str
) -> None:
    layout, splits = kind.partition(":")[0], world(kind)
    given = write_layout(kind, tmp_path / "annotations", splits)
    queries = read_queries(layout, given["annotations"])
    assert set(queries) == {pair.query for pairs in splits.values() for pair in pairs}
    extracted(queries, clip, tmp_path / "text.h5")
    videos = {pair.video: rows_of(pair.video) for pairs in splits.values() for pair in pairs}
    made = prepare(
        layout,
        **given,
        features=write_features(tmp_path / "features", "npy", videos),
        text_features=tmp_path / "text.h5",
        missing_features="skip",
        out=tmp_path / "out",
        progress=False,
    )
    assert made.manifest.text is not None
    assert made.manifest.text.queries == 2
    assert made.manifest.text.extraction == text_extraction_of(tmp_path / "text.h5")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "100"})


def done(*words: object) -> Any:
    found = run(*words, "--json")
    if isinstance(found.exception, RefKDError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_new_question_is_read_by_the_same_network(tmp_path: Path, clip: Path) -> None:
    splits = world("qvhighlights")
    write_layout("qvhighlights", tmp_path / "annotations", splits)
    videos = {pair.video: rows_of(pair.video) for pairs in splits.values() for pair in pairs}
    features = write_features(tmp_path / "features", "hdf5", videos)
    shutil.copytree(clip, tmp_path / "net")
    asked = ("--queries", tmp_path / "annotations", "--model", tmp_path / "net")
    text = tmp_path / "text.h5"
    made = done("data", "extract", *asked, "--layout", "qvhighlights", "--out", text)
    assert made["queries"] == 2
    inputs = ("--annotations", tmp_path / "annotations", "--features", features)
    done(
        *("data", "prepare", "qvhighlights", *inputs, "--text-features", text),
        *("--out", tmp_path / "data"),
    )
    assert "32 wide, hdf5" in run("data", "show", tmp_path / "data").output
    dataset = Dataset.open(tmp_path / "data")
    network = build_backbone(VSLNetConfig(hidden=16, heads=2), dataset.model_inputs(), seed=1)
    export(network, network.config, dataset, tmp_path / "model")
    np.save(tmp_path / "video.npy", rows_of("new"))
    ask = ("predict", "--model", tmp_path / "model", "--features", tmp_path / "video.npy")
    ask = (*ask, "--query", "a dog runs", "--query", "it", "--duration", 12)
    found = done(*ask)["answers"]
    encoder, retriever = TextEncoder(str(clip)), Retriever.load(tmp_path / "model")
    tokens = [encoder(query)[0] for query in ("a dog runs", "it")]
    spans = retriever.retrieve(
        rows_of("new"), ["a dog runs", "it"], duration=12, top=5, text=tokens
    )
    for answer, expected in zip(found, spans, strict=True):
        assert [span["start"] for span in answer["spans"]] == [span.start for span in expected]
        assert answer["unknown"] == []

    again = retriever.retrieve(rows_of("new"), ["a dog runs", "it"], duration=12, top=5)
    assert again == spans  # by the network of the record

    (tmp_path / "net").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"net: no such folder"):
        done(*ask)
    other = write_clip(tmp_path / "other", seed=1)
    with pytest.raises(DataError, match=r"other: has other weights .*--text-encoder"):
        done(*ask, "--text-encoder", other)
    assert done(*ask, "--text-encoder", tmp_path / "moved")["answers"] == found


def test_without_a_named_network_no_question_is_read(tmp_path: Path) -> None:
    config = SimulationConfig(videos=60, queries=2, feature_dim=4, word_dim=6, text=True)
    dataset = simulate(out=tmp_path / "data", config=config)
    network = build_backbone(VSLNetConfig(hidden=16, heads=2), dataset.model_inputs(), seed=1)
    export(network, network.config, dataset, tmp_path / "model")
    np.save(tmp_path / "video.npy", rows_of("new"))
    ask = ("predict", "--model", tmp_path / "model", "--features", tmp_path / "video.npy")
    for more in ((), ("--text-encoder", tmp_path)):
        with pytest.raises(DataError, match=r"queries is not known: .*data extract --queries`"):
            done(*ask, "--query", "a dog runs", *more)
    with pytest.raises(DataError, match="query 0 is empty"):
        done(*ask, "--query", " ")


def test_what_cannot_be_asked_is_refused(tmp_path: Path, tiny_dataset: Dataset) -> None:
    nothing = ("data", "extract", "--model", "none", "--out", tmp_path / "text.h5")
    for given in (
        (),
        ("--videos", tmp_path, "--queries", tmp_path, "--layout", "tacos"),
        ("--queries", tmp_path),
        ("--layout", "tacos"),
        ("--videos", tmp_path, "--layout", "tacos"),
    ):
        with pytest.raises(DataError, match=r"give --videos DIR, or --queries ANNOTATIONS and"):
            done(*nothing, *given)
    with pytest.raises(DataError, match=r"--fps 2 is of videos; leave it out with --queries"):
        done(*nothing, "--queries", tmp_path, "--layout", "tacos", "--fps", 2)
    with pytest.raises(DataError, match=r"nowhere: no such folder; give the one with"):
        done(*nothing, "--queries", tmp_path / "nowhere", "--layout", "tacos")
    network = build_backbone(VSLNetConfig(hidden=16, heads=2), tiny_dataset.model_inputs(), seed=1)
    words = Retriever(network, tiny_dataset.words, feature_dim=16, max_clips=16)
    export(network, network.config, tiny_dataset, tmp_path / "words")
    np.save(tmp_path / "video.npy", np.zeros((4, 16), np.float32))
    ask = ("predict", "--model", tmp_path / "words", "--features", tmp_path / "video.npy")
    with pytest.raises(DataError, match="this retriever reads words; no network makes"):
        done(*ask, "--query", "a", "--text-encoder", "none")
    with pytest.raises(DataError, match="this retriever reads words; no network makes"):
        words.encode(["a"])
    clips = torch.zeros(4, 16).numpy()
    with pytest.raises(DataError, match="this retriever reads words; give no features"):
        words.retrieve(clips, "a", duration=4, text=[clips])
