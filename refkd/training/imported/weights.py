"""A published checkpoint: its tensors, by the names and in the shapes of our networks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from refkd.data.containers import load_torch
from refkd.data.dataset import Dataset
from refkd.data.roles import OPEN_ROLES
from refkd.errors import CheckpointError, DataError
from refkd.models.backbone import Backbone
from refkd.training.imported.vocabulary import Encoder

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which of its keys a checkpoint holds the weights, where it holds more."""
PARALLEL = "module."
"""What the names of weights that `DataParallel` saved begin with."""
Renamed = Mapping[str, str | Callable[[re.Match[str]], str]]
"""From patterns to what stands for them here."""


def _direction(found: re.Match[str]) -> str:
    return f".{'backwards' if found[3] else 'forwards'}.{found[2]}.{found[1]}_l0"


OF_LSTMS: Renamed = {r"\.((?:weight|bias)_[ih]h)_l(\d+)(_reverse)?$": _direction}
"""The weights of a bidirectional `nn.LSTM` in `refkd.models.recurrent.BiLSTM`."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What `torch.save` wrote of a network: tensors alone."""

    path: Path
    state: Mapping[str, Tensor]

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a weight; `CheckpointError` without it, or of other dimensions."""
        if name not in self.state:
            raise CheckpointError(
                f"{self.path}: the weight {name} is missing; give the whole checkpoint of the "
                "network that --import names"
            )
        shape = tuple(self.state[name].shape)
        if len(shape) != dimensions or 0 in shape:
            raise CheckpointError(
                f"{self.path}: {name} is of {shape}, expected {dimensions} dimensions; give "
                "the checkpoint of the network that --import names"
            )
        return shape


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the weights of a file, also out of a wrapper and without `PARALLEL`.

    Nothing but tensors and plain values is unpickled. `CheckpointError` where the file is missing,
    damaged, or holds anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: is missing; give the checkpoint's file")
    try:
        held = load_torch(path)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    if isinstance(held, Mapping):
        held = next((held[w] for w in WRAPPERS if isinstance(held.get(w), Mapping)), held)
    if not isinstance(held, Mapping) or not all(isinstance(v, Tensor) for v in held.values()):
        raise CheckpointError(f"{path}: is no state_dict; save the network's state_dict alone")
    state = {str(name): tensor for name, tensor in held.items()}
    if all(name.startswith(PARALLEL) for name in state):
        state = {name.removeprefix(PARALLEL): tensor for name, tensor in state.items()}
    return Checkpoint(path=path, state=state)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """How somebody else's code names the weights of a network that is written anew here."""

    title: str
    """Its name, and the repository of its code."""
    first: Renamed
    """What a name there begins with, and what stands for it here."""
    inner: Renamed = field(default_factory=dict)
    """What is renamed in the rest, in turn."""
    left_out: str = r"(?!)"
    """Pattern of the weights there that are none here."""
    without: tuple[str, ...] = ()
    """Weights here that are none there, and that no answer depends on: they are zeros."""

    def name(self, name: str) -> str:
        """Return what a weight is called here; `CheckpointError` where it is not known."""
        for pattern, new in self.first.items():
            if re.match(pattern, name):
                name = re.sub(f"^(?:{pattern})", new, name)
                for inner, renamed in self.inner.items():
                    name = re.sub(inner, renamed, name)
                return name
        raise CheckpointError(
            f"{name} is no weight of {self.title}; give the state_dict of that network, "
            "in a form that refkd has"
        )

    def weights(
        self, state: Mapping[str, Tensor], like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the weights of a state_dict by the names and in the shapes of ours, `like`.

        Axes of length 1 do not count: linear layers are convolutions in some references.
        """
        names = {self.name(n): n for n in state if not re.match(self.left_out, n)}
        if unknown := sorted(names[ours] for ours in names.keys() - like.keys()):
            raise CheckpointError(
                f"{_some(unknown)} of no use: refkd's network has no such layer; give a "
                f"checkpoint of {self.title} without"
            )
        if missing := sorted(like.keys() - names.keys() - set(self.without)):
            raise CheckpointError(
                f"{_some(missing)} missing (by refkd's names); give the whole state_dict"
            )
        found = {}
        for name, own in like.items():
            given = torch.zeros_like(own) if name in self.without else state[names[name]]
            if [n for n in given.shape if n != 1] != [n for n in own.shape if n != 1]:
                raise CheckpointError(
                    f"{names[name]} is of {tuple(given.shape)}, expected {tuple(own.shape)}; give "
                    "weights that were trained together"
                )
            found[name] = given.reshape(own.shape)
        return found

    def load(self, checkpoint: Checkpoint, network: Backbone) -> Backbone:
        """Return the network with the weights of a checkpoint, in evaluation mode."""
        try:
            found = self.weights(checkpoint.state, network.state_dict())
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint.path}: {error}") from None
        network.load_state_dict(found)
        return network.eval().requires_grad_(False)


def _some(names: list[str]) -> str:
    return f"{len(names)} weights ({', '.join(names[:3])}) are"


def check_grid(checkpoint: Checkpoint, dataset: Dataset, *, width: int, clips: int | None) -> None:
    """Raise `CheckpointError` where a network cannot read a dataset's videos.

    `width` numbers a clip, and at most `clips` clips; None where it takes any number.
    """
    longest = max(int(dataset.role(role).clips.max()) for role in OPEN_ROLES)
    if width != dataset.feature_dim or (clips is not None and clips < longest):
        takes = "clips" if clips is None else f"{clips} clips"
        raise CheckpointError(
            f"{checkpoint.path}: the network takes {takes} of {width} numbers, the dataset has "
            f"{longest} of {dataset.feature_dim}; prepare the dataset with the features that it "
            "was trained on"
        )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The network, and how it reads queries."""

    network: Backbone
    words: Encoder
    kind: Literal["logits", "spans"] = "logits"
    """What its answers are: a logit a clip, or the spans that it ranks highest."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a reference's code wrote of a network beside its weights."""

    path: Path
    held: Any

    def get(self, *keys: str) -> Any:
        """Return a setting by its keys from the outside in; `CheckpointError` without it."""
        found = self.held
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                raise CheckpointError(
                    f"{self.path}: {'.'.join(keys)} is missing; give the settings that the "
                    "checkpoint was trained with"
                )
            found = found[key]
        return found

    def number(self, *keys: str) -> int:
        """Return a setting that counts something, at least 1."""
        found = self.get(*keys)
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise self.wrong(keys, "a number of at least 1")
        return found

    def require(self, *keys: str, among: tuple[Any, ...]) -> Any:
        """Return a setting; `CheckpointError` where it is none of those that refkd can do."""
        found = self.get(*keys)
        if found not in among:
            raise self.wrong(keys, " or ".join(repr(one) for one in among))
        return found

    def wrong(self, keys: tuple[str, ...], expected: str) -> CheckpointError:
        """Return the error that a setting is another than expected."""
        return CheckpointError(
            f"{self.path}: {'.'.join(keys)} is {self.get(*keys)!r}, expected {expected}; refkd's "
            "network has no other form, give a checkpoint of this one"
        )


def read_settings(path: Path) -> Settings:
    """Return the settings in a JSON or YAML file; `CheckpointError` where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return Settings(path=path, held=json.loads(text))
        import yaml  # of the search's requirements, not of the method's

        try:
            return Settings(path=path, held=yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from None
    except (OSError, ValueError, RecursionError, ImportError) as error:
        raise CheckpointError(
            f"{path}: the settings cannot be read ({error}); give those that the checkpoint was "
            "trained with, by --settings"
        ) from None


def read_heads(path: Path, hidden: int) -> int:
    """Return `num_heads` of a file of settings; `CheckpointError` where it does not divide D."""
    settings = read_settings(path)
    heads = settings.number("num_heads")
    if hidden % heads:
        raise settings.wrong(("num_heads",), f"a divisor of {hidden}, the width of the weights")
    return heads
