"""Networks that describe pictures: CLIP and its kin, in the format of `transformers`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refkd.errors import DataError
from refkd.files import sha256_file
from refkd.video import require
from refkd.video.frames import Image

WEIGHTS = "*.safetensors"


class Encoder:
    """A frozen network that turns pictures into vectors of length 1."""

    def __init__(self, model: str, *, device: torch.device | str = "cpu") -> None:
        """Load a folder, or a name of the Hugging Face hub that is there or can be fetched.

        `DataError` where it is none, holds no safetensors, or describes no pictures.
        """
        require("transformers")
        folder = _folder(model)
        self.model = model
        self.sha256 = _weights_hash(folder)
        from safetensors import SafetensorError
        from transformers import AutoImageProcessor, AutoModel

        damaged = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
        try:
            with _quiet():
                # The same arithmetic whether or not torchvision is installed.
                self._processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                    folder, backend="pil"
                )
                network, found = AutoModel.from_pretrained(
                    folder, use_safetensors=True, output_loading_info=True
                )
        except damaged as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{model}: cannot be loaded ({reason}); get the model again") from None
        if not hasattr(network, "get_image_features"):
            raise DataError(
                f"{model}: is {type(network).__name__}, which describes no pictures; give a model "
                f"such as CLIP or SigLIP"
            )
        if absent := sorted({*found["missing_keys"], *map(str, found["mismatched_keys"])}):
            raise DataError(
                f"{model}: its files lack {len(absent):,} weights, the first is {absent[0]}; get "
                f"the model again"
            )
        try:
            self._device = torch.device(device)
            self._network = network.to(self._device).eval().requires_grad_(False)
        except (
            RuntimeError,
            AssertionError,
        ) as error:  # torch asserts that it was built with CUDA
            reason = str(error).partition("\n")[0]
            raise DataError(f"device {device}: cannot be used ({reason}); give cpu") from None

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return a row of length 1 for each picture, (n, V)."""
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        found = self._network.get_image_features(pixel_values=pixels.to(self._device))
        rows = getattr(found, "pooler_output", found).float()
        return np.asarray(torch.nn.functional.normalize(rows, dim=1).cpu().numpy())


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

    patterns = [WEIGHTS, "*.json", "*.txt"]
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
