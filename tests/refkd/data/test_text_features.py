"""Queries as features of their tokens: how they are found, kept, sealed and read."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from support.annotation_files import Pair, world, write_layout
from support.published_layouts import rows_of, write_features, write_words

from refkd.data.dataset import Dataset
from refkd.data.extraction import TEXT_EXTRACTION
from refkd.data.prepare import prepare
from refkd.data.profile import profile
from refkd.data.roles import OPEN_ROLES
from refkd.data.sealed import open_sealed, sealed_copy
from refkd.data.simulate import SimulationConfig, simulate
from refkd.data.words import MAX_WORDS, query_key
from refkd.errors import CheckpointError, DataError
from refkd.exported import export
from refkd.models import VSLNetConfig, build_backbone
from refkd.retriever import Retriever
from refkd.urls import Url

DIM = 5
LAYOUT = "qvhighlights"
"""Its annotations name queries."""
NAMES: dict[str, Callable[[Pair], str]] = {
    "sha256": lambda pair: query_key(pair.query),
    "qid": lambda pair: str(pair.qid),
    "qidN": lambda pair: f"qid{pair.qid}",
    "sentence": lambda pair: pair.query,
}


def tokens_of(query: str) -> np.ndarray[Any, Any]:
    """Return the features of a query, a token a word."""
    draw = np.random.default_rng(list(query.encode()))
    return draw.standard_normal((len(query.split()), DIM)).astype(np.float16)


class Given:
    """Annotations, features of videos, and those of queries by the names that they go by."""

    def __init__(self, folder: Path, name: str = "sha256") -> None:
        qids = count(7)
        splits = {
            split: [
                pair._replace(query=f"{pair.query} of {pair.video} ", qid=next(qids))
                for pair in pairs
            ]
            for split, pairs in world(LAYOUT).items()
        }
        self.folder = folder
        self.pairs = [pair for pairs in splits.values() for pair in pairs]
        write_layout(LAYOUT, folder / "annotations", splits)
        videos = {pair.video: rows_of(pair.video) for pair in self.pairs}
        self.features = write_features(folder / "features", "npy", videos)
        self.text = {NAMES[name](pair): tokens_of(pair.query) for pair in self.pairs}

    def make(self, layout: str = "hdf5") -> Dataset:
        """Prepare with the features of queries in a layout."""
        return self.prepare(text_features=write_features(self.folder / "text", layout, self.text))

    def prepare(self, **options: Any) -> Dataset:
        """Prepare by whatever stands for queries."""
        return prepare(
            LAYOUT,
            annotations=self.folder / "annotations",
            features=self.features,
            out=self.folder / "out",
            progress=False,
            **options,
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["hdf5", "npz:pooler_output+last_hidden_state", "pt", "npy"])
def test_every_query_has_its_own_tokens_in_every_role(
    tmp_path: Path, name: str, layout: str
) -> None:
    made = Given(tmp_path, name).make(layout)
    assert made.model_inputs().text_dim == DIM
    roles = [made.role(role) for role in OPEN_ROLES]
    for pairs in [*roles, open_sealed(made.path, "test_id")]:
        rows = np.arange(len(pairs))[::-1]
        batch = pairs.batch(rows)
        assert batch.text is not None
        for row, pair in enumerate(rows):
            expected = tokens_of(pairs.queries[pair])
            valid = int(batch.word_mask[row].sum())
            assert np.array_equal(batch.text[row, :valid].numpy(), expected)
            assert not batch.text[row, valid:].any()
    facts = made.manifest.text
    assert facts is not None
    assert made.manifest.words is None
    assert (facts.queries, facts.tokens, facts.cut) == (56, 6, 0)
    assert facts.layout == layout.partition(":")[0]
    assert profile(made).unknown is None


def test_the_tokens_of_test_queries_are_sealed(tmp_path: Path) -> None:
    made = Given(tmp_path).make()
    assert made.manifest.open_files[-1] == "text.h5"
    assert made.manifest.sealed_files[-1] == "sealed/text.h5"

    def held(path: Path) -> set[str]:
        with h5py.File(path) as file:
            return {name.decode() for name in file["videos"]}

    opened = {query_key(query) for role in OPEN_ROLES for query in made.role(role).queries}
    tested = {query_key(query) for query in open_sealed(made.path, "test_id").queries}
    assert held(made.path / "text.h5") == opened
    assert held(made.path / "sealed" / "text.h5") == tested
    assert opened.isdisjoint(tested)


def test_an_address_gives_the_tokens_and_the_sealed_ones_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Given(tmp_path).make()
    fetched = Dataset.open(made.path.as_uri())
    assert not (fetched.path / "sealed").exists()
    ours, theirs = (data.role("fit").batch([0, 1]).text for data in (made, fetched))
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs)
    (tmp_path / "look").mkdir()
    folder = sealed_copy(Url(made.path.as_uri()), fetched.path, tmp_path / "look")
    assert open_sealed(folder, "test_id").batch([0]).text is not None


@pytest.mark.parametrize("name", ["text.h5", "sealed/text.h5"])
def test_a_changed_token_is_noticed(tmp_path: Path, name: str) -> None:
    made = Given(tmp_path).make()
    content = bytearray((made.path / name).read_bytes())
    content[-3] ^= 1
    (made.path / name).write_bytes(content)
    opened: Callable[[], Any] = lambda: Dataset.open(made.path)  # noqa: E731
    if name.startswith("sealed"):
        opened()
        opened = lambda: open_sealed(made.path, "test_id")  # noqa: E731
    with pytest.raises(DataError, match=r"text\.h5: damaged .*content differs"):
        opened()


def test_the_tokens_and_what_made_them_are_part_of_the_identity(tmp_path: Path) -> None:
    made = [Given(tmp_path / str(k)) for k in range(3)]
    made[1].text[next(iter(made[1].text))][0, 0] += 1
    path = write_features(made[2].folder / "text", "hdf5", made[2].text)
    with h5py.File(path, "a") as file:
        file.attrs[TEXT_EXTRACTION] = '{"model": "clip", "sha256": "ab12"}'
    told = made[2].prepare(text_features=path)
    prints = {made[0].make().fingerprint, made[1].make().fingerprint, told.fingerprint}
    assert len(prints) == 3
    assert told.manifest.text is not None
    assert str(told.manifest.text.extraction) == "clip (sha256 ab12)"
    again = Given(tmp_path / "again").make()
    assert again.fingerprint in prints


def test_more_tokens_than_words_are_cut_and_counted(tmp_path: Path) -> None:
    given = Given(tmp_path)
    name = query_key(given.pairs[0].query)
    given.text[name] = np.tile(given.text[name], (60, 1))
    made = given.make()
    assert made.manifest.text is not None
    assert (made.manifest.text.cut, made.manifest.text.tokens) == (1, MAX_WORDS)


def _value(value: Any) -> Callable[[Given], Any]:
    def change(given: Given) -> None:
        name = next(iter(given.text))
        given.text[name] = value(given.text[name]) if callable(value) else value

    return change


def _one_nan(rows: Any) -> Any:
    rows[1, 2] = np.nan
    return rows


def _lacking(number: int) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        for name in list(given.text)[:number]:
            del given.text[name]

    return change


def _all_alike(given: Given) -> None:
    given.text = {name: np.ones((3, DIM), np.float32) for name in given.text}


WRONG: dict[str, tuple[Callable[[Given], Any], str]] = {
    "one lacking": (
        _lacking(1),
        r"text\.hdf5: 1 query has no features \('person .*sha256 of the ",
    ),
    "ten lacking": (_lacking(10), r"10 queries have no features \('.*', '.*', '.*', …\); name"),
    "1-d": (_value(np.ones(DIM, np.float32)), r"of 'person.*has the shape \(5,\); expected"),
    "scalar": (_value(np.float32(1)), r"has the shape \(\); expected"),
    "a batch": (_value(lambda rows: rows[None].repeat(2, 1)), r"the shape \(1, 12, 5\); expected"),
    "no token": (_value(np.ones((0, DIM), np.float32)), r"of 'person.*has no rows"),
    "no width": (_value(np.ones((3, 0), np.float32)), r"of 'person.*has no rows"),
    "another width": (_value(np.ones((3, 4), np.float32)), r"columns, the others .*same network"),
    "nan": (_value(_one_nan), r"of 'person opens.*row 1, column 2 is nan; extract it again"),
    "infinite": (_value(lambda rows: rows / 0), r"of 'person.*row 0, column 0 is -?inf"),
    "integers": (_value(np.ones((3, DIM), np.int64)), r"of 'person.*int64, not floating point"),
    "too large": (_value(np.full((3, DIM), 1e6, np.float32)), r"holds 1e\+06, above 65504"),
    "all alike": (_all_alike, r"its tokens are those of every other query"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("case", WRONG)
def test_wrong_features_are_named_by_file_and_query(tmp_path: Path, case: str) -> None:
    change, said = WRONG[case]
    given = Given(tmp_path)
    change(given)
    with pytest.raises(DataError, match=said) as raised:
        given.make()
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def _written(name: str, content: bytes = b"no features") -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return {"text_features": folder / name.partition("/")[0]}

    return write


def _both(folder: Path) -> dict[str, Any]:
    return {"words": write_words(folder / "words.txt"), "text_features": folder}


def _pickled(folder: Path) -> dict[str, Any]:
    (folder / "text").mkdir()
    for number in range(7, 63):
        np.save(folder / "text" / f"{number}.npy", np.array([{}]), allow_pickle=True)
    return {"text_features": folder / "text"}


def _two_kinds(folder: Path) -> dict[str, Any]:
    _written("text/1.npy")(folder)
    return _written("text/2.npz")(folder)


INPUTS: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "none": (lambda folder: {}, r"none is given; give one of words .*--text-features PATH"),
    "both": (_both, r"not both; give one of words \(--words FILE\)"),
    "no such file": (
        lambda folder: {"text_features": folder / "no"},
        r"no: no such file or folder",
    ),
    "unknown kind": (
        _written("text.csv"),
        r"unknown kind '\.csv'; give a folder with a file a query",
    ),
    "damaged": (_written("text.h5"), r"not an intact HDF5 file"),
    "an empty folder": (_written("text/readme.txt"), r"expected a file a query, all .*holds none"),
    "kinds": (_two_kinds, r"expected a file a query.*2 kinds \(\.npy, \.npz\)"),
    "pickled": (_pickled, r"\d\.npy: cannot be read .*plain arrays"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_what_holds_no_features_is_refused(tmp_path: Path, case: str) -> None:
    write, said = INPUTS[case]
    given = Given(tmp_path)
    with pytest.raises(DataError, match=said):
        given.prepare(**write(tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_qid_of_two_sentences_is_refused(tmp_path: Path) -> None:
    given = Given(tmp_path, "qid")
    path = tmp_path / "annotations" / "highlight_val_release.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"qid": 47', '"qid": 7'), encoding="utf-8")
    with pytest.raises(DataError, match=r"\['7'\]: is of the qid of 'person .*another sentence"):
        given.make()


def test_a_network_on_given_tokens_is_exported_and_asked(tmp_path: Path) -> None:
    config = SimulationConfig(videos=60, queries=2, feature_dim=8, word_dim=6, text=True)
    made = simulate(out=tmp_path / "data", config=config)
    words = simulate(out=tmp_path / "words", config=config.model_copy(update={"text": False}))
    assert words.manifest.features == made.manifest.features
    assert "text" not in (words.manifest.simulation or {})
    network = build_backbone(VSLNetConfig(hidden=16, heads=2), made.model_inputs(), seed=1).eval()
    export(network, network.config, made, tmp_path / "model")
    retriever = Retriever.load(tmp_path / "model")
    pairs = made.role("val_id")
    batch = pairs.batch([0, 1])
    assert batch.text is not None
    tokens = [text[mask].numpy() for text, mask in zip(batch.text, batch.word_mask, strict=True)]
    for row in (0, 1):
        with torch.inference_mode():
            found = network.proposals(network(batch), batch).edges[row, 0].double()
        scale = pairs.duration[row] / pairs.clips[row]
        clips = batch.features[row, : pairs.clips[row]].numpy()
        asked = {"duration": float(pairs.duration[row])}
        [[span]] = retriever.retrieve(clips, pairs.queries[row], text=[tokens[row]], **asked)
        assert (span.start, span.end) == pytest.approx((found * scale).tolist(), abs=1e-4)
    wrong = {
        "1 queries, not of 2": ["a b", "c"],
        r"'a' has the shape \(0, 6\)": ["a"],
        "not finite": ["b"],
        r"\(2, 3\); expected \(tokens, 6\)": ["c"],
    }
    texts = [tokens[:1], [tokens[0][:0]], [tokens[0] * np.inf], [np.ones((2, 3))]]
    for (said, queries), text in zip(wrong.items(), texts, strict=True):
        with pytest.raises(DataError, match=said), np.errstate(invalid="ignore"):
            retriever.retrieve(clips, queries, duration=9.0, text=text)
    record = tmp_path / "model" / "retriever.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"dim": 6', '"dim": 7'))
    with pytest.raises(CheckpointError, match="changed since it was written"):
        Retriever.load(tmp_path / "model")
