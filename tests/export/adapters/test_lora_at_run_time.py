"""LoRA files merged when they are loaded, against diffusers with PEFT (`load_lora_weights`, `fuse_lora`)."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from outpaint_export.commands.cli import main
from outpaint_export.parity.reference import outpaint, reference_pipeline
from safetensors.torch import save_file

from outpaint_engine import OutpaintPipeline
from outpaint_engine.engines import find_backend

from ...parity_cases import Case
from ..tiny_models import sources, text_encoder, unet

pytest.importorskip("peft", reason="peft is the reference")
pytestmark = pytest.mark.export

DEVICES = [name for name in ("ort-cpu", "openvino") if find_backend(name).probe().usable]
REQUEST = Case(9, 1.0, 7.5, (64, 64), 6).request
RANK = 3
KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "linear": {"unet": (".to_q.", ".to_out.0.", "ff.net.0.proj.", "time_emb_proj.")},
    "1x1": {"unet": (".proj_in.", ".proj_out.", "conv_shortcut.")},
    "3x3": {"unet": ("conv1.", "conv_in.", "downsamplers.0.conv.")},
    "text": {"text_encoder": ("q_proj.", "out_proj.", "mlp.fc1.")},
}


def lora_file(path: Path, seed: int, *kinds: str) -> Path:
    """Random factors for every layer of these kinds, in the naming of kohya's trainers."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    modules = {"unet": ("lora_unet_", unet(9)), "text_encoder": ("lora_te_text_model_", text_encoder())}
    for part, (prefix, module) in modules.items():
        ends = tuple(f"{end}weight" for kind in kinds for end in KINDS[kind].get(part, ()))
        for name, weight in module.named_parameters():
            if weight.ndim > 1 and name.endswith(ends):
                key = prefix + name.removeprefix("text_model.").removesuffix(".weight").replace(".", "_")
                one = (1, 1) if weight.ndim == 4 else ()
                tensors[f"{key}.lora_down.weight"] = 0.1 * torch.randn(RANK, *weight.shape[1:], generator=generator)
                tensors[f"{key}.lora_up.weight"] = 0.1 * torch.randn(len(weight), RANK, *one, generator=generator)
                tensors[f"{key}.alpha"] = torch.tensor(2.0)
    save_file(tensors, path)
    return path


def painted_by_diffusers(folder: Path, files: Mapping[Path, float]) -> np.ndarray:
    """Latents of the tiny checkpoint with the files fused into it."""
    pipe = reference_pipeline(sources(9, folder / "words"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        for file in files:
            pipe.load_lora_weights(file, adapter_name=file.stem)
    pipe.set_adapters([file.stem for file in files], list(files.values()))
    pipe.fuse_lora(adapter_names=[file.stem for file in files])
    pipe.unload_lora_weights()
    return outpaint(pipe, REQUEST)[0]


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, over the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def pipes(inpainting_set: Path) -> Iterator[list[OutpaintPipeline]]:
    """The tiny 9-channel checkpoint in float32, on each backend that merges and is here."""
    opened = [OutpaintPipeline.from_pretrained(inpainting_set, device=device) for device in DEVICES]
    yield opened
    for pipe in opened:
        pipe.close()


CASES: Mapping[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    "linear": ((("linear",), 0.8),),
    "1x1": ((("1x1",), 0.8),),
    "3x3": ((("3x3",), 0.8),),
    "text encoder": ((("text",), 1.0),),
    "negative": ((("linear", "3x3", "text"), -0.6),),
    "two at once": ((("linear", "text"), 0.7), (("linear", "1x1", "3x3", "text"), -0.4)),
}


@pytest.mark.parametrize("case", CASES)
def test_latents_equal_diffusers_with_fused_loras(case: str, pipes: list[OutpaintPipeline], tmp_path: Path) -> None:
    files = {
        lora_file(tmp_path / f"lora{at}.safetensors", at, *kinds): strength
        for at, (kinds, strength) in enumerate(CASES[case])
    }
    expected = painted_by_diffusers(tmp_path, files)
    for pipe in pipes:
        plain = pipe(REQUEST).latents
        names = [pipe.load_lora(file, strength) for file, strength in files.items()]
        found = pipe(REQUEST).latents
        for name in names:
            pipe.unload_lora(name)
        assert difference(found, expected) < 1e-5
        assert difference(plain, expected) > 1e-3


def test_a_lora_folded_at_export_paints_what_one_merged_at_run_time_paints(
    checkpoint: Path, inpainting_set: Path, tmp_path: Path
) -> None:
    file = lora_file(tmp_path / "style.safetensors", 1, *KINDS)
    assert main(["onnx", str(checkpoint), str(tmp_path / "set"), "--lora", f"{file}:0.8", "--quick"]) == 0
    for device in DEVICES:
        with OutpaintPipeline.from_pretrained(tmp_path / "set", device=device) as pipe:
            expected = pipe(REQUEST).latents
        with OutpaintPipeline.from_pretrained(inpainting_set, device=device) as pipe:
            pipe.load_lora(file, 0.8)
            assert np.array_equal(pipe(REQUEST).latents, expected)
