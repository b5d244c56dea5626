"""QAVE's published checkpoints: `ckp/*/*.ckp` of haojc/ShufflingVideosForTSG, with its match head.

Names of weights as they stand in its checkpoints. Lengths, the cutting of queries and the kind of
match head stand in `params.json`; words and their vectors in files of their own. That code masks
nothing: videos are padded with zeros and queries with the vector of id 0, and both are read. So is
it here, and its logits are the reference's (`tests/refkd/models/test_qave_reference.py`). The
order head judges no span and is left out.

Shapes: B pairs, T clips of every video, N words of every query.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from refkd.data.batch import Batch
from refkd.data.containers import read_array
from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.data.words import FIRST
from refkd.errors import CheckpointError, DataError
from refkd.models import QAVEConfig, build_backbone
from refkd.models.backbone import Backbone, BackboneOutput, SpanLogits
from refkd.models.layers import mask_logits
from refkd.training.imported.vocabulary import PlainWords, read_vocabulary
from refkd.training.imported.weights import (
    OF_LSTMS,
    Asked,
    Checkpoint,
    Reference,
    check_grid,
    read_settings,
)

WORDS = "sentence_encoder.word_embed.weight"
VIDEO = "video_encoder.blocks.0.rnn_cell.lstm.weight_ih_l0"
RECURRENT = "video_encoder.blocks.0.rnn_cell.lstm.weight_hh_l0"
SPAN = "span_predictor.predictor.start_mlp_1.weight"
_BLOCK = r"video_encoder\.blocks\.(\d)\."
QAVE = Reference(
    title="QAVE with a match head (haojc/ShufflingVideosForTSG)",
    first={
        r"sentence_encoder\.word_embed\.": "word_linear.",
        r"sentence_encoder\.rnn_cell\.lstm(?=\.)": "sentence",
        _BLOCK + r"rnn_cell\.lstm(?=\.)": r"video.\1.rnn",
        _BLOCK + r"attention\.W_s\.": r"video.\1.of_word.",
        _BLOCK + r"attention\.W_a\.": r"video.\1.of_clip.",
        _BLOCK + r"attention\.w\.": r"video.\1.weigh.",
        _BLOCK + r"sent_linear\.": r"video.\1.gate.",
        r"video_encoder\.norm\.": "video_norm.",
        r"csmm\.predict\.predict\.": "match.",
        r"span_predictor\.predictor\.(start|end)_mlp_1\.": r"span_head.\1.0.",
        r"span_predictor\.predictor\.(start|end)_mlp_2\.": r"span_head.\1.2.",
    },
    inner=OF_LSTMS,
    left_out=r"tod\.",
    without=("words.unknown",),  # there unknown words are left out
)
CUTS: dict[str, dict[int, str | None]] = {
    "charades": {ord(mark): " " for mark in string.punctuation},
    "anet": {ord(mark): None for mark in string.punctuation} | {ord(","): " "},
}
"""What stands for each punctuation mark of a query, by `train` of the settings."""


class WholeBatch(Backbone):
    """QAVE on videos of T clips, zeros behind their last one, as its code reads them."""

    def __init__(self, network: Backbone, clips: int) -> None:
        super().__init__()
        self.network, self.clips = network, clips

    def forward(self, batch: Batch) -> BackboneOutput:
        """Return the logits of a batch's own clips."""
        length = batch.features.shape[1]
        features = F.pad(batch.features, (0, 0, 0, self.clips - length))
        everything = torch.full_like(batch.clips, self.clips)
        output = self.network(replace(batch, features=features, clips=everything))
        start, end = (
            mask_logits(logits[:, :length], batch.clip_mask)
            for logits in (output.spans.start, output.spans.end)
        )
        return BackboneOutput(
            spans=SpanLogits(start=start, end=end), match=output.match[:, :length]
        )

    def auxiliary_loss(self, output: BackboneOutput, batch: Batch) -> Tensor:
        """Return 0: nothing is trained."""
        return batch.features.new_zeros(())


def qave(checkpoint: Checkpoint, vectors: NDArray[np.float32]) -> Backbone:
    """Return QAVE with the weights of a checkpoint, in evaluation mode; words have ids from 2 on.

    `CheckpointError` where a weight is missing, unknown or of another shape.
    """
    config = QAVEConfig(
        hidden=checkpoint.shape(RECURRENT, 2)[1], span_hidden=checkpoint.shape(SPAN, 2)[0]
    )
    width = checkpoint.shape(VIDEO, 2)[1]
    inputs = ModelInputs(feature_dim=width, word_vectors=vectors, characters=FIRST)
    return QAVE.load(checkpoint, build_backbone(config, inputs, seed=0))


def ask_qave(checkpoint: Checkpoint, files: Mapping[str, Path], dataset: Dataset) -> Asked:
    """Return QAVE of a checkpoint, which reads queries as its code does, cut to N words."""
    vectors = _vectors(files["vectors"], checkpoint.shape(WORDS, 2)[1])
    settings = read_settings(files["settings"])
    settings.require("m_pred_activ", among=("relu",))
    clips, length = settings.number("video_len"), settings.number("sent_len")
    marks = CUTS[settings.require("train", among=tuple(CUTS))]
    network = qave(checkpoint, vectors)
    check_grid(checkpoint, dataset, width=checkpoint.shape(VIDEO, 2)[1], clips=clips)
    held = read_vocabulary(files["vocabulary"], first=0, words=len(vectors))
    words = PlainWords(
        cut=lambda query: query.lower().translate(marks).split(),
        ids={word: row for row, word in enumerate(held.words, FIRST)},
        unknown=None,
        padding=FIRST,  # id 0 there
        length=length,
    )
    return Asked(network=WholeBatch(network, clips), words=words)


def _vectors(path: Path, width: int) -> NDArray[np.float32]:
    try:
        found = read_array(path)
    except (DataError, OSError) as error:
        raise CheckpointError(f"{error}; give the word vectors by --vectors") from None
    if found.ndim != 2 or found.shape[1] != width or found.dtype.kind != "f":
        raise CheckpointError(
            f"{path}: word vectors are {found.dtype} of {found.shape}, expected numbers of "
            f"(words, {width}); give those that the checkpoint was trained with"
        )
    if not np.isfinite(found).all():
        raise CheckpointError(f"{path}: a word vector is not finite; get the file again")
    return found.astype(np.float32)
