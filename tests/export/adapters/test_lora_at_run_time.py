"""LoRA files merged when they are loaded, against diffusers with PEFT (`load_lora_weights`, `fuse_lora`)."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline
from outpaint_export.commands.cli import main
from outpaint_export.parity.reference import outpaint, reference_pipeline
from safetensors.torch import load_file, save_file

from outpaint_engine import OutpaintPipeline
from outpaint_engine.engines import find_backend

from ...parity_cases import Case
from ..tiny_models import sources, text_encoder, unet

peft = pytest.importorskip("peft", reason="peft is the reference")
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


def dora_file(path: Path, seed: int, *kinds: str) -> Path:
    """A DoRA for every layer of these kinds, of random factors and magnitudes, as PEFT makes and diffusers saves it."""
    torch.manual_seed(seed)
    saved: dict[str, Any] = {}
    for part, module in (("unet", unet(9)), ("text_encoder", text_encoder())):
        targets = [end.strip(".") for kind in kinds for end in KINDS[kind].get(part, ())]
        if targets:
            config = peft.LoraConfig(
                r=RANK, lora_alpha=2, use_dora=True, init_lora_weights=False, target_modules=targets
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                state = peft.get_peft_model_state_dict(peft.get_peft_model(module, config))
            layers = {name.removeprefix("base_model.model."): value for name, value in state.items()}
            for name, value in layers.items():
                if name.endswith("lora_magnitude_vector"):
                    value.mul_(torch.empty_like(value).uniform_(0.6, 1.4))
            notes = config.to_dict() | {"target_modules": targets}
            saved |= {f"{part}_lora_layers": layers, f"{part}_lora_adapter_metadata": notes}
    StableDiffusionPipeline.save_lora_weights(path.parent, weight_name=path.name, **saved)
    return path


def file_of(path: Path, seed: int, kinds: tuple[str, ...]) -> Path:
    """What a case names: a DoRA where its first word is that, else a LoRA."""
    return dora_file(path, seed, *kinds[1:]) if kinds[0] == "DoRA" else lora_file(path, seed, *kinds)


def fused_by_diffusers(folder: Path, files: Mapping[Path, float]) -> StableDiffusionInpaintPipeline:
    """The tiny checkpoint with the files fused into it."""
    pipe = reference_pipeline(sources(9, folder / "words"))
    for file in files:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            pipe.load_lora_weights(file, adapter_name=file.stem)
        # transformers leaves a text encoder's magnitudes as they began, with a warning: PEFT itself reads them.
        found = {name.removeprefix("text_encoder."): value for name, value in load_file(file).items()}
        magnitudes = {name: value for name, value in found.items() if re.match(r"encoder.*lora_magnitude", name)}
        if magnitudes:
            peft.set_peft_model_state_dict(pipe.text_encoder, magnitudes, adapter_name=file.stem)
    pipe.set_adapters([file.stem for file in files], list(files.values()))
    pipe.fuse_lora(adapter_names=[file.stem for file in files])
    pipe.unload_lora_weights()
    return pipe


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
    "DoRA, linear": ((("DoRA", "linear"), 0.7),),
    "DoRA, 1x1": ((("DoRA", "1x1"), 1.0),),
    "DoRA, 3x3": ((("DoRA", "3x3"), -0.6),),
    "DoRA, text encoder": ((("DoRA", "text"), 0.7),),
    "LoRA, then DoRA": ((("linear", "3x3", "text"), 0.7), (("DoRA", "linear", "1x1", "3x3", "text"), -0.4)),
    "DoRA, then LoRA": ((("DoRA", "linear", "1x1", "3x3", "text"), 0.7), (("linear", "3x3", "text"), -0.4)),
    "two DoRAs": ((("DoRA", "linear", "3x3", "text"), 1.0), (("DoRA", "linear", "1x1", "text"), -0.7)),
    "two at once": ((("linear", "text"), 0.7), (("linear", "1x1", "3x3", "text"), -0.4)),
}


@pytest.mark.parametrize("case", CASES)
def test_latents_equal_diffusers_with_fused_loras(case: str, pipes: list[OutpaintPipeline], tmp_path: Path) -> None:
    files = {
        file_of(tmp_path / f"lora{at}.safetensors", at, kinds): strength
        for at, (kinds, strength) in enumerate(CASES[case])
    }
    expected = outpaint(fused_by_diffusers(tmp_path, files), REQUEST)[0]
    for pipe in pipes:
        plain = pipe(REQUEST).latents
        names = [pipe.load_lora(file, strength) for file, strength in files.items()]
        found = pipe(REQUEST).latents
        for name in names:
            pipe.unload_lora(name)
        assert difference(found, expected) < 1e-5
        assert difference(plain, expected) > 1e-3


def test_loras_folded_at_export_paint_what_they_paint_merged_at_run_time(
    checkpoint: Path, inpainting_set: Path, tmp_path: Path
) -> None:
    lora = lora_file(tmp_path / "style.safetensors", 1, *KINDS)
    dora = dora_file(tmp_path / "dora.safetensors", 2, *KINDS)
    given = ["--lora", f"{lora}:0.8", "--lora", f"{dora}:-0.7"]
    assert main(["onnx", str(checkpoint), str(tmp_path / "set"), *given, "--quick"]) == 0
    for device in DEVICES:
        with OutpaintPipeline.from_pretrained(tmp_path / "set", device=device) as pipe:
            expected = pipe(REQUEST).latents
        with OutpaintPipeline.from_pretrained(inpainting_set, device=device) as pipe:
            pipe.load_lora(lora, 0.8)
            pipe.load_lora(dora, -0.7)
            assert np.array_equal(pipe(REQUEST).latents, expected)
