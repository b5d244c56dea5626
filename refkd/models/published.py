"""Weights of published networks under the names that the networks here give them.

VSLNet: the `state_dict` of 26hzhang/VSLNet, `model/VSLNet_t7.py`, with either span predictor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from refkd.data.inputs import ModelInputs
from refkd.errors import CheckpointError
from refkd.models import build_backbone
from refkd.models.backbone import Backbone
from refkd.models.vslnet import VSLNetConfig

WORD_VECTORS = "embedding_net.word_emb.glove_vec"
CHARACTERS = "embedding_net.char_emb.char_emb.weight"
_NOT_OURS = (WORD_VECTORS, "embedding_net.word_emb.pad_vec")
"""Weights of the reference that are no parameters here: word vectors come with the words."""
_FIRST = {
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
}
"""What a name of the reference begins with, and what stands for it here."""
_OF_ENCODERS = {
    r"encoder\.pos_embedding\.position_embeddings\.": "encoder.positions.table.",
    r"encoder\.conv_block\.layer_norms\.": "encoder.conv.norms.",
    r"encoder\.conv_block\.depthwise_separable_conv\.(\d)\.0\.": r"encoder.conv.depthwise.\1.",
    r"encoder\.conv_block\.depthwise_separable_conv\.(\d)\.1\.": r"encoder.conv.pointwise.\1.",
    r"encoder\.attention_block\.layer_norm(\d)\.": r"encoder.attention.norm\1.",
    r"encoder\.attention_block\.out_layer\.conv1d\.": "encoder.attention.out.",
    r"encoder\.attention_block\.(\w+)\.conv1d\.": r"encoder.attention.\1.",
}


def vslnet_name(name: str) -> str:
    """Return the name of a weight of VSLNet here; `CheckpointError` where VSLNet has none such.

    >>> vslnet_name("feature_encoder.attention_block.query.conv1d.weight")
    'encoder.attention.query.weight'
    """
    for pattern, new in _FIRST.items():
        if re.match(pattern, name):
            name = re.sub(f"^{pattern}", new, name)
            for inner, renamed in _OF_ENCODERS.items():
                name = re.sub(inner, renamed, name)
            return name
    raise CheckpointError(f"{name} is no weight of VSLNet; give a state_dict of its PyTorch code")


def published_vslnet(
    state: Mapping[str, Tensor], *, heads: int, max_clips: int, feature_dim: int
) -> Backbone:
    """Return VSLNet with the weights of the reference's `state_dict`, in evaluation mode.

    Its sizes are those of the weights; `heads` no weight tells. The word vectors are its own.
    With `mask_conv`, as here, a pair's logits are those that the reference gives in a batch where
    no clip and no word is padded, whatever the batch. `CheckpointError` where a weight is missing,
    unknown or of another shape, or where the network takes no `max_clips` clips of `feature_dim`
    numbers.
    """
    try:
        hidden, width = state["video_affine.linear.conv1d.weight"].shape[:2]
        characters, char_dim = state[CHARACTERS].shape
        positions = len(state["feature_encoder.pos_embedding.position_embeddings.weight"])
        vectors = state[WORD_VECTORS].float().numpy()
    except KeyError as error:
        raise CheckpointError(
            f"the weight {error.args[0]} is missing; give a state_dict of VSLNet's PyTorch code, "
            "with pre-trained word vectors"
        ) from None
    if width != feature_dim or positions < max_clips:
        raise CheckpointError(
            f"the network takes {positions} clips of {width} numbers, the dataset has {max_clips} "
            f"of {feature_dim}; prepare the dataset with the features that it was trained on"
        )
    config = VSLNetConfig(
        hidden=hidden,
        heads=heads,
        char_dim=char_dim,
        max_positions=positions,
        predictor="rnn" if any("start_encoder" in name for name in state) else "transformer",
        cqa_bias="cq_attention.cqa_linear.conv1d.bias" in state,
    )
    inputs = ModelInputs(feature_dim=feature_dim, word_vectors=vectors, characters=characters)
    network = build_backbone(config, inputs, seed=0)
    network.load_state_dict(vslnet_weights(state, network.state_dict()))
    return network.eval().requires_grad_(False)


def vslnet_weights(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the reference's weights by the names and in the shapes of ours, `like`.

    The reference's linear layers are convolutions, whose weights have axes of length 1 beside.
    """
    names = {vslnet_name(n): n for n in state if n not in _NOT_OURS}
    if differing := sorted(names.keys() ^ like.keys()):
        raise CheckpointError(
            f"{len(differing)} weights are missing or of no use ({', '.join(differing[:3])}); "
            "give the whole state_dict"
        )
    found = {}
    for name, own in like.items():
        given = state[names[name]]
        if [n for n in given.shape if n != 1] != [n for n in own.shape if n != 1]:
            raise CheckpointError(
                f"{names[name]} is of {tuple(given.shape)}, expected {tuple(own.shape)}; give "
                "weights that were trained together"
            )
        found[name] = given.reshape(own.shape)
    return found
