"""A published checkpoint as a teacher: names, vocabulary and logits, and what is refused.

That the names are the reference's is held by `tests/refkd/models/test_vslnet_reference.py`.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.published_vslnet import Files, published_vslnet
from torch import Tensor

from refkd.data.dataset import Dataset
from refkd.data.roles import OPEN_ROLES
from refkd.data.simulate import SimulationConfig, simulate
from refkd.data.words import Words
from refkd.errors import CheckpointError
from refkd.models.backbone import Backbone
from refkd.training.imported.answers import read_answers
from refkd.training.imported.vslnet import in_words, vslnet_answers
from refkd.training.knowledge import teacher_logits


@pytest.fixture(params=["rnn", "transformer"])
def published(
    request: pytest.FixtureRequest, tiny_dataset: Dataset, tmp_path: Path
) -> tuple[Backbone, Words, Files]:
    """A network with words of its own, in another order than the dataset's, and its files."""
    return published_vslnet(request.param, tiny_dataset, tmp_path)


def test_a_checkpoint_answers_as_its_network_does_in_its_own_words(
    published: tuple[Backbone, Words, Files], tiny_dataset: Dataset
) -> None:
    network, words, files = published
    vslnet_answers(*list(files.values())[:2], tiny_dataset, files["answers.npz"])
    found = read_answers(files["answers.npz"], tiny_dataset)
    for role in OPEN_ROLES:
        pairs = tiny_dataset.role(role)
        own = teacher_logits(network, pairs, change=in_words(words, pairs))
        assert (found.logits[role] == own).all()
        assert own[:, :, : pairs.clips.min()].std() > 0
        other = Words(words.tokens[::-1], words.vectors, words.characters)
        assert (teacher_logits(network, pairs, change=in_words(other, pairs)) != own).any()


def test_a_checkpoint_reads_words_where_the_dataset_gives_features(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    _, _, files = published_vslnet("rnn", tiny_dataset, tmp_path)
    settings = SimulationConfig.model_validate({**tiny_dataset.manifest.simulation, "text": True})
    given = simulate(out=tmp_path / "text", config=settings)
    vslnet_answers(*list(files.values())[:2], tiny_dataset, files["answers.npz"])
    vslnet_answers(*list(files.values())[:2], given, tmp_path / "text.npz")
    words, text = (
        read_answers(path, dataset).logits["fit"]
        for path, dataset in ((files["answers.npz"], tiny_dataset), (tmp_path / "text.npz", given))
    )
    assert (words == text).all()


def state_of(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Files], object]:
    def apply(files: Files) -> None:
        state = torch.load(files["vslnet_99.t7"], weights_only=True)
        made = change(state)
        torch.save(state if made is None else made, files["vslnet_99.t7"])

    return apply


def vocabulary_of(**changes: Any) -> Callable[[Files], object]:
    def apply(files: Files) -> None:
        path = files["vocabulary.json"]
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")

    return apply


VIDEO, HIGHLIGHT = "video_affine.linear.conv1d.weight", "highlight_layer.conv1d.conv1d.weight"
POSITIONS = "feature_encoder.pos_embedding.position_embeddings.weight"
WRONG: list[tuple[Callable[[Files], object], str]] = [
    (lambda f: f["vslnet_99.t7"].unlink(), "vslnet_99.t7: is missing"),
    (
        lambda f: f["vslnet_99.t7"].write_bytes(pickle.dumps(print, 2)),
        "vslnet_99.t7: cannot be read",
    ),
    (lambda f: f["vslnet_99.t7"].write_bytes(b"PK"), "vslnet_99.t7: cannot be read"),
    (lambda f: torch.save(torch.zeros(2), f["vslnet_99.t7"]), "is no state_dict"),
    (state_of(lambda s: {"model": s}), "is no state_dict"),
    (
        state_of(lambda s: {f"module.{k}": v for k, v in s.items()}),
        "99.t7: the weight video",
    ),
    (
        state_of(lambda s: s.__delitem__(HIGHLIGHT)),
        r"1 weights are missing .* .highlight",
    ),
    (state_of(lambda s: s.update(x=s[VIDEO])), "x is no weight of VSLNet"),
    (state_of(lambda s: s.update({HIGHLIGHT: s[HIGHLIGHT][:, :3]})), r"is of .1, 3, 1., expected"),
    (
        state_of(lambda s: s.update({VIDEO: s[VIDEO][:, :5]})),
        "clips of 5 numbers, the data",
    ),
    (state_of(lambda s: s.update({POSITIONS: s[POSITIONS][:9]})), "takes 9 clips of"),
    (lambda f: f["vslnet_99.t7"].with_name("configs.json").unlink(), "num_heads is not known"),
    (lambda f: f["vocabulary.json"].unlink(), "vocabulary.json: is no vocabulary"),
    (lambda f: f["vocabulary.json"].write_text("{"), "vocabulary.json: is no vocabulary"),
    (vocabulary_of(words=["open"]), "1 words, 1 of them different, but the checkpoint has"),
    (vocabulary_of(characters=["a"]), "1 characters, 1 of them different, but the checkpoint has"),
    (vocabulary_of(extra=1), "vocabulary.json: is no vocabulary .Extra"),
    (lambda f: f["answers.npz"].write_text("x"), "answers.npz: exists"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_does_not_fit_is_one_line(
    change: Callable[[Files], object], message: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    _, _, files = published_vslnet("rnn", tiny_dataset, tmp_path)
    change(files)
    with pytest.raises(CheckpointError, match=message) as caught:
        vslnet_answers(*list(files.values())[:2], tiny_dataset, files["answers.npz"])
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value), "names no remedy"
