"""Writes one model twice, with the same weights: as a diffusers checkpoint for the peers, and as an engine set.

    PYTHONPATH=export python -m benchmarks.models demo OUT       (extra `export`)
    PYTHONPATH=export python -m benchmarks.models trained OUT
    python -m benchmarks.models sd15 OUT --channels 9

`demo` has the demo's architecture, untrained; `trained` is the packaged demo itself, of which only the checkpoint is
written; `sd15` and `tiny` are those of `outpaint-export synthetic`. Nothing is
downloaded; but for `trained`, the weights are seeded random numbers, so what they paint means nothing.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from outpaint_export.exporting import ExportOptions, export_parts
from outpaint_export.parity.reference import reference_pipeline
from outpaint_export.sources.checkpoint import Origin, Sources
from outpaint_export.sources.opening import silence_libraries
from outpaint_export.sources.synthetic import synthetic_sources
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer

from outpaint_engine.engine_set import EngineSet, demo_folder
from outpaint_engine.engine_set.weights import read_weight, stored_weights

PREFIX = "text_model."
CHECKPOINT, ENGINES = "diffusers", "engines"
"""The two folders inside OUT."""


def untrained_demo() -> Sources:
    """The demo's modules as its training begins."""
    from demo_model.autoencoder import new_autoencoder
    from demo_model.captions import new_tokenizer
    from demo_model.denoiser import new_text_encoder, new_unet, scheduler_config

    tokenizer = new_tokenizer()
    modules = new_text_encoder(tokenizer), new_unet(), new_autoencoder()
    origin = Origin("synthetic demo: untrained", license="Apache-2.0", synthetic=True)
    return Sources.of_modules(modules, scheduler_config(), tokenizer, origin)


def trained_demo() -> Sources:
    """The packaged engine set's weights, back in the modules that were exported."""
    from demo_model.denoiser import new_text_encoder, new_unet

    engine_set = EngineSet.open(demo_folder(), verify=False)
    tokenizer = CLIPTokenizer.from_pretrained(engine_set.folder / "tokenizer")
    config = json.loads((engine_set.folder / "vae_encoder" / "config.json").read_text())
    modules = new_text_encoder(tokenizer), new_unet(), AutoencoderKL.from_config(config)
    parts = (("text_encoder",), ("unet",), ("vae_encoder", "vae_decoder"))
    for module, names in zip(modules, parts, strict=True):
        _load(module, engine_set, names)
    return Sources.of_modules(modules, engine_set.scheduler, tokenizer, Origin("demo"))


def _load(module: nn.Module, engine_set: EngineSet, parts: tuple[str, ...]) -> None:
    stored = {name: weight for part in parts for name, weight in stored_weights(engine_set, part).items()}
    module.load_state_dict({name: torch.from_numpy(read_weight(weight)) for name, weight in stored.items()})


def write_checkpoint(sources: Sources, folder: Path) -> None:
    """A diffusers folder that older libraries read as well."""
    reference_pipeline(sources).save_pretrained(folder)
    # transformers 5 dropped the prefix that checkpoints on the hub have; older ones would draw other weights instead.
    path = folder / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    prefixed = {name if name.startswith(PREFIX) else PREFIX + name: weights[name] for name in weights}
    save_file(prefixed, path, {"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description="One model, written twice.")
    parser.add_argument("architecture", choices=("demo", "trained", "sd15", "tiny"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--channels", type=int, choices=(4, 9), default=9, help="UNet inputs; the demo's are 9")
    parser.add_argument(
        "--precision", choices=("fp32", "fp16-weights", "fp16"), default="fp32", help="of the engine set"
    )
    parser.add_argument("--quick", action="store_true", help="compare graphs on small random inputs only")
    given = parser.parse_args()
    silence_libraries()
    own = {"demo": untrained_demo, "trained": trained_demo}.get(given.architecture)
    sources = own() if own else synthetic_sources(given.architecture, given.channels)
    given.out.mkdir(parents=True, exist_ok=True)
    write_checkpoint(sources, given.out / CHECKPOINT)
    if given.architecture == "trained":
        print(f"{given.out / CHECKPOINT}\n{demo_folder()}")
        return
    export_parts(sources, given.out / ENGINES, ExportOptions(given.precision, overwrite=True, quick=given.quick))
    print(f"{given.out / CHECKPOINT}\n{given.out / ENGINES}")


if __name__ == "__main__":
    main()
