"""LoRA files folded into a checkpoint against diffusers with PEFT, and LoHa and LoKr against PEFT itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from outpaint_export.commands.cli import main
from outpaint_export.sources.adapted import with_loras
from safetensors.torch import save_file
from torch import nn

from outpaint_engine import EngineSet
from outpaint_engine.engine_set.weights import read_weight, stored_weights

from .tiny_models import save_checkpoint, scheduler, sources

peft = pytest.importorskip("peft", reason="peft is the reference")

UNET_LAYERS = (
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.0.attentions.0.proj_in",
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.resnets.0.time_emb_proj",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
)
TEXT_LAYERS = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj", "encoder.layers.1.mlp.fc1")
RANK = 3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sources(4, tmp_path_factory.mktemp("tiny") / "tokenizer")


def factors(module: nn.Module, name: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random (down, up) for a layer of the module."""
    weight = module.get_submodule(name).weight
    one = (1, 1) if weight.ndim == 4 else ()
    down = torch.randn(RANK, *weight.shape[1:], generator=generator)
    return down, torch.randn(weight.shape[0], RANK, *one, generator=generator)


def lora_file(path: Path, tiny: Any, naming: str, seed: int = 0) -> Path:
    """A file for layers of all kinds in the naming of kohya's trainers or of diffusers."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for part, module, layers in (
        ("unet", tiny.unet(), UNET_LAYERS),
        ("text_encoder", tiny.text_encoder(), TEXT_LAYERS),
    ):
        for name in layers:
            down, up = factors(module, name, generator)
            full = name if part == "unet" else f"text_model.{name}"
            if naming == "kohya":
                key = f"lora_{'unet' if part == 'unet' else 'te'}_{full.replace('.', '_')}"
                tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
                tensors[f"{key}.alpha"] = torch.tensor(2.0)
            else:
                tensors |= {f"{part}.{full}.lora_A.weight": down, f"{part}.{full}.lora_B.weight": up}
    save_file(tensors, path)
    return path


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name.removeprefix("text_model."): weight.detach().clone() for name, weight in module.named_parameters()}


def fused_by_diffusers(folder: Path, files: Sequence[tuple[Path, float]]) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of the tiny checkpoint after `load_lora_weights` and `fuse_lora`."""
    model = sources(4, folder / "tokenizer")
    pipe = StableDiffusionPipeline(
        unet=model.unet(),
        text_encoder=model.text_encoder(),
        vae=model.vae(),
        tokenizer=model.tokenizer,
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
    )
    names = [f"adapter_{index}" for index in range(len(files))]
    for name, (file, _) in zip(names, files, strict=True):
        pipe.load_lora_weights(file, adapter_name=name)
    pipe.set_adapters(names, [strength for _, strength in files])
    pipe.fuse_lora(adapter_names=names)
    pipe.unload_lora_weights()
    return {"unet": weights_of(pipe.unet), "text_encoder": weights_of(pipe.text_encoder)}


def _scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(dict(scheduler()))


CASES = {
    "kohya": (("kohya", 1.0),),
    "diffusers": (("diffusers", 0.8),),
    "negative": (("kohya", -0.6),),
    "two": (("kohya", 0.7), ("diffusers", -0.4)),
}


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_folded_weights_are_those_that_diffusers_fuses(case: str, tiny: Any, tmp_path: Path) -> None:
    files = [
        (lora_file(tmp_path / f"{index}.safetensors", tiny, naming, seed=index), strength)
        for index, (naming, strength) in enumerate(CASES[case])
    ]
    expected = fused_by_diffusers(tmp_path, files)
    before = {"unet": weights_of(tiny.unet()), "text_encoder": weights_of(tiny.text_encoder())}
    folded = with_loras(sources(4, tmp_path / "ours"), files)
    for part, module in (("unet", folded.unet()), ("text_encoder", folded.text_encoder())):
        changed = 0
        for name, weight in weights_of(module).items():
            difference = (weight - expected[part][name]).abs().max() / expected[part][name].abs().max().clamp(min=1e-9)
            assert difference < 1e-5, name
            changed += not torch.equal(weight, before[part][name])
        assert changed == len(UNET_LAYERS if part == "unet" else TEXT_LAYERS)


KINDS: Mapping[str, Any] = {
    "LoRA": lambda: peft.LoraConfig(r=3, lora_alpha=5, init_lora_weights=False, **TARGETS),
    "rank-stabilised LoRA": lambda: peft.LoraConfig(
        r=3, lora_alpha=5, use_rslora=True, init_lora_weights=False, **TARGETS
    ),
    "DoRA": lambda: peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, init_lora_weights=False, **TARGETS),
    "LoHa": lambda: peft.LoHaConfig(r=3, alpha=5, init_weights=False, **TARGETS),
    "LoHa with a core": lambda: peft.LoHaConfig(r=3, alpha=5, init_weights=False, use_effective_conv2d=True, **TARGETS),
    "LoKr": lambda: peft.LoKrConfig(r=2, alpha=5, init_weights=False, **TARGETS),
    "LoKr with a core": lambda: peft.LoKrConfig(
        r=2, alpha=5, init_weights=False, use_effective_conv2d=True, decompose_both=True, **TARGETS
    ),
}
TARGETS = {"target_modules": ["to_q", "proj_in", "conv1"]}


@pytest.mark.parametrize("kind", KINDS)
def test_peft_files_are_merged_as_peft_merges_them(kind: str, tiny: Any, tmp_path: Path) -> None:
    torch.manual_seed(5)
    adapted = peft.get_peft_model(sources(4, tmp_path / "theirs").unet(), KINDS[kind]())
    for name, value in adapted.named_parameters():
        if "lora_magnitude_vector" in name:
            # PEFT begins with magnitudes that change nothing.
            value.data.mul_(torch.empty_like(value).uniform_(0.6, 1.4))
    adapted.save_pretrained(tmp_path)
    expected = weights_of(adapted.merge_and_unload())
    folded = with_loras(sources(4, tmp_path / "ours"), [(tmp_path / "adapter_model.safetensors", 1.0)])
    before = weights_of(tiny.unet())
    for name, weight in weights_of(folded.unet()).items():
        assert (weight - expected[name]).abs().max() < 1e-5 * expected[name].abs().max().clamp(min=1e-9), name
        assert torch.equal(weight, before[name]) != any(f"{end}.weight" in name for end in TARGETS["target_modules"])


def test_the_engine_set_of_a_folded_lora_holds_the_weights_that_diffusers_fuses(tiny: Any, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(4, tmp_path / "checkpoint")
    file = lora_file(tmp_path / "style.safetensors", tiny, "kohya")
    assert main(["onnx", str(checkpoint), str(tmp_path / "set"), "--lora", f"{file}:0.8", "--quick"]) == 0
    engines = EngineSet.open(tmp_path / "set")
    assert engines.source["name"].endswith("with style.safetensors:0.8")
    expected = fused_by_diffusers(tmp_path, [(file, 0.8)])
    for part, layers in (("unet", UNET_LAYERS), ("text_encoder", TEXT_LAYERS)):
        stored = stored_weights(engines, part)
        for name in layers:
            fused = expected[part][f"{name}.weight"].numpy()
            np.testing.assert_allclose(read_weight(stored[f"{name}.weight"]), fused, atol=1e-5 * np.abs(fused).max())


def test_a_lora_that_cannot_be_used_ends_the_export_with_a_sentence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"lora_unet_nowhere.lora_down.weight": torch.zeros(1, 1)}, tmp_path / "odd.safetensors")
    assert main(["onnx", str(checkpoint), str(tmp_path / "set"), "--lora", f"{tmp_path}/odd.safetensors"]) == 5
    assert "'lora_unet_nowhere.lora_down.weight', which belongs to no weight" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
