"""What a user holds after training: load it, ask it, get spans in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from refkd.data.batch import Batch
from refkd.data.extraction import Extraction
from refkd.data.grid import Resample, pool
from refkd.data.inputs import ModelInputs
from refkd.data.joined import join
from refkd.data.text import checked_tokens, token_ids
from refkd.data.words import Words
from refkd.errors import DataError
from refkd.exported import WEIGHTS, FeaturePart, TextInput, read_record, read_vectors
from refkd.files import encodable
from refkd.models import build_backbone
from refkd.models.backbone import Backbone
from refkd.training.checkpoint import load_tensors

if TYPE_CHECKING:
    from refkd.video.encoder import TextEncoder


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A moment in seconds from the start of the video, and its score.

    The score is what the network ranks its spans by: for most P_s · P_e, the span's probability.

    >>> span = Span(start=2.5, end=7.0, score=0.8)
    >>> span.end - span.start
    4.5
    """

    start: float
    end: float
    score: float


class Retriever:
    """A trained network with its vocabulary; safetensors and JSON only, nothing is unpickled.

    >>> from refkd import VSLNetConfig
    >>> words = Words(["door"], np.zeros((1, 300), np.float32), characters=list("dor"))
    >>> inputs = ModelInputs(
    ...     feature_dim=16, word_vectors=words.vectors, characters=words.character_count
    ... )
    >>> backbone = build_backbone(VSLNetConfig(hidden=16, heads=2), inputs, seed=0)
    >>> retriever = Retriever(backbone, words, feature_dim=16, max_clips=128)
    >>> clips = np.zeros((8, 16), np.float32)  # 8 clips of a video of 16 seconds
    >>> [spans] = retriever.retrieve(clips, "a person opens the door", duration=16, top=3)
    >>> len(spans), all(0 <= span.start < span.end <= 16 for span in spans)
    (3, True)
    """

    def __init__(
        self,
        backbone: Backbone,
        words: Words,
        *,
        feature_dim: int,
        max_clips: int,
        resample: Resample = "shorten",
        parts: Sequence[FeaturePart] = (),
        extraction: Extraction | None = None,
        text: TextInput | None = None,
        marks: Sequence[str] = (),
    ) -> None:
        self.backbone = backbone.eval()
        self.words = words
        self.feature_dim = feature_dim
        self.max_clips = max_clips
        self.resample: Resample = resample
        self.parts = list(parts)
        self.extraction = extraction
        self.text = text
        self.marks = list(marks)
        self._encoders: dict[str, TextEncoder] = {}

    @classmethod
    def load(cls, folder: Path | str, *, device: torch.device | str = "cpu") -> Retriever:
        """Load what `export` wrote; `CheckpointError` where a file is missing or changed."""
        folder = Path(folder)
        record = read_record(folder)
        vectors = read_vectors(folder, record)
        words = Words(tokens=record.words, vectors=vectors, characters=record.characters)
        inputs = ModelInputs(
            feature_dim=record.feature_dim,
            word_vectors=vectors,
            characters=words.character_count,
            text_dim=0 if record.text is None else record.text.dim,
        )
        backbone = build_backbone(record.backbone, inputs, seed=0)
        weights = load_tensors(folder / WEIGHTS, sha256=record.sha256[WEIGHTS])
        backbone.load_state_dict(weights)
        return cls(
            backbone.to(device),
            words,
            feature_dim=record.feature_dim,
            max_clips=record.max_clips,
            resample=record.resample,
            parts=record.parts,
            extraction=record.extraction,
            text=record.text,
            marks=record.marks,
        )

    def extractions(self) -> dict[str, Extraction]:
        """Return what makes the features of a video file, by source ("" is the only one).

        `DataError` where the dataset that it was trained on does not say it of all sources.
        """
        found = {part.name: part.extraction for part in self.parts} or {"": self.extraction}
        unknown = [name or "the features" for name, how in found.items() if how is None]
        if unknown:
            raise DataError(
                f"how {' and '.join(unknown)} of this retriever were made of videos is not known: "
                "its dataset was not made by `refkd data extract`; give the features of the video"
            )
        return {name: how for name, how in found.items() if how is not None}

    def join(self, rows: Mapping[str, NDArray[np.floating]]) -> NDArray[np.floating]:
        """Return the rows (T, V) of the sources of a video as those of one.

        `DataError` where other sources are given than the dataset had that it was trained on; the
        only one of a dataset may have any name.
        """
        norms = {part.name: part.norm for part in self.parts}
        if not norms and len(rows) == 1:
            return next(iter(rows.values()))
        if rows.keys() != norms.keys():
            wanted = " and ".join(norms) or "one source alone"
            given = " and ".join(name or "one without a name" for name in rows)
            raise DataError(f"features of {given} are given; this retriever needs {wanted}")
        return join(rows, norms)

    def encode(
        self, queries: Sequence[str], encoder: str | None = None
    ) -> list[NDArray[np.float32]]:
        """Return the features of queries, made as those of the dataset that it was trained on.

        `encoder` is where the network for that lies, if not where it was then. `DataError` where
        the dataset does not say what made its own, or the network is not there or another one.
        """
        from refkd.video.encoder import TextEncoder

        _check_queries(queries)
        if self.text is None:
            raise DataError("this retriever reads words; no network makes features of its queries")
        if self.text.extraction is None:
            raise DataError(
                "what made the features of this retriever's queries is not known: those of its "
                "dataset were not made by `refkd data extract --queries`; give them as text"
            )
        model = encoder or self.text.extraction.model
        if model not in self._encoders:  # kept, as loading one takes seconds
            network = TextEncoder(model)
            network.require_same(self.text.extraction, "--text-encoder")
            self._encoders[model] = network
        network = self._encoders[model]
        return [network(query)[0] for query in queries]

    @torch.inference_mode()
    def retrieve(
        self,
        features: NDArray[np.floating],
        queries: Sequence[str] | str,
        *,
        duration: float,
        top: int = 1,
        text: Sequence[NDArray[np.floating]] | None = None,
    ) -> list[list[Span]]:
        """Return the `top` spans of each query, best first.

        `features` is (T, V), a row a clip in order of time, of a video of `duration` seconds.
        `text` are the features (M, d_t) of each query's tokens, for a retriever that reads such;
        else they are made as those of its dataset were (`encode`).
        Raises `DataError` for features of another width, an empty query, a duration not above 0,
        a `top` below 1.
        """
        queries = [queries] if isinstance(queries, str) else list(queries)
        if top < 1:
            raise DataError(f"top is {top}; ask for at least one span")
        clips = pool(self._check(features, queries, duration), self.max_clips, self.resample)
        batch = self._batch(clips, queries, self._tokens(queries, text))
        found = self.backbone.proposals(self.backbone(batch), batch, top=top)
        seconds = (found.edges.double() * (duration / len(clips))).tolist()
        return [
            [Span(start=s, end=e, score=p) for (s, e), p in zip(*row, strict=True)]
            for row in zip(seconds, found.score.tolist(), strict=True)
        ]

    def _check(
        self, features: NDArray[np.floating], queries: Sequence[str], duration: float
    ) -> NDArray[np.float32]:
        rows = np.asarray(features, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != self.feature_dim:
            raise DataError(
                f"features have the shape {rows.shape}; this retriever needs (clips, "
                f"{self.feature_dim}) with at least one clip"
            )
        if not np.isfinite(rows).all():
            raise DataError("features hold values that are not finite; extract them again")
        if not (np.isfinite(duration) and duration > 0):
            raise DataError(f"the duration is {duration}; give the video's length in seconds")
        _check_queries(queries)
        return rows

    def _tokens(
        self, queries: Sequence[str], text: Sequence[NDArray[np.floating]] | None
    ) -> list[NDArray[np.float32]] | None:
        if self.text is None and text is not None:
            raise DataError("this retriever reads words; give no features of the queries")
        if self.text is None:
            return None
        given = self.encode(queries) if text is None else text
        return checked_tokens(queries, given, self.text.dim)

    def _batch(
        self,
        clips: NDArray[np.float32],
        queries: Sequence[str],
        text: list[NDArray[np.float32]] | None,
    ) -> Batch:
        device = next(self.backbone.parameters()).device
        if text is None:
            words, characters = self.words.encode_batch(queries)
        else:
            words, characters = token_ids([len(tokens) for tokens in text])
        count = len(queries)
        nothing = torch.zeros(count, dtype=torch.int64)
        return Batch(
            features=torch.from_numpy(clips).expand(count, -1, -1),
            clips=torch.full((count,), len(clips), dtype=torch.int64),
            words=torch.from_numpy(words),
            characters=torch.from_numpy(characters),
            start=nothing,
            end=nothing,
            moment=torch.zeros(count, 2),
            pairs=nothing,
            text=None if text is None else pad_sequence(list(map(torch.from_numpy, text)), True),
        ).to(device)


def _check_queries(queries: Sequence[str]) -> None:
    empty = [i for i, query in enumerate(queries) if not query.strip()]
    if empty or not queries:
        raise DataError(f"query {empty[0] if empty else 0} is empty; write a sentence")
    for i, query in enumerate(queries):
        if not encodable(query):
            raise DataError(f"query {i}, {query!r}, holds half a character; write it again")
