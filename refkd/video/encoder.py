"""Networks that describe pictures or text, such as CLIP, in the format of `transformers`."""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.data.extraction import TextExtraction
from refkd.data.words import MAX_WORDS
from refkd.errors import DataError
from refkd.files import sha256_file
from refkd.video import require
from refkd.video.frames import Image

WEIGHTS = "*.safetensors"


class _Network(ABC):
    """A frozen network, and what makes numbers of what it describes."""

    def __init__(self, model: str, *, device: torch.device | str = "cpu") -> None:
        """Load a folder, or a name of the Hugging Face hub that is there or can be fetched.

        `DataError` where it is none, holds no safetensors, or describes something else.
        """
        require("transformers")
        folder = _folder(model)
        self.model = model
        self.sha256 = _weights_hash(folder)
        from safetensors import SafetensorError
        from transformers import AutoModel

        damaged = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
        try:
            with _quiet():
                self._processor = self._prepare(folder)
                network, found = AutoModel.from_pretrained(
                    folder, use_safetensors=True, output_loading_info=True
                )
        except damaged as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{model}: cannot be loaded ({reason}); get the model again") from None
        part = self._part(network)
        used = {id(weight) for weight in part.parameters()}
        weights = dict(network.named_parameters(remove_duplicate=False))
        lacking = {*found["missing_keys"], *map(str, found["mismatched_keys"])}
        if absent := sorted(n for n in lacking if n not in weights or id(weights[n]) in used):
            raise DataError(
                f"{model}: its files lack {len(absent):,} weights, the first is {absent[0]}; get "
                f"the model again"
            )
        try:
            self._device = torch.device(device)
            self._network = part.to(self._device).eval().requires_grad_(False)
        except (
            RuntimeError,
            AssertionError,
        ) as error:  # torch asserts that it was built with CUDA
            reason = str(error).partition("\n")[0]
            raise DataError(f"device {device}: cannot be used ({reason}); give cpu") from None

    def require_same(self, how: TextExtraction, option: str) -> None:
        """Raise `DataError` where its weights are not those that made a dataset's features."""
        if self.sha256 != how.sha256:
            raise DataError(
                f"{self.model}: has other weights (sha256 {self.sha256[:12]}) than those "
                f"that made the features of the dataset ({how}); give them with {option}"
            )

    @abstractmethod
    def _prepare(self, folder: Path) -> Any:
        """Return what turns pictures or sentences into the network's numbers."""

    @abstractmethod
    def _part(self, network: Any) -> Any:
        """Return the part of a network that is used."""


class Encoder(_Network):
    """A frozen network that turns pictures into vectors of length 1."""

    def _prepare(self, folder: Path) -> Any:
        from transformers import AutoImageProcessor

        # The same arithmetic whether or not torchvision is installed.
        return AutoImageProcessor.from_pretrained(folder, backend="pil")  # type: ignore[no-untyped-call]

    def _part(self, network: Any) -> Any:
        if not hasattr(network, "get_image_features"):
            raise DataError(
                f"{self.model}: is {type(network).__name__}, which describes no pictures; give a "
                f"model such as CLIP or SigLIP"
            )
        return network

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return a row of length 1 for each picture, (n, V)."""
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        found = self._network.get_image_features(pixel_values=pixels.to(self._device))
        rows = getattr(found, "pooler_output", found).float()
        return np.asarray(torch.nn.functional.normalize(rows, dim=1).cpu().numpy())


class TextEncoder(_Network):
    """A frozen network that turns a sentence into its last hidden states: CLIP, T5, BERT, ….

    Of networks of pictures and text, and of those that answer by text, it is what reads text.
    """

    def _prepare(self, folder: Path) -> Any:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        # Without any file some tokenizers know no word, and say nothing of it.
        files = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
        if not any((folder / name).is_file() for name in files):
            raise DataError(
                f"{self.model}: holds no tokenizer ({', '.join(sorted(files))}); get the model "
                f"again"
            )
        return tokenizer

    def _part(self, network: Any) -> Any:
        part = getattr(network, "text_model", network)
        if hasattr(network, "encoder") and hasattr(network, "decoder"):
            part = network.encoder
        if part.main_input_name != "input_ids":
            raise DataError(
                f"{self.model}: is {type(network).__name__}, which reads no text; give a model "
                f"such as CLIP, SigLIP, T5 or BERT"
            )
        return part

    @property
    def limit(self) -> int:
        """Tokens of a sentence that are read, those of its ends included."""
        places = getattr(self._network.config, "max_position_embeddings", MAX_WORDS)
        return int(min(MAX_WORDS, self._processor.model_max_length, places))

    @torch.inference_mode()
    def __call__(self, sentence: str) -> tuple[NDArray[np.float32], bool]:
        """Return the tokens (M, d_t) of a sentence, and whether it had more than `limit`."""
        whole = self._processor(sentence, verbose=False)["input_ids"]
        read = self._processor(
            sentence, truncation=True, max_length=self.limit, return_tensors="pt"
        )
        found = self._network(
            input_ids=read["input_ids"].to(self._device),
            attention_mask=read["attention_mask"].to(self._device),
        )
        rows = found.last_hidden_state[0].float().cpu().numpy()
        return np.asarray(rows), len(whole) > len(rows)


@contextmanager
def _quiet() -> Iterator[None]:
    """Load without the bars and the advice of `transformers`."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _weights_hash(folder: Path) -> str:
    """Return the sha256 over a model's files of weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob(WEIGHTS)):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _folder(model: str) -> Path:
    """Return the folder of a model, fetched where it is not on this machine."""
    kind, separator, rest = model.partition(":")
    if separator and kind in ("open_clip", "clip"):
        raise DataError(
            f"{model}: give the model as `transformers` has it, a folder or a name of the hub; "
            f"the weights of open_clip's {rest or 'models'} are there too, such as "
            f"laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
        )
    folder = Path(model)
    if not folder.is_dir():
        folder = _fetched(model)
    if not any(folder.glob(WEIGHTS)):
        raise DataError(
            f"{model}: holds no weights as safetensors, the only ones that are read; save the "
            f"model with `model.save_pretrained(FOLDER)`"
        )
    return folder


def _fetched(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [WEIGHTS, "*.json", "*.txt", "*.model"]
    try:
        try:
            return Path(snapshot_download(model, local_files_only=True, allow_patterns=patterns))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(model, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{model}: no such folder, and not to be had from the hub ({reason}); copy "
            f"its folder here and give the path"
        ) from None
