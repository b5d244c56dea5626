"""Published checkpoints as teachers: each answers as its network does.

That names and numbers are the references' is held by `test_vslnet_reference.py` and
`test_qave_reference.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.published import MODELS, publish

from refkd.data.dataset import Dataset
from refkd.data.roles import OPEN_ROLES
from refkd.data.simulate import SimulationConfig, simulate
from refkd.training.imported.answer_file import read_answer_file
from refkd.training.imported.answers import read_answers
from refkd.training.imported.published import PUBLISHED
from refkd.training.imported.vocabulary import PlainWords
from refkd.training.imported.weights import read_checkpoint

FORMS: list[tuple[str, dict[str, Any]]] = [
    *((model, {}) for model in MODELS),
    ("vslnet", {"predictor": "transformer"}),
    ("emb", {"ranker_layers": 2}),
    ("emb", {"reference_quirks": False}),
    ("tan2d", {"sparse": "conv"}),
    ("tan2d", {"sparse": "conv", "map_clips": 32, "segments": 32}),
    ("tan2d", {"map_clips": 32, "segments": 32}),
]


@pytest.mark.parametrize(("model", "form"), FORMS)
def test_a_checkpoint_answers_as_its_network_does_in_its_own_words(
    model: str, form: dict[str, Any], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    published = publish(model, tiny_dataset, tmp_path, **form)
    published.ask(tiny_dataset)
    found = dict(read_answer_file(published.out).rows)
    read_answers(published.out, tiny_dataset)
    different = set()
    for role in OPEN_ROLES:
        for pair, own in published.answers(tiny_dataset.role(role)).items():
            for given, expected in zip(found.pop(pair), own, strict=True):
                read = given if model == "tan2d" else given[: len(expected)]
                np.testing.assert_allclose(read, expected, atol=1e-5, rtol=0)
                different.add(expected.tobytes())
    assert not found
    assert len(different) > 60


@pytest.mark.parametrize("model", MODELS)
def test_wrappers_prefixes_and_old_files_change_nothing(
    model: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    published = publish(model, tiny_dataset, tmp_path)
    state = torch.load(published.checkpoint, weights_only=True)
    written = []
    torch.save(state, published.checkpoint, _use_new_zipfile_serialization=False)
    for held in (
        None,  # as PyTorch saved before 1.6
        state,
        {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"step": 1.5}}}},
        {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
    ):
        if held is not None:
            torch.save(held, published.checkpoint)
        published.ask(tiny_dataset)
        written.append(published.out.read_bytes())
        published.out.unlink()
    assert len(set(written)) == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_reads_words_where_the_dataset_gives_features(
    model: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    published = publish(model, tiny_dataset, tmp_path)
    settings = SimulationConfig.model_validate({**tiny_dataset.manifest.simulation, "text": True})
    given = simulate(out=tmp_path / "text", config=settings)
    assert given.manifest.text is not None
    answers = []
    for dataset in (tiny_dataset, given):
        published.ask(dataset)
        answers.append(published.out.read_bytes())
        published.out.unlink()
    assert answers[0] == answers[1]


@dataclass
class Said:
    """Pairs that are nothing but queries of videos of 9 clips."""

    queries: list[str]
    clips: np.ndarray = field(default_factory=lambda: np.array([9]))


CUTS = [
    ("qave", {"train": "charades"}, "A dog's bowl, open.", ["a", "dog", "s", "bowl", "open"]),
    ("qave", {"train": "anet"}, "A dog's bowl,open.", ["a", "dogs", "bowl", "open"]),
    ("tan2d", {"NAME": "Charades"}, "A dog's bowl, open.", ["a", "dog's", "?", "open"]),
    ("tan2d", {"NAME": "TACoS"}, "A dog's bowl, open.", ["a", "dog's", "?", "?"]),
]


@pytest.mark.parametrize(("model", "setting", "query", "expected"), CUTS)
def test_queries_are_cut_as_the_reference_cuts_them(
    model: str,
    setting: dict[str, str],
    query: str,
    expected: list[str],
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A word that is not known is `?` where it has an id, else left out."""
    known = ["a", "dog", "dogs", "s", "dog's", "bowl", "open"]
    monkeypatch.setattr("support.published.spoken", lambda _: known)
    published = publish(model, tiny_dataset, tmp_path)
    ((key, value),) = setting.items()
    published.set(*(["DATASET"] if model == "tan2d" else []), key, value=value)
    said = [*tiny_dataset.role("fit").queries, *known]
    monkeypatch.setattr(Dataset, "role", lambda *_: Said(said))
    files = {"settings": published.settings, **published.given}
    words = PUBLISHED[model].ask(read_checkpoint(published.checkpoint), files, tiny_dataset).words
    assert isinstance(words, PlainWords)
    names = {1: "?", **{number: word for word, number in words.ids.items()}}
    (ids,), _ = words.encode_batch([query])
    assert [names[number] for number in ids.tolist() if number != words.padding] == expected
