"""`outpaint film`: keyframes painted around each other, frames between them, and a video of these."""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from .. import __version__
from ..engine_set import EngineSet
from ..engines import EngineOptions
from ..errors import OutputError
from ..film import Camera, Hops, first_keyframe, frames
from ..images import Picture, encode, open_picture, to_image, write_all
from ..noise import random_seed
from ..pipeline import OutpaintPipeline
from ..request import OutpaintRequest
from ..tensors import Array
from .adapters import Adapters, adapter_options
from .options import engine_options, sampling_options
from .results import files_of, held
from .video import check_ffmpeg, write_video

__all__ = ["film"]

NOTE = "film.json"


def _times(text: str) -> float:
    """A number with an x behind, such as 8x."""
    try:
        return float(text.removesuffix("x"))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no number of times, such as 8x.") from error


@click.command()
@click.argument("source", metavar="IN")
@click.argument("folder", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out", type=_times, metavar="8x", default="8x", show_default=True, help="How many times as wide the last view is."
)
@click.option("--hop", type=float, default=2.0, show_default=True, help="How many times a keyframe widens at most.")
@click.option("--seconds", type=float, default=12.0, show_default=True)
@click.option("--fps", type=float, default=30.0, show_default=True)
@click.option("--inward", is_flag=True, help="Begin with the widest view and move into the picture.")
@click.option("--loop", is_flag=True, help="Go back to the beginning within the same time.")
@click.option("--hop-prompt", "hop_prompts", multiple=True, help="A prompt a hop; the last one holds for all further.")
@click.option("--width", type=int, help="Width of the frames, a multiple of 8. [the model's]")
@click.option("--height", type=int, help="Height of the frames, a multiple of 8. [the model's]")
@click.option("--mask-expand", type=int, default=8, show_default=True, help="Pixels painted anew at each joint.")
@click.option("--frames/--no-frames", "keep", default=True, help="Write the frames as PNGs into OUT/frames. [on]")
@click.option("--video", type=click.Path(dir_okay=False, path_type=Path), help="Also write a video (extra `video`).")
@sampling_options
@engine_options
@adapter_options
@click.option("--quiet", "-q", is_flag=True, help="No progress bar, no summary.")
def film(source: str, folder: Path, **options: Any) -> None:
    """Move out of the picture IN: the model paints what is around it, and around that; written to the folder OUT.

    OUT/keyframes has the painted pictures, OUT/frames the frames. The same command goes on after a crash.

    \b
    outpaint film photo.png film --out 8x --seconds 12 --prompt "sunset mountains" --video film.mp4
    outpaint film photo.png film --out 16x --hop-prompt "a garden" --hop-prompt "an island in the sea" --loop
    """  # noqa: D301 - click keeps the lines after the character \b
    quiet, keep, video = (options.pop(name) for name in ("quiet", "keep", "video"))
    if video is not None:
        check_ffmpeg(video)
    elif not keep:
        raise click.UsageError("Without frames and without --video there is nothing to write.")
    camera = Camera(*(options.pop(name) for name in ("seconds", "fps", "inward", "loop")))
    loading = {name: options.pop(name) for name in ("precision", "threads", "cuda_graph")}
    engines, device = (options.pop(name) for name in ("engines", "device"))
    adapters = Adapters.of(options)
    native = EngineSet.open(engines, verify=False).native_size
    size = options.pop("width") or native, options.pop("height") or native
    hops = Hops.of(size, options.pop("out"), options.pop("hop"), options.pop("mask_expand"))
    prompts, prompt = options.pop("hop_prompts"), options.pop("prompt")
    if prompts and prompt:
        raise click.UsageError("Give --prompt for all hops, or --hop-prompt for each of them, not both.")
    prompts = prompts or (prompt,)
    if options.pop("num_images") != 1:
        raise click.UsageError("A film has one picture a keyframe: leave --num-images out.")
    stated = {name: value for name, value in options.items() if value is not None}
    first = first_keyframe(open_picture(source), size)
    OutpaintRequest.placed(image=first, **stated | hops.options(prompts, max(0, stated["seed"]), 1))
    chosen = EngineOptions(**loading)
    pipe = partial(OutpaintPipeline.from_pretrained, engines, device=device, options=chosen, loras=adapters.loras)
    with held(folder):
        keyframes = Keyframes(folder, hops, prompts, stated, quiet)
        loras = {"loras": [[str(file), strength] for file, strength in adapters.lora]} if adapters.lora else {}
        keyframes.begin(first, {"engines": EngineSet.open(engines, verify=False).digest} | loras)
        keyframes.paint(pipe, adapters)
        if keep:
            _write_frames(folder / "frames", keyframes.pixels, hops, camera, quiet)
        if video is not None:
            shown = tqdm(frames(keyframes.pixels, hops, camera), "video", camera.count, disable=_hidden(quiet))
            write_video(video, shown, size, camera.fps)
    if not quiet:
        click.echo(_summary(folder, hops, camera, keep, video), err=True)


class Keyframes:
    """The keyframes of a film, as files of a folder; what is there is not painted again."""

    def __init__(self, folder: Path, hops: Hops, prompts: tuple[str, ...], stated: dict[str, Any], quiet: bool) -> None:
        self._folder, self._hops, self._prompts, self._stated, self._quiet = folder, hops, prompts, stated, quiet

    def file(self, number: int) -> Path:
        """Where a keyframe is."""
        return self._folder / "keyframes" / f"{number:03}.png"

    def pixels(self, number: int) -> Array:
        """A keyframe, uint8 (height, width, 3)."""
        return open_picture(str(self.file(number))).pixels

    def begin(self, first: Picture, facts: dict[str, Any]) -> None:
        """Write the first keyframe and what the film is made of, or check that the folder holds the same film.

        Raises:
            OutputError: it holds another one.
        """
        note = self._folder / NOTE
        made = json.loads(
            json.dumps(
                {
                    "picture": hashlib.sha256(first.pixels.tobytes()).hexdigest(),
                    "hops": vars(self._hops),
                    "prompts": self._prompts,
                    "options": self._stated,
                    "version": __version__,
                    **facts,
                },
                default=vars,
            )
        )
        before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        drawn = before.get("options", {}).get("seed", -1) if self._stated["seed"] < 0 else self._stated["seed"]
        self._stated["seed"] = made["options"]["seed"] = drawn if drawn >= 0 else random_seed()
        if before and before != made:
            raise OutputError(
                f"{self._folder} holds a film of another picture or other options. Choose another folder."
            )
        self.file(0).parent.mkdir(exist_ok=True)
        write_all({self.file(0): encode(to_image(first.pixels), ".png"), note: json.dumps(made, indent=1).encode()})

    def paint(self, load: Callable[[], OutpaintPipeline], adapters: Adapters) -> None:
        """Paint the keyframes that are missing, each around the one before, as `outpaint run` does."""
        missing = [number for number in range(1, self._hops.count + 1) if not self.file(number).exists()]
        if not missing:
            return
        with load() as pipe:
            adapters.load(pipe)
            for number in tqdm(missing, "keyframes", disable=_hidden(self._quiet)):
                placed = self._hops.options(self._prompts, self._stated["seed"], number)
                image = open_picture(str(self.file(number - 1)))
                request = OutpaintRequest.placed(image=image, **self._stated | placed)
                result = pipe(request)
                if any(each.flagged for each in result.safety):
                    tqdm.write(f"Note: keyframe {number}: {result.notes[-1]}", file=sys.stderr)
                (content,) = files_of(request, result, None, ".png", metadata=True)
                write_all({self.file(number): content})


def _write_frames(folder: Path, keyframe: Callable[[int], Array], hops: Hops, camera: Camera, quiet: bool) -> None:
    """Write the frames that are missing."""
    folder.mkdir(exist_ok=True)
    note = folder / NOTE
    made = json.dumps(vars(camera))
    if note.exists() and note.read_text(encoding="utf-8") != made:
        raise OutputError(
            f"{folder} holds frames of another length or path. Remove that folder, or choose another OUT."
        )
    write_all({note: made.encode()})
    files = [folder / f"{number:06}.png" for number in range(camera.count)]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    bar = tqdm(frames(keyframe, hops, camera, missing), "frames", len(missing), disable=_hidden(quiet))
    for number, pixels in zip(missing, bar, strict=True):
        write_all({files[number]: encode(to_image(pixels), ".png")})


def _summary(folder: Path, hops: Hops, camera: Camera, keep: bool, video: Path | None) -> str:
    """What there is now, and how wide its last view is."""
    written = [f"{hops.count + 1} keyframes"]
    if keep:
        written.append(f"{camera.count} frames of {hops.width}x{hops.height}")
    shown = f"{', '.join(written)} in {folder}"
    if video is not None:
        shown += f", and {video}"
    return f"{shown}: {hops.factor**hops.count:g} times as wide, {camera.count / camera.fps:g} s"


def _hidden(quiet: bool) -> bool:
    return quiet or sys.stderr is None or not sys.stderr.isatty()
