"""Video files for tests to write, and a small network that describes pictures and text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "grey": (90, 90, 90)}
SIZE = (64, 48)
"""Width and height."""


def write_video(
    path: Path,
    scenes: Sequence[tuple[str, float]],
    *,
    rate: int = 10,
    rotation: int = 0,
    times: Sequence[float] | None = None,
    sound: bool = False,
) -> Path:
    """Write a video of scenes, each a colour and its seconds; the left half of each is white.

    With `times` (seconds) the frames are shown at these instead of `rate` times a second.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = [colour for colour, seconds in scenes for _ in range(round(seconds * rate))]
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=1000 if times else rate)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for place, colour in enumerate(colours):
            image = np.full((SIZE[1], SIZE[0], 3), COLOURS[colour], dtype=np.uint8)
            image[:, : SIZE[0] // 2] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = place if times is None else round(1000 * times[place])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file of silence."""
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_clip(folder: Path, *, seed: int = 0) -> Path:
    """Write a small CLIP with random weights, as `transformers` saves a real one.

    Its tokens are letters, and it knows no others.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"
    ends = ("<|startoftext|>", "<|endoftext|>")
    vocabulary = [*ends, *letters, *(f"{letter}</w>" for letter in letters)]
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = CLIPConfig(
        text_config={**small, "num_attention_heads": 2, "vocab_size": 64, **special},
        vision_config={**small, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    logging.enable_progress_bar()
    square = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square).save_pretrained(folder)
    tokens = {token: number for number, token in enumerate(vocabulary)}
    CLIPTokenizer(tokens, [], model_max_length=77).save_pretrained(folder)
    return folder
