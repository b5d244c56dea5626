"""Simulated features: what a query names is seen inside its moment, and noise elsewhere.

Every word has a random vector, and a fixed random linear map turns it into a direction of feature
space. The clips of a moment hold the directions of its query's content words; distractors show
other queries' contents at random places. With `signal=0` the features are noise that depends on
nothing, so only the places and lengths of moments can be learnt.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from refkd.config import Settings
from refkd.data.annotations import detect_dataset, read_annotations
from refkd.data.build import Material, build
from refkd.data.dataset import Dataset
from refkd.data.extraction import Extraction
from refkd.data.grid import time_to_index
from refkd.data.layouts import layout_of
from refkd.data.moments import Annotations, Moment, Split
from refkd.data.splits import Carve
from refkd.data.synthetic_annotations import ACTIONS, invent
from refkd.data.text import TextFeatures
from refkd.data.vectors import WordVectors
from refkd.data.words import query_key, tokenize
from refkd.files import require_absent
from refkd.seeds import generator

FUNCTION_WORDS = frozenset(
    (
        *(
            "a",
            "an",
            "the",
            "and",
            "or",
            "then",
            "of",
            "to",
            "in",
            "on",
            "at",
            "by",
            "for",
            "with",
        ),
        *("from", "into", "onto", "out", "up", "down", "off", "over", "is", "are", "be", "it"),
        *("its", "his", "her", "their", "they", "he", "she", "person", "man", "woman", "someone"),
        *("people", "'s", ".", ",", ";", "!", "?"),
    )
)
"""Words that show nothing in a video."""


class SimulationConfig(Settings):
    """What to simulate; the defaults make a dataset to try a search on within minutes.

    >>> SimulationConfig(videos=60, feature_dim=16).signal
    1.0
    """

    videos: int = Field(default=400, ge=40)
    """Invented train videos; val, test_iid and test_ood have a quarter of them each."""
    queries: int = Field(default=3, ge=1, le=len(ACTIONS))
    """Pairs an invented video has."""
    feature_dim: int = Field(default=32, ge=2)
    """V, width of a clip's feature vector."""
    word_dim: int = Field(default=32, ge=2)
    """Width of the random word vectors."""
    min_clips: int = Field(default=16, ge=4)
    """Clips of the shortest video."""
    max_clips: int = Field(default=32, le=128)
    """Clips of the longest video; there is one a second between both bounds."""
    signal: float = Field(default=1.0, ge=0)
    """Standard deviation of what a query's content adds to each feature; 0 for none."""
    noise: float = Field(default=1.0, ge=0)
    """Standard deviation of the noise on each feature of each clip."""
    background: float = Field(default=0.5, ge=0)
    """Standard deviation of a video's own constant look."""
    distractors: int = Field(default=2, ge=0)
    """Contents a video shows without a query about them."""
    location_bias: float = Field(default=0.85, ge=0, le=1)
    """Share of train-like invented videos whose moments lie where their action usually is."""
    ood_shift: float = Field(default=1.0, ge=0, le=1)
    """Share of invented test_ood videos whose moments are late, whatever the action."""
    carve_fraction: float = Field(default=0.15, gt=0, lt=1)
    """q of the carve of val_ood for invented annotations; real ones keep their own."""
    seed: int = 0
    """Of every draw."""
    text: bool = False
    """Give queries as features, a token a word, in the place of words."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_clips > self.max_clips:
            raise ValueError(
                f"min_clips is {self.min_clips}, above max_clips {self.max_clips}; lower it"
            )
        return self


def simulate(
    *,
    out: Path,
    config: SimulationConfig = SimulationConfig(),  # noqa: B008 - frozen
    annotations: Path | None = None,
) -> Dataset:
    """Write a simulated dataset to `out` and open it; the same settings give the same bytes.

    Without `annotations` the world is wholly invented. With a folder of published split files,
    all or some of them, only features and word vectors are; the roles are those of the files.
    """
    require_absent(out)
    if annotations is None:
        table, carve = _invented(config), Carve(fraction=config.carve_fraction, seed=config.seed)
    else:
        name = detect_dataset(annotations)
        table = read_annotations(name, annotations, partial=True)
        carve = layout_of(name).carve
    material = Material(
        annotations=table,
        carve=carve,
        vectors=None if config.text else _word_vectors(table, config),
        text=_text(table, config) if config.text else None,
        features=SimulatedFeatures(table, config),
        max_clips=config.max_clips,
        extractors={"": "simulated"},
        # `text` is said only where it is set, which earlier datasets do not say.
        simulation=config.model_dump(mode="json", exclude=None if config.text else {"text"}),
    )
    return build(material, out)


class SimulatedFeatures:
    """A feature source that draws each video by its id."""

    layout = "simulated"
    extraction: Extraction | None = None

    def __init__(self, annotations: Annotations, config: SimulationConfig) -> None:
        self._config = config
        self._moments: dict[str, list[Moment]] = defaultdict(list)
        self._split: dict[str, Split] = {}
        for split, moments in annotations.splits.items():
            for moment in moments:
                self._moments[moment.video_id].append(moment)
                self._split[moment.video_id] = split
        self._looks: dict[str, NDArray[np.float64]] = {}
        self._queries = {s: [m.query for m in rows] for s, rows in annotations.splits.items()}

    def __contains__(self, video: str) -> bool:
        return video in self._moments

    def where(self, video: str) -> str:
        """Return what errors name."""
        return f"simulated {video}"

    def seconds(self, video: str) -> float:
        """Return how long a video is."""
        return self._moments[video][0].duration

    def missing(self, videos: Sequence[str]) -> str:
        """Return which videos have no moment."""
        return ", ".join(videos[:3])

    def read(self, video: str) -> NDArray[np.float32]:
        """Return the clips (n, V) of a video, about one a second."""
        config, moments = self._config, self._moments[video]
        duration = moments[0].duration
        clips = int(np.clip(round(duration), config.min_clips, config.max_clips))
        rng = generator(config.seed, "features", video)
        rows = rng.normal(0.0, config.noise, (clips, config.feature_dim))
        rows += rng.normal(0.0, config.background, config.feature_dim)
        spans = time_to_index(
            [(m.start, m.end) for m in moments], [clips] * len(moments), [duration] * len(moments)
        )
        for moment, (first, last) in zip(moments, spans, strict=True):
            rows[first : last + 1] += config.signal * self._look(moment.query)
        for query in self._distractors(rng, video):
            length = int(rng.integers(2, max(3, clips // 3)))
            first = int(rng.integers(0, clips - length + 1))
            rows[first : first + length] += config.signal * self._look(query)
        return rows.astype(np.float32)

    def _distractors(self, rng: np.random.Generator, video: str) -> Iterable[str]:
        """Yield queries of the same split whose contents no query of this video names."""
        own = {frozenset(_content(m.query)) for m in self._moments[video]}
        others = self._queries[self._split[video]]
        for _ in range(self._config.distractors):
            query = others[int(rng.integers(len(others)))]
            if frozenset(_content(query)) not in own:
                yield query

    def _look(self, query: str) -> NDArray[np.float64]:
        """Return (V,) what a query's content looks like, of unit variance a feature."""
        if query not in self._looks:
            words = _content(query)
            vectors = [_word_vector(word, self._config) for word in words]
            mixed = np.sum(vectors, axis=0) / np.sqrt(len(words) * self._config.word_dim)
            self._looks[query] = mixed @ self._map
        return self._looks[query]

    @cached_property
    def _map(self) -> NDArray[np.float64]:
        shape = (self._config.word_dim, self._config.feature_dim)
        return generator(self._config.seed, "map").standard_normal(shape)


class SimulatedText:
    """The word vectors of each sentence, in the place of a network's features."""

    path, layout = Path("simulated"), "simulated"

    def __init__(self, moments: Iterable[Moment], config: SimulationConfig) -> None:
        self._config = config
        self._queries = {query_key(m.query): m.query for m in moments}

    def __contains__(self, key: str) -> bool:
        return key in self._queries

    def where(self, key: str) -> str:
        """Return what errors name."""
        return f"simulated {key}"

    def read(self, key: str) -> NDArray[np.float32]:
        """Return the tokens (M, word_dim) of a sentence."""
        tokens = tokenize(self._queries[key])
        return np.array([_word_vector(token, self._config) for token in tokens], dtype=np.float32)


def _text(annotations: Annotations, config: SimulationConfig) -> TextFeatures:
    moments = [m for rows in annotations.splits.values() for m in rows]
    return TextFeatures(SimulatedText(moments, config), moments, None)


def _invented(config: SimulationConfig) -> Annotations:
    quarter = config.videos // 4
    return invent(
        generator(config.seed, "world"),
        videos={"train": config.videos, "val": quarter, "test_iid": quarter, "test_ood": quarter},
        queries=config.queries,
        seconds=(config.min_clips, config.max_clips),
        location_bias=config.location_bias,
        ood_shift=config.ood_shift,
    )


def _content(query: str) -> Sequence[str]:
    """Return the words of a query that can be seen; all of them where none can."""
    tokens = tokenize(query)
    return [token for token in tokens if token not in FUNCTION_WORDS] or tokens


def _word_vector(word: str, config: SimulationConfig) -> NDArray[np.float64]:
    return generator(config.seed, "word", word).standard_normal(config.word_dim)


def _word_vectors(annotations: Annotations, config: SimulationConfig) -> WordVectors:
    """Return a vector for every word of the open splits."""
    opened: tuple[Split, ...] = ("train", "val")
    moments = [m for split in opened for m in annotations.splits.get(split, [])]
    words = sorted({token for moment in moments for token in tokenize(moment.query)})
    vectors = np.array([_word_vector(word, config) for word in words], dtype=np.float32)
    return WordVectors(
        rows={word: row for row, word in enumerate(words)},
        vectors=vectors.reshape(len(words), config.word_dim),
        source="simulated",
        sha256=hashlib.sha256(vectors.tobytes()).hexdigest(),
    )
