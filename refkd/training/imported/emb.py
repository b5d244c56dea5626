"""EMB's published checkpoints: `model_best.pth.tar` of Raymond-sci/EMB, `model/emb.py`.

Names of weights as read in that code (MIT). Its sizes are those of the weights, but for the number
of heads, which stands in `configs.json`. What it has and never reads is left out: the embedding of
characters. Its quirks concern proposals, which no logit of a clip depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.data.words import FIRST, Words
from refkd.models import EMBConfig, build_backbone
from refkd.training.imported.vocabulary import read_vocabulary
from refkd.training.imported.weights import (
    OF_LSTMS,
    Asked,
    Checkpoint,
    Reference,
    check_grid,
    read_heads,
)

WORD_VECTORS = "embedding_net.word_emb.glove_vec"
VIDEO = "video_affine.linear.conv1d.weight"
POSITIONS = "position.pe"
RANKER = "ranker.encoders."
_LAYER = r"encoder\.(\w+)\.layers\.0\."
_FUSERS = {"1": "clip_fuser", "2": "proposal_fuser"}
_OF_FUSERS = {
    r"\.cq_attention\.w4C$": ".attention.context",
    r"\.cq_attention\.w4Q$": ".attention.query",
    r"\.cq_attention\.w4mlu$": ".attention.product",
    r"\.cq_attention\.cqa_linear\.conv1d\.": ".attention.linear.",
    r"\.cq_concat\.weighted_pool\.weight$": ".concat.pool",
    r"\.cq_concat\.conv1d\.conv1d\.": ".concat.linear.",
}
EMB = Reference(
    title="EMB (Raymond-sci/EMB)",
    first={
        r"embedding_net\.word_emb\.unk_vec": "words.unknown",
        r"embedding_net\.linear\.conv1d\.": "word_linear.",
        r"video_affine\.linear\.conv1d\.": "video.",
        _LAYER + r"attention\.(query|key|value)\.conv1d\.": r"\1.\2.",
        _LAYER + r"guide\.conv_layers\.0\.": r"\1.depthwise.",
        _LAYER + r"guide\.conv_layers\.1\.": r"\1.pointwise.",
        _LAYER + r"guide\.layer_norm\.": r"\1.guide_norm.",
        _LAYER + r"dense\.(\d)\.conv1d\.": r"\1.dense.\2.",
        _LAYER + r"norm(\d)\.": r"\1.norm\2.",
        r"fuser([12])(?=\.)": lambda found: _FUSERS[found[1]],
        r"highlight_layer\.conv1d\.conv1d\.": "highlight.",
        r"predictor\.(start|end)_encoder\.rnn": r"span_head.\1_rnn",
        r"predictor\.(start|end)_encoder\.dense_output\.conv1d\.": r"span_head.\1_linear.",
        r"predictor\.(start|end)_block\.(\d)\.conv1d\.": r"span_head.\1.\2.",
        r"ranker\.encoders\.": "ranker.convolutions.",
        r"ranker\.predictor\.": "ranker.logit.",
    },
    inner={**_OF_FUSERS, **OF_LSTMS},
    # Word vectors come with the words, positions are no weights, characters are never read.
    left_out=r"embedding_net\.(word_emb\.(glove|pad)_vec|char_emb\.)|position\.pe$",
)


def ask_emb(checkpoint: Checkpoint, files: Mapping[str, Path], dataset: Dataset) -> Asked:
    """Return EMB of a checkpoint, which reads queries by refkd's rules in its own words."""
    hidden, width, _ = checkpoint.shape(VIDEO, 3)
    positions, _ = checkpoint.shape(POSITIONS, 2)
    checkpoint.shape(WORD_VECTORS, 2)
    vectors = checkpoint.state[WORD_VECTORS].float().numpy()
    config = EMBConfig(
        hidden=hidden,
        heads=read_heads(files["settings"], hidden),
        max_positions=positions,
        ranker_layers=len({n.split(".")[2] for n in checkpoint.state if n.startswith(RANKER)})
        or 1,
    )
    inputs = ModelInputs(feature_dim=width, word_vectors=vectors, characters=FIRST)
    network = EMB.load(checkpoint, build_backbone(config, inputs, seed=0))
    check_grid(checkpoint, dataset, width=width, clips=positions)
    held = read_vocabulary(files["vocabulary"], first=FIRST, words=len(vectors))
    return Asked(network=network, words=Words(held.words, vectors, held.characters))
