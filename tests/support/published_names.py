"""What the references call the weights of networks that refkd has too."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from refkd.models.backbone import Backbone

LINEAR = "conv1d.weight"
"""What linear layers end with that are convolutions in VSLNet and EMB."""
EMBEDDING = "embedding_net.word_emb."
LSTM = (
    (r"\.forwards\.(\d)\.(\w+)_l0$", r".\2_l\1"),
    (r"\.backwards\.(\d)\.(\w+)_l0$", r".\2_l\1_reverse"),
)
CROSSED = (
    (r"attention\.context", "cq_attention.w4C"),
    (r"attention\.query$", "cq_attention.w4Q"),
    (r"attention\.product", "cq_attention.w4mlu"),
    (r"attention\.linear\.", "cq_attention.cqa_linear.conv1d."),
    (r"concat\.pool", "cq_concat.weighted_pool.weight"),
    (r"concat\.linear\.", "cq_concat.conv1d.conv1d."),
)
Name = str | Callable[[re.Match[str]], str]
THEIRS: dict[str, tuple[tuple[str, Name], ...]] = {
    "vslnet": (
        (r"^embedding\.unknown", EMBEDDING + "unk_vec"),
        (r"^embedding\.characters\.", "embedding_net.char_emb.char_emb."),
        (r"^embedding\.convolutions\.(\d)\.", r"embedding_net.char_emb.char_convs.\1.0."),
        (r"^embedding\.linear\.", "embedding_net.linear.conv1d."),
        (r"^video\.", "video_affine.linear.conv1d."),
        (r"encoder\.positions\.table\.", "encoder.pos_embedding.position_embeddings."),
        (r"encoder\.conv\.norms\.", "encoder.conv_block.layer_norms."),
        (r"conv\.depthwise\.(\d)\.", r"conv_block.depthwise_separable_conv.\1.0."),
        (r"conv\.pointwise\.(\d)\.", r"conv_block.depthwise_separable_conv.\1.1."),
        (r"encoder\.attention\.norm", "encoder.attention_block.layer_norm"),
        (r"encoder\.attention\.out\.", "encoder.attention_block.out_layer.conv1d."),
        (r"encoder\.attention\.(query|key|value)\.", r"encoder.attention_block.\1.conv1d."),
        (r"^encoder\.", "feature_encoder."),
        *((f"^{ours}", name) for ours, name in CROSSED),
        (r"^highlight\.", "highlight_layer.conv1d.conv1d."),
        (r"^span_head\.(start|end)_rnn\.", r"predictor.\1_encoder.lstm."),
        (r"^span_head\.(start|end)_norm\.", r"predictor.\1_layer_norm."),
        (r"^span_head\.(start|end)\.(\d)\.", r"predictor.\1_block.\2.conv1d."),
        (r"^span_head\.encoder\.", "predictor.encoder."),
    ),
    "emb": (
        (r"^words\.unknown", EMBEDDING + "unk_vec"),
        (r"^word_linear\.", "embedding_net.linear.conv1d."),
        (r"^unused\.0\.", "embedding_net.char_emb.char_emb."),
        (r"^unused\.1\.(\d)\.", r"embedding_net.char_emb.char_convs.\1.0."),
        (r"^video\.", "video_affine.linear.conv1d."),
        (r"^clip_fuser\.", "fuser1."),
        (r"^proposal_fuser\.", "fuser2."),
        *((rf"^(fuser\d\.){ours}", rf"\1{name}") for ours, name in CROSSED),
        (r"^(\w\w?2\w)\.(query|key|value)\.", r"encoder.\1.layers.0.attention.\2.conv1d."),
        (r"^(\w\w?2\w)\.depthwise\.", r"encoder.\1.layers.0.guide.conv_layers.0."),
        (r"^(\w\w?2\w)\.pointwise\.", r"encoder.\1.layers.0.guide.conv_layers.1."),
        (r"^(\w\w?2\w)\.guide_norm\.", r"encoder.\1.layers.0.guide.layer_norm."),
        (r"^(\w\w?2\w)\.dense\.(\d)\.", r"encoder.\1.layers.0.dense.\2.conv1d."),
        (r"^(\w\w?2\w)\.norm", r"encoder.\1.layers.0.norm"),
        (r"^highlight\.", "highlight_layer.conv1d.conv1d."),
        (r"^ranker\.convolutions\.", "ranker.encoders."),
        (r"^ranker\.logit\.", "ranker.predictor."),
        (r"^span_head\.(start|end)_rnn\.", r"predictor.\1_encoder.rnn."),
        (r"^span_head\.(start|end)_linear\.", r"predictor.\1_encoder.dense_output.conv1d."),
        (r"^span_head\.(start|end)\.(\d)\.", r"predictor.\1_block.\2.conv1d."),
        *LSTM,
    ),
    "qave": (
        (r"^word_linear\.", "sentence_encoder.word_embed."),
        (r"^sentence\.", "sentence_encoder.rnn_cell.lstm."),
        (r"^video\.(\d)\.rnn\.", r"video_encoder.blocks.\1.rnn_cell.lstm."),
        (r"^video\.(\d)\.of_word\.", r"video_encoder.blocks.\1.attention.W_s."),
        (r"^video\.(\d)\.of_clip\.", r"video_encoder.blocks.\1.attention.W_a."),
        (r"^video\.(\d)\.weigh\.", r"video_encoder.blocks.\1.attention.w."),
        (r"^video\.(\d)\.gate\.", r"video_encoder.blocks.\1.sent_linear."),
        (r"^video_norm\.", "video_encoder.norm."),
        (r"^match\.", "csmm.predict.predict."),
        (r"^span_head\.(start|end)\.0\.", r"span_predictor.predictor.\1_mlp_1."),
        (r"^span_head\.(start|end)\.2\.", r"span_predictor.predictor.\1_mlp_2."),
        *LSTM,
    ),
    "tan2d": (
        (r"^frames\.", "frame_layer.vis_conv."),
        (r"^sparse\.(1[6-9]|2\d)\.", lambda found: f"prop_layer.layers.1.{int(found[1]) - 16}."),
        (r"^sparse\.", "prop_layer.layers.0."),
        (r"^text\.", "fusion_layer.textual_encoder."),
        (r"^text_linear\.", "fusion_layer.tex_linear."),
        (r"^cells\.", "fusion_layer.vis_conv."),
        (r"^convolutions\.layers\.", "map_layer.convs."),
        (r"^prediction\.", "pred_layer."),
    ),
}


def theirs(model: str, name: str) -> str:
    for pattern, new in THEIRS[model]:
        name = re.sub(pattern, new, name)
    return name


def as_published(model: str, network: Backbone) -> dict[str, Tensor]:
    """Return the weights of a network by the names and in the shapes of its reference."""
    state = {theirs(model, name): held.clone() for name, held in network.state_dict().items()}
    for name, held in state.items():
        if name.endswith(LINEAR):
            state[name] = held[..., None]  # a linear layer is a convolution there
        if name == "frame_layer.vis_conv.weight":
            state[name] = held[..., None]
        if name in (
            "fusion_layer.vis_conv.weight",
            "pred_layer.weight",
            "ranker.predictor.weight",
        ):
            state[name] = held[..., None, None]
    return state
