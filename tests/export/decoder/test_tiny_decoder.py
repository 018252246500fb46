"""A tiny decoder (AutoencoderTiny) as a part of an exported set, beside diffusers'."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from outpaint_export.commands.cli import main
from outpaint_export.errors import SourceError
from outpaint_export.sources import hub
from outpaint_export.sources.tiny_decoder import KIND, check_tiny_decoder, open_tiny_decoder

from outpaint_engine import EngineSet, OutpaintPipeline, SharedPipeline

from ..tiny_models import save_tiny_autoencoder

GREY = np.full((64, 64, 3), 127, np.uint8)
WIDE: dict[str, Any] = {"image": GREY, "width": 128, "height": 64, "num_inference_steps": 2, "seed": 3}
WIDE |= {"offset_x": 0, "color_match": False}


def decoded_by_diffusers(folder: Path, latents: np.ndarray) -> np.ndarray:
    """As the pipelines of diffusers decode: latents less the autoencoder's scaling; pixels in about [-1, 1]."""
    reference = AutoencoderTiny.from_pretrained(folder)
    with torch.no_grad():
        pixels = reference.decode(torch.from_numpy(latents) / reference.config.scaling_factor).sample
    return np.asarray(pixels)


@pytest.mark.parametrize("device", ["ort-cpu", "openvino"])
def test_a_run_decodes_its_latents_as_diffusers_does(inpainting_set: Path, tiny_autoencoder: Path, device: str) -> None:
    with OutpaintPipeline.from_pretrained(inpainting_set, device=device) as pipe:
        result = pipe(**WIDE, decoder="tiny")
        decoder = pipe.load_tiny_decoder()
        assert decoder.engine.backend == device
        pixels = decoder.decode(result.latents)
    expected = decoded_by_diffusers(tiny_autoencoder, result.latents)
    assert expected.std() > 0.1
    assert np.abs(pixels - expected).max() < 1e-5 * np.abs(expected).max()
    levels = np.clip(expected[0].transpose(1, 2, 0) * 127.5 + 127.5, 0, 255)
    painted = result.plan.painted_share == 1
    assert np.abs(np.asarray(result.images[0])[painted] - levels[painted]).max() < 0.501
    assert f"decoder: the engine set's tiny one, on {device}, makes" in result.notes[-1]


@pytest.mark.parametrize("more", [{"wrap": "xy", "offset_x": 32, "offset_y": 32, "height": 128}, {"window": True}])
def test_threads_share_it_however_the_canvas_is_painted(inpainting_set: Path, more: dict[str, Any]) -> None:
    alone = OutpaintPipeline.from_pretrained(inpainting_set, device="ort-cpu")
    with alone, SharedPipeline.from_pretrained(inpainting_set, device="ort-cpu") as shared:
        one, other, full = (
            alone(**WIDE | more, decoder="tiny"),
            shared(**WIDE | more, decoder="tiny"),
            alone(**WIDE | more),
        )
    assert one.images[0].tobytes() == other.images[0].tobytes() != full.images[0].tobytes()
    assert np.array_equal(one.latents, full.latents)


def test_the_part_is_in_the_manifest_with_its_parity_and_stored_in_half_where_the_set_is(
    inpainting_set: Path, half_set: Path
) -> None:
    for folder, precision in ((inpainting_set, "fp32"), (half_set, "fp16-weights")):
        opened = EngineSet.open(folder)
        artifact = opened.artifact("tiny_decoder")
        assert (artifact.file, artifact.precision) == ("tiny_decoder/model.onnx", precision)
        assert artifact.parity["max_rel_error"] <= artifact.parity["bound"]
        assert "tiny_decoder/config.json" in opened.files


def test_it_may_be_the_vae_of_a_pipeline(tiny_autoencoder: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "vae").symlink_to(tiny_autoencoder)
    assert isinstance(open_tiny_decoder(str(tmp_path))(), AutoencoderTiny)
    with pytest.raises(SourceError, match="is a AutoencoderKL; expected AutoencoderTiny.* leave `--tiny-decoder` out"):
        open_tiny_decoder(str(checkpoint))
    with pytest.raises(SourceError, match="has no tiny decoder: expected config.json"):
        open_tiny_decoder(str(checkpoint / "tokenizer"))


def test_a_pickled_one_is_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = save_tiny_autoencoder(tmp_path / "taesd") / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert main(["onnx", str(checkpoint), str(tmp_path / "out"), "--tiny-decoder", str(tmp_path / "taesd")]) == 5
    assert "pickle" in (said := capsys.readouterr().err) and "leave `--tiny-decoder` out" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"latent_channels": 16}, "of 16 latent channels"),
        ({"upsampling_scaling_factor": 1}, "at 1 times the size"),
        ({"shift_factor": 0.1159}, "shifted by 0.1159"),
    ],
)
def test_one_for_other_latents_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SourceError, match=f"The tiny decoder makes 3 colours .*{says}"):
        check_tiny_decoder(AutoencoderTiny(**changes))


@pytest.mark.parametrize("place", [".", "vae"])
def test_of_a_hub_id_its_two_files_are_fetched(place: str) -> None:
    own = [str(Path(place, name)) for name in ("config.json", "diffusion_pytorch_model.safetensors")]
    files = [*own, str(Path(place, "diffusion_pytorch_model.bin")), "taesd_decoder.safetensors", "README.md"]
    assert sorted(hub.needed_files("owner/name", files, {place: KIND}, ())) == sorted(own)
