"""Features of video files: which frames are described, what goes wrong, and going on."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from support.videos import COLOURS, SIZE, write_clip, write_sound, write_video

from refkd.data.extraction import extraction_of
from refkd.data.features import open_features
from refkd.errors import DataError
from refkd.video.encoder import Encoder
from refkd.video.extract import describe, extract
from refkd.video.frames import Frames

SCENES = [("red", 2.0), ("green", 1.0), ("blue", 1.5)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def colours(path: Path, fps: float) -> list[str]:
    """Return the colour of the right half of each frame that is shown."""
    named = []
    for image in Frames(path, fps):
        right = image[:, SIZE[0] // 2 + 4 :].reshape(-1, 3).mean(axis=0)
        named.append(min(COLOURS, key=lambda name: float(np.abs(right - COLOURS[name]).sum())))
    return named


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
@pytest.mark.parametrize(
    ("fps", "shown"),
    [
        (1.0, ["red", "red", "green", "blue"]),  # the last half second has no middle of its own
        (2.0, ["red"] * 4 + ["green"] * 2 + ["blue"] * 3),
        (0.1, ["blue"]),  # a video always has a frame
    ],
)
def test_a_frame_is_shown_for_each_interval(
    tmp_path: Path, suffix: str, fps: float, shown: list[str]
) -> None:
    path = write_video(tmp_path / f"v{suffix}", SCENES)
    assert colours(path, fps) == shown
    frames = Frames(path, fps)
    assert sum(1 for _ in frames) == len(shown)
    assert frames.duration == pytest.approx(4.5, abs=0.05)


def test_more_frames_than_there_are_repeat_them(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [("red", 1.0), ("blue", 1.0)], rate=5)
    assert colours(path, 20) == ["red"] * 20 + ["blue"] * 20


def test_a_variable_frame_rate_keeps_the_time(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 3.0, 3.1, 5.0]
    scenes = [("red", 0.3), ("green", 0.2), ("blue", 0.1)]
    path = write_video(tmp_path / "v.mkv", scenes, times=times)
    assert colours(path, 1.0)[:5] == ["red", "red", "red", "green", "green"]


@pytest.mark.parametrize(
    ("rotation", "shape"), [(0, (48, 64)), (90, (64, 48)), (180, (48, 64)), (-90, (64, 48))]
)
def test_a_rotated_video_is_turned(tmp_path: Path, rotation: int, shape: tuple[int, int]) -> None:
    path = write_video(tmp_path / "v.mp4", [("red", 0.5)], rotation=rotation)
    (image,) = Frames(path, 1.0)
    assert image.shape[:2] == shape
    height, width = shape
    white = {  # the left half, turned counter-clockwise
        0: image[:, : width // 2 - 4],
        90: image[height // 2 + 4 :],
        180: image[:, width // 2 + 4 :],
        -90: image[: height // 2 - 4],
    }[rotation]
    assert white.min() > 150


def test_features_are_rows_of_length_one_of_the_frames(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "videos"
    for name, scenes in (("a", SCENES), ("b", SCENES[::-1])):
        write_video(folder / "nested" / f"{name}.mp4", scenes)
    (folder / "notes.txt").write_text("no video")
    made = extract(folder, str(clip), tmp_path / "f.h5", fps=2.0, progress=False)
    assert (made.videos, made.made, made.failed) == (2, 2, {})
    encoder = Encoder(str(clip))
    with h5py.File(tmp_path / "f.h5") as file:
        for name in ("a", "b"):
            rows = file[name][()]
            assert rows.dtype == np.float16
            assert file[name].attrs["duration"] == pytest.approx(4.5, abs=0.05)
            expected = encoder(list(Frames(folder / "nested" / f"{name}.mp4", 2.0)))
            assert np.allclose(rows, expected, atol=1e-3)
            assert np.allclose(np.linalg.norm(expected, axis=1), 1)
        first, last = file["a"][()], file["b"][()]
    assert np.abs(first[0].astype(float) - last[0].astype(float)).max() > 0.01
    source = open_features(tmp_path / "f.h5")
    assert source.extraction == extraction_of(tmp_path / "f.h5")
    assert str(source.extraction).endswith(f"(sha256 {encoder.sha256[:12]}), 2 rows a second")
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_read_is_named_and_the_others_are_done(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "videos"
    good = write_video(folder / "good.mp4", SCENES)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video at all")
    write_sound(folder / "sound.mp4")
    (folder / "cut.mkv").write_bytes(b"")
    cut = write_video(folder / "cut.mkv", SCENES).read_bytes()
    (folder / "cut.mkv").write_bytes(cut[:300])
    made = extract(folder, str(clip), tmp_path / "f.h5", progress=False)
    assert made.made == 1
    said = {Path(file).name: why for file, why in made.failed.items()}
    assert said["empty.mp4"].endswith("empty.mp4: is empty; get the file again")
    assert "cannot be decoded (Invalid data found" in said["text.mp4"]
    assert said["sound.mp4"].endswith("holds sound alone; give a file with pictures")
    assert set(said) == {"empty.mp4", "text.mp4", "sound.mp4", "cut.mkv"}
    good.unlink()
    with pytest.raises(DataError, match="none of its videos can be read"):
        extract(folder, str(clip), tmp_path / "g.h5", progress=False)
    assert not (tmp_path / "g.h5").exists()


def test_an_extraction_adds_what_is_new_and_keeps_what_is_there(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    write_video(folder / "a.mp4", SCENES)
    extract(folder, str(clip), tmp_path / "f.h5", progress=False)
    with h5py.File(tmp_path / "f.h5") as file:
        before = file["a"][()]
    write_video(folder / "b.mp4", SCENES)
    described: list[str] = []

    def noted(path: Path, encoder: Encoder, fps: float) -> Any:
        described.append(path.stem)
        return describe(path, encoder, fps)

    monkeypatch.setattr("refkd.video.extract.describe", noted)
    made = extract(folder, str(clip), tmp_path / "f.h5", progress=False)
    assert (made.videos, made.made, described) == (2, 1, ["b"])
    with h5py.File(tmp_path / "f.h5") as file:
        assert np.array_equal(file["a"][()], before)
        assert file["a"].attrs["duration"] > 4


KILLED = """
import os, signal, sys
from pathlib import Path
import refkd.video.extract as module
describe, done = module.describe, []
def dies(path, encoder, fps):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(path)
    return describe(path, encoder, fps)
module.describe = dies
module.extract(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), progress=False)
"""


def test_a_killed_extraction_goes_on(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "videos"
    for name in "abcd":
        write_video(folder / f"{name}.mp4", SCENES)
    out = tmp_path / "f.h5"
    command = [sys.executable, "-c", KILLED, str(folder), str(clip), str(out)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9
    assert not out.exists()
    assert sorted(p.stem for p in (tmp_path / ".f.h5.parts").glob("*.npz")) == ["a", "b"]
    with pytest.raises(DataError, match="begun with another model or rate"):
        extract(folder, str(clip), out, fps=3.0, progress=False)
    extract(folder, str(clip), out, progress=False)
    extract(folder, str(clip), tmp_path / "whole.h5", progress=False)
    with h5py.File(out) as one, h5py.File(tmp_path / "whole.h5") as other:
        assert list(one) == list(other) == list("abcd")
        assert all(np.array_equal(one[name][()], other[name][()]) for name in one)


def test_a_kill_between_the_file_and_the_end_of_its_parts_does_no_harm(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    write_video(folder / "a.mp4", SCENES)
    with monkeypatch.context() as patch:
        patch.setattr("refkd.video.extract.shutil.rmtree", lambda path: None)
        extract(folder, str(clip), tmp_path / "f.h5", progress=False)
    assert (tmp_path / ".f.h5.parts" / "a.npz").is_file()
    write_video(folder / "b.mp4", SCENES)
    assert extract(folder, str(clip), tmp_path / "f.h5", progress=False).videos == 2
    assert not (tmp_path / ".f.h5.parts").exists()
    before = (tmp_path / "f.h5").stat().st_mtime_ns
    assert extract(folder, str(clip), tmp_path / "f.h5", progress=False).made == 0
    assert (tmp_path / "f.h5").stat().st_mtime_ns == before


def test_an_extraction_that_made_nothing_binds_nobody(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    with pytest.raises(DataError, match="none of its videos"):
        extract(tmp_path / "videos", str(clip), tmp_path / "f.h5", fps=2.0, progress=False)
    write_video(tmp_path / "videos" / "a.mp4", SCENES)
    assert extract(tmp_path / "videos", str(clip), tmp_path / "f.h5", progress=False).made == 1


def test_two_extractions_of_one_file_do_not_mix(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "videos"
    write_video(folder / "a.mp4", SCENES)
    held = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    parts = tmp_path / ".f.h5.parts"
    parts.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", held, str(parts / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DataError, match=r"f\.h5: another extraction writes it"):
            extract(folder, str(clip), tmp_path / "f.h5", progress=False)
        other.communicate()
    assert extract(folder, str(clip), tmp_path / "f.h5", progress=False).made == 1


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path, clip: Path) -> None:
    encoder = Encoder(str(clip))
    peaks = []
    for seconds in (20, 80):
        path = write_video(tmp_path / f"{seconds}.mp4", [("red", seconds)])
        tracemalloc.start()
        describe(path, encoder, 5.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def _other_model(folder: Path, clip: Path) -> dict[str, Any]:
    extract(folder / "videos", str(clip), folder / "f.h5", progress=False)
    return {"model": str(write_clip(folder / "other", seed=1))}


def _twice(folder: Path, clip: Path) -> dict[str, Any]:
    write_video(folder / "videos" / "more" / "a.mkv", SCENES)
    return {}


def _foreign(folder: Path, clip: Path) -> dict[str, Any]:
    with h5py.File(folder / "f.h5", "w") as file:
        file["a"] = np.ones(3)
    return {}


def _pickled(folder: Path, clip: Path) -> dict[str, Any]:
    (folder / "bin").mkdir()
    (folder / "bin" / "pytorch_model.bin").touch()
    return {"model": str(folder / "bin")}


def _damaged(folder: Path, clip: Path) -> dict[str, Any]:
    damaged = write_clip(folder / "damaged")
    path = damaged / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    return {"model": str(damaged)}


def _lacking(folder: Path, clip: Path) -> dict[str, Any]:
    lacking = write_clip(folder / "lacking")
    weights = load_file(lacking / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    return {"model": str(lacking)}


def _text_alone(folder: Path, clip: Path) -> dict[str, Any]:
    from transformers import BertConfig, BertModel

    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}
    BertModel(BertConfig(hidden_size=8, intermediate_size=8, **small)).save_pretrained(
        folder / "bert"
    )
    for path in clip.glob("*processor*"):
        (folder / "bert" / path.name).write_bytes(path.read_bytes())
    return {"model": str(folder / "bert")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, c: {"videos": f / "nowhere"}, "no such folder; give the one with the videos"),
        (lambda f, c: {"videos": c}, r"holds no video \(\.mp4"),
        (lambda f, c: {"out": f / "f.npz"}, r"f\.npz: name a file that ends in \.h5"),
        (lambda f, c: {"fps": 0.0}, "fps is 0; give"),
        (lambda f, c: {"fps": float("nan")}, "fps is nan; give"),
        (lambda f, c: {"device": "cuda:77"}, "device cuda:77: cannot be used .* give cpu"),
        (lambda f, c: {"device": "gpu"}, "device gpu: cannot be used"),
        (lambda f, c: {"model": "open_clip:ViT-B-32/x"}, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        (lambda f, c: {"model": "no/such/thing at all"}, "no such folder, and not to be had"),
        (_pickled, "holds no weights as safetensors"),
        (_damaged, "cannot be loaded"),
        (_lacking, "its files lack 1 weights, the first is visual_projection.weight"),
        (_text_alone, "BertModel, which describes no pictures"),
        (_other_model, r"f\.h5: exists, made by .*clip.* give another file"),
        (_foreign, r"f\.h5: exists, made by something else"),
        (_twice, r"more/a\.mkv: has the name of .*a\.mp4; rename one"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    tmp_path: Path, clip: Path, change: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_video(tmp_path / "videos" / "a.mp4", SCENES)
    given = {"videos": tmp_path / "videos", "model": str(clip), "out": tmp_path / "f.h5"}
    given |= change(tmp_path, clip)
    with pytest.raises(DataError, match=message):
        extract(**given, progress=False)
