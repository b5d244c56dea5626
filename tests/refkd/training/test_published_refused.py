"""What is no published checkpoint, or does not fit the dataset: one line, whatever the network."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.published import MODELS, Published, publish
from torch import Tensor

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError

Wrong = tuple[Callable[[Published], object], str]


def state_of(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Published], object]:
    def apply(published: Published) -> None:
        state = torch.load(published.checkpoint, weights_only=True)
        made = change(state)
        torch.save(state if made is None else made, published.checkpoint)

    return apply


def vocabulary_of(**changes: Any) -> Callable[[Published], object]:
    def apply(published: Published) -> None:
        path = published.given["vocabulary"]
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")

    return apply


def settings_of(*keys: str, value: Any) -> Callable[[Published], object]:
    return lambda published: published.set(*keys, value=value)


VIDEO = {
    "vslnet": "video_affine.linear.conv1d.weight",
    "emb": "video_affine.linear.conv1d.weight",
    "qave": "video_encoder.blocks.0.rnn_cell.lstm.weight_ih_l0",
    "tan2d": "frame_layer.vis_conv.weight",
}
"""What reads the features of a clip."""
LATE = {
    "vslnet": "highlight_layer.conv1d.conv1d.weight",
    "emb": "fuser1.cq_concat.conv1d.conv1d.weight",
    "qave": "csmm.predict.predict.0.weight",
    "tan2d": "fusion_layer.tex_linear.weight",
}
"""A matrix in the middle, whose shape no size is read from."""


def features_cut(model: str) -> Callable[[dict[str, Tensor]], object]:
    names = [VIDEO[model], f"{VIDEO[model]}_reverse"]
    return lambda state: state.update({n: state[n][:, :5] for n in names if n in state})


def wrong_of_all(model: str) -> list[Wrong]:
    """Return what no checkpoint may be, and what is said of it."""
    late, file = LATE[model], f"{model}_99.t7"
    return [
        (lambda p: p.checkpoint.unlink(), f"{file}: is missing"),
        (lambda p: p.checkpoint.write_bytes(pickle.dumps(print, 2)), f"{file}: cannot be read"),
        (lambda p: torch.save({"state_dict": Path}, p.checkpoint), f"{file}: cannot be read"),
        (lambda p: p.checkpoint.write_bytes(b"PK"), f"{file}: cannot be read"),
        (lambda p: torch.save(torch.zeros(2), p.checkpoint), "is no state_dict"),
        (lambda p: torch.save({"epoch": 1}, p.checkpoint), "is no state_dict"),
        (lambda p: torch.save({}, p.checkpoint), f"{file}: the weight .* is missing"),
        (state_of(lambda s: s.__delitem__(VIDEO[model])), f"{VIDEO[model]} is missing"),
        (state_of(lambda s: s.__delitem__(late)), f"{file}: 1 weights .* are missing"),
        (state_of(lambda s: s.update(x=s[late])), f"{file}: x is no weight of"),
        (state_of(lambda s: s.update({f"{late}2": s[late]})), rf"{late}2\) are of no use"),
        (state_of(lambda s: s.update({late: s[late][:, :3]})), rf"{late} is of .*, expected \("),
        (state_of(lambda s: s.update({VIDEO[model]: s[late][0, 0]})), "expected . dimensions"),
        (state_of(features_cut(model)), f"{file}: the network takes .* of 5 numbers, the dataset"),
        (lambda p: p.out.write_text("x"), "answers.npz: exists"),
        (lambda p: p.settings.unlink(), f"{'.yaml' if model == 'tan2d' else '.json'}: the setti"),
        (lambda p: p.settings.write_text("{"), "the settings cannot be read"),
        (
            lambda p: p.settings.write_text("[]"),
            r"(num_heads|m_pred_activ|DATASET.\w+) is missing",
        ),
        (
            lambda p: p.given.popitem() and p.given.clear(),
            f"is missing: --import {model} needs --",
        ),
    ]


def short_vectors(published: Published) -> None:
    path = published.given["vectors"]
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(" ".join(line.split()[:4]) for line in lines), "utf-8")


HEADS = settings_of("num_heads", value="four")
POSITIONS = "feature_encoder.pos_embedding.position_embeddings.weight"
LAYERS = "encoder.f2f.layers.0.norm1.weight"
WORDS: list[Wrong] = [
    (lambda p: p.given["vocabulary"].unlink(), "vocabulary.json: is no vocabulary"),
    (lambda p: p.given["vocabulary"].write_text("{"), "vocabulary.json: is no vocabulary"),
    (vocabulary_of(words=["open"]), "1 words, 1 of them different, but the checkpoint has"),
    (vocabulary_of(extra=1), "vocabulary.json: is no vocabulary .Extra"),
]
BIDIRECTIONAL = "fusion_layer.textual_encoder.weight_ih_l0"
WRONG: dict[str, list[Wrong]] = {
    "vslnet": [
        *WORDS,
        (HEADS, "num_heads is 'four', expected a number"),
        (settings_of("num_heads", value=3), "num_heads is 3, expected a divisor of 8"),
        (state_of(lambda s: s.update({POSITIONS: s[POSITIONS][:9]})), "takes 9 clips of"),
        (vocabulary_of(characters=["a"]), "1 characters, 1 of them different, but the checkpoint"),
        (lambda p: p.given.update(vectors=p.out), "--vectors: --import vslnet reads none"),
    ],
    "emb": [
        *WORDS,
        (HEADS, "num_heads is 'four', expected a number"),
        (
            state_of(lambda s: s.update({LAYERS.replace(".0.", ".1."): s[LAYERS]})),
            "f2f.layers.1.norm1.weight is no weight of EMB",
        ),
    ],
    "qave": [
        *WORDS,
        (settings_of("m_pred_activ", value="tanh"), "m_pred_activ is 'tanh', expected 'relu'"),
        (settings_of("train", value="tacos"), "train is 'tacos', expected 'charades' or 'anet'"),
        (settings_of("video_len", value=9), "takes 9 clips of"),
        (
            state_of(
                lambda s: s.update({"csmm.temporal.lstm.lstm.weight_ih_l0": s[LATE["qave"]]})
            ),
            "csmm.temporal.* is no weight of QAVE with a match head",
        ),
        (
            lambda p: np.save(p.given["vectors"], np.zeros((3, 4))),
            r"float64 of \(3, 4\), expected",
        ),
        (lambda p: np.save(p.given["vectors"], np.zeros((3, 7))), "but the checkpoint has 3"),
        (lambda p: np.save(p.given["vectors"], np.full((3, 7), np.nan)), "is not finite"),
        (lambda p: p.given["vectors"].unlink(), "vectors.npy.*by --vectors"),
    ],
    "tan2d": [
        (short_vectors, "glove.txt: word vectors of 3 numbers, but the checkpoint has 7"),
        (settings_of("DATASET", "NORMALIZE", value=False), "NORMALIZE is False, expected True"),
        (settings_of("DATASET", "TARGET_STRIDE", value=3), "KERNEL_SIZE is 2, expected 3"),
        (settings_of("TEST", "NMS_THRESH", value=2), "Input should be less than 1"),
        (settings_of("TEST", "NMS_THRESH", value=None), "TEST.NMS_THRESH is missing"),
        (
            settings_of("TAN", "PROP_MODULE", "NAME", value="PropMaxPool"),
            "NAME is 'PropMaxPool', expected 'SparsePropMaxPool' or 'SparsePropConv'",
        ),
        (
            settings_of("TAN", "PROP_MODULE", "NAME", value="SparsePropConv"),
            "are missing .by refkd's names.",
        ),
        (
            settings_of("TAN", "PROP_MODULE", "PARAMS", "NUM_SCALE_LAYERS", value=[2, 2]),
            r"NUM_SCALE_LAYERS is \[2, 2\], expected \[4\]",
        ),
        (
            state_of(lambda s: s.update({f"{BIDIRECTIONAL}_reverse": s[BIDIRECTIONAL]})),
            "weight_ih_l0_reverse. are of no use",
        ),
        (lambda p: p.given.update(vocabulary=p.out), "--vocabulary: --import tan2d reads none"),
    ],
}


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [(m, *wrong) for m in MODELS for wrong in (*wrong_of_all(m), *WRONG[m])],
)
def test_what_does_not_fit_is_one_line(
    model: str,
    change: Callable[[Published], object],
    message: str,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    published = publish(model, tiny_dataset, tmp_path)
    change(published)
    with pytest.raises(CheckpointError, match=message) as caught:
        published.ask(tiny_dataset)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value), "names no remedy"
