"""Films: the geometry of frames between keyframes, the camera, and `outpaint film` on a toy model."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from outpaint_engine import OutputError, RequestError
from outpaint_engine.cli import cli
from outpaint_engine.film import Camera, Hops, first_keyframe, frames
from outpaint_engine.images import Picture

from ..conftest import toy_pipeline

Invoke = Callable[..., Result]
SAMPLING = ("--steps", "2", "--seed", "3", "--mask-expand", "4")
ASKED = (*SAMPLING, "--out", "3x", "--seconds", "0.5", "--fps", "12", "--width", "64", "--height", "48")


def world(hops: Hops, level: float) -> np.ndarray:
    """What a view of smooth waves shows at a level, sampled at the pixels of a frame."""
    axes = []
    for side, (at, shown) in zip((hops.width, hops.height), hops.inner, strict=True):
        ratio, centre = shown / side, at / (1 - shown / side)
        axes.append((np.arange(side) + 0.5 - centre) * ratio**-level)
    x, y = axes[0][None, :], axes[1][:, None]
    waves = [127 + 60 * np.sin(x / scale + y / (scale + 9)) + 40 * np.cos(y / scale) for scale in (40, 55, 70)]
    return np.rint(np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("hops", [Hops(96, 64, 2.0, 1), Hops(96, 64, 1.5, 2), Hops.of((64, 96), 3)])
def test_every_frame_shows_the_scene_where_an_exponential_zoom_has_it(hops: Hops) -> None:
    camera = Camera(seconds=1.5, fps=12)
    for number, pixels in enumerate(frames(lambda level: world(hops, level), hops, camera)):
        expected = world(hops, camera.position(number) * hops.count)
        assert np.abs(pixels.astype(int) - expected)[4:-4, 4:-4].max() <= 6


@pytest.mark.parametrize("place", [0, 1e-5, 0.5, 1, 1.5, 2 - 1e-5])
def test_a_keyframe_is_passed_without_a_jump_though_the_keyframes_differ(place: float) -> None:
    hops = Hops(64, 64, 2.0, 2)
    shades = [np.full((64, 64, 3), level, np.uint8) for level in (40, 140, 240)]
    cameras: list[Any] = [SimpleNamespace(count=1, position=lambda _, at=at: at / 2) for at in (place, place + 1e-6)]
    before, after = (next(frames(shades.__getitem__, hops, camera)) for camera in cameras)
    assert np.abs(before.astype(int) - after).max() <= 1


def test_frames_at_the_ends_are_the_keyframes_themselves() -> None:
    keyframes = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    found = list(frames(keyframes.__getitem__, Hops.of((64, 48), 4), Camera(1, 10)))
    assert np.array_equal(found[0], keyframes[0]) and np.array_equal(found[-1], keyframes[2])


def test_two_keyframes_are_read_at_a_time_and_each_once_on_the_way() -> None:
    read: list[int] = []

    def keyframe(number: int) -> np.ndarray:
        read.append(number)
        return np.zeros((48, 64, 3), np.uint8)

    assert len(list(frames(keyframe, Hops.of((64, 48), 32), Camera(2, 20)))) == 40
    assert read == [0, 1, 2, 3, 4, 5]


def test_the_camera_is_slow_at_the_ends_and_a_loop_comes_back() -> None:
    there, loop, inward = Camera(2, 30), Camera(2, 30, loop=True), Camera(2, 30, inward=True)
    steps = np.diff([there.position(number) for number in range(60)])
    assert there.position(0) == 0 and there.position(59) == 1 and (steps > 0).all()
    assert steps[0] < 0.1 * steps[29] and steps[-1] < 0.1 * steps[29]
    assert loop.position(30) == 1 and np.isclose(loop.position(59), loop.position(1))
    assert inward.position(0) == 1 and inward.position(59) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hops.of((64, 64), 1), "out must be above 1"),
        (lambda: Hops.of((64, 64), 8, 1.0), "hop must be a number from 1.1 to 4"),
        (lambda: Camera(0), "A film has 2 to"),
        (lambda: Camera(float("nan")), "A film has 2 to"),
        (lambda: Camera(1, 0), "fps must be"),
    ],
)
def test_numbers_that_make_no_film_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make()


def test_the_first_keyframe_is_the_picture_cropped_to_the_frame(picture: np.ndarray) -> None:
    found = first_keyframe(Picture(picture, None), (48, 48))
    assert np.array_equal(found.pixels, picture[:, 8:56])


@pytest.fixture
def photo(tmp_path: Path, picture: np.ndarray) -> Path:
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    toy = SimpleNamespace(from_pretrained=lambda *_, **__: toy_pipeline())
    for module in ("film", "outpaint"):
        monkeypatch.setattr(sys.modules[f"outpaint_engine.cli.{module}"], "OutpaintPipeline", toy)

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(each) for each in arguments])

    return call


def film(invoke: Invoke, photo: Path, *more: object) -> Path:
    done = invoke("film", photo, photo.parent / "film", *ASKED, *more)
    if done.exception:
        raise done.exception
    return photo.parent / "film"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_keyframes_equal_single_runs_each_around_the_one_before(invoke: Invoke, photo: Path) -> None:
    folder, hops = film(invoke, photo, "--hop-prompt", "sea", "--hop-prompt", "night"), Hops.of((64, 48), 3)
    assert hops.count == 2 and len(list((folder / "frames").glob("*.png"))) == 6
    (left, _), (top, _) = hops.inner
    place = ("--width", 64, "--height", 48, "--scale", repr(1 / hops.factor), "--offset-x", left, "--offset-y", top)
    for number, prompt in ((1, "sea"), (2, "night")):
        before, target = folder / f"keyframes/{number - 1:03}.png", photo.parent / f"{number}.png"
        assert invoke("run", before, target, *place, *SAMPLING, "--seed", 2 + number, "-p", prompt).exit_code == 0
        assert target.read_bytes() == (folder / f"keyframes/{number:03}.png").read_bytes()


@pytest.mark.parametrize("seed", [3, -1])
def test_a_film_goes_on_with_what_is_missing(invoke: Invoke, photo: Path, seed: int) -> None:
    folder = film(invoke, photo, "--seed", seed)
    whole = contents(folder)
    for name in ("keyframes/002.png", "frames/000001.png", "frames/000005.png"):
        (folder / name).unlink()
    assert contents(film(invoke, photo, "--seed", seed)) == whole


@pytest.mark.parametrize("other", [("-p", "night"), ("--out", "4x"), ("--seed", "4"), ("--fps", "10")])
def test_another_film_in_the_same_folder_is_refused(invoke: Invoke, photo: Path, other: tuple[str, str]) -> None:
    film(invoke, photo)
    with pytest.raises(OutputError, match="holds (a film|frames) of another"):
        film(invoke, photo, *other)


def test_a_film_ends_with_what_there_is_now(invoke: Invoke, photo: Path) -> None:
    asked = ("film", photo, photo.parent / "film", *ASKED)
    said = invoke(*asked).stderr.strip().splitlines()[-1]
    assert said == f"3 keyframes, 6 frames of 64x48 in {photo.parent / 'film'}: 3 times as wide, 0.5 s"
    assert invoke(*asked, "--quiet").stderr == ""


def test_a_video_has_every_frame(invoke: Invoke, photo: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed (extra `video`)")
    folder = film(invoke, photo, "--no-frames", "--video", photo.parent / "film.mp4")
    assert not (folder / "frames").exists()
    assert ffmpeg.count_frames_and_secs(str(photo.parent / "film.mp4"))[0] == 6
    assert not list(photo.parent.glob(".outpaint-*"))
