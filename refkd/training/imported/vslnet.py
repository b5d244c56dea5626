"""VSLNet's published checkpoints: the `state_dict` of 26hzhang/VSLNet, `model/VSLNet_t7.py`.

With either span predictor. Its sizes are those of the weights, but for the number of heads, which
stands in `configs.json`. The outputs were compared with those of the reference's own code
(`tests/refkd/models/test_vslnet_reference.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.inputs import ModelInputs
from refkd.data.words import FIRST, Words
from refkd.models import VSLNetConfig, build_backbone
from refkd.models.backbone import Backbone
from refkd.training.imported.vocabulary import read_vocabulary
from refkd.training.imported.weights import (
    Asked,
    Checkpoint,
    Reference,
    check_grid,
    read_heads,
)

WORD_VECTORS = "embedding_net.word_emb.glove_vec"
CHARACTERS = "embedding_net.char_emb.char_emb.weight"
VIDEO = "video_affine.linear.conv1d.weight"
POSITIONS = "feature_encoder.pos_embedding.position_embeddings.weight"
VSLNET = Reference(
    title="VSLNet (26hzhang/VSLNet, PyTorch)",
    first={
        r"embedding_net\.word_emb\.unk_vec": "embedding.unknown",
        r"embedding_net\.char_emb\.char_emb\.": "embedding.characters.",
        r"embedding_net\.char_emb\.char_convs\.(\d)\.0\.": r"embedding.convolutions.\1.",
        r"embedding_net\.linear\.conv1d\.": "embedding.linear.",
        r"video_affine\.linear\.conv1d\.": "video.",
        r"feature_encoder\.": "encoder.",
        r"predictor\.encoder\.": "span_head.encoder.",
        r"cq_attention\.w4C": "attention.context",
        r"cq_attention\.w4Q": "attention.query",
        r"cq_attention\.w4mlu": "attention.product",
        r"cq_attention\.cqa_linear\.conv1d\.": "attention.linear.",
        r"cq_concat\.weighted_pool\.weight": "concat.pool",
        r"cq_concat\.conv1d\.conv1d\.": "concat.linear.",
        r"highlight_layer\.conv1d\.conv1d\.": "highlight.",
        r"predictor\.(start|end)_encoder\.lstm\.": r"span_head.\1_rnn.",
        r"predictor\.(start|end)_layer_norm\.": r"span_head.\1_norm.",
        r"predictor\.(start|end)_block\.(\d)\.conv1d\.": r"span_head.\1.\2.",
    },
    inner={
        r"encoder\.pos_embedding\.position_embeddings\.": "encoder.positions.table.",
        r"encoder\.conv_block\.layer_norms\.": "encoder.conv.norms.",
        r"encoder\.conv_block\.depthwise_separable_conv\.(\d)\.0\.": r"encoder.conv.depthwise.\1.",
        r"encoder\.conv_block\.depthwise_separable_conv\.(\d)\.1\.": r"encoder.conv.pointwise.\1.",
        r"encoder\.attention_block\.layer_norm(\d)\.": r"encoder.attention.norm\1.",
        r"encoder\.attention_block\.out_layer\.conv1d\.": "encoder.attention.out.",
        r"encoder\.attention_block\.(\w+)\.conv1d\.": r"encoder.attention.\1.",
    },
    left_out=r"embedding_net\.word_emb\.(glove|pad)_vec$",  # word vectors come with the words
)


def vslnet(checkpoint: Checkpoint, *, heads: int) -> Backbone:
    """Return VSLNet with the weights of a checkpoint, in evaluation mode.

    With `mask_conv`, as here, a pair's logits are those that the reference gives in a batch where
    no clip and no word is padded, whatever the batch. `CheckpointError` where a weight is missing,
    unknown or of another shape.
    """
    hidden, width, _ = checkpoint.shape(VIDEO, 3)
    characters, char_dim = checkpoint.shape(CHARACTERS, 2)
    positions, _ = checkpoint.shape(POSITIONS, 2)
    checkpoint.shape(WORD_VECTORS, 2)
    config = VSLNetConfig(
        hidden=hidden,
        heads=heads,
        char_dim=char_dim,
        max_positions=positions,
        predictor="rnn" if any("start_encoder" in n for n in checkpoint.state) else "transformer",
        cqa_bias="cq_attention.cqa_linear.conv1d.bias" in checkpoint.state,
    )
    vectors = checkpoint.state[WORD_VECTORS].float().numpy()
    inputs = ModelInputs(feature_dim=width, word_vectors=vectors, characters=characters)
    return VSLNET.load(checkpoint, build_backbone(config, inputs, seed=0))


def ask_vslnet(checkpoint: Checkpoint, files: Mapping[str, Path], dataset: Dataset) -> Asked:
    """Return VSLNet of a checkpoint, which reads queries by refkd's rules in its own words."""
    hidden, width, _ = checkpoint.shape(VIDEO, 3)
    network = vslnet(checkpoint, heads=read_heads(files["settings"], hidden))
    check_grid(
        checkpoint,
        dataset,
        width=width,
        clips=checkpoint.shape(POSITIONS, 2)[0],
    )
    vectors = checkpoint.state[WORD_VECTORS].float().numpy()
    characters = checkpoint.shape(CHARACTERS, 2)[0] - FIRST
    held = read_vocabulary(
        files["vocabulary"], first=FIRST, words=len(vectors), characters=characters
    )
    return Asked(network=network, words=Words(held.words, vectors, held.characters))
