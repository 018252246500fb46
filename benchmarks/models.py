"""Writes one model twice, with the same weights: as a diffusers checkpoint for the peers, and as an engine set.

    PYTHONPATH=export python -m benchmarks.models demo OUT       (extra `export`)
    python -m benchmarks.models sd15 OUT --channels 9

`demo` has the demo's architecture, untrained; `sd15` and `tiny` are those of `outpaint-export synthetic`. Nothing is
downloaded; the weights are seeded random numbers, so what they paint means nothing.
"""

import argparse
from pathlib import Path

from outpaint_export.exporting import ExportOptions, export_parts
from outpaint_export.parity.reference import reference_pipeline
from outpaint_export.sources.checkpoint import Origin, Sources
from outpaint_export.sources.opening import silence_libraries
from outpaint_export.sources.synthetic import synthetic_sources
from safetensors.torch import load_file, save_file

PREFIX = "text_model."
CHECKPOINT, ENGINES = "diffusers", "engines"
"""The two folders inside OUT."""


def untrained_demo() -> Sources:
    """The demo's modules as its training begins."""
    from demo_model.autoencoder import new_autoencoder
    from demo_model.captions import new_tokenizer
    from demo_model.denoiser import new_scheduler, new_text_encoder, new_unet

    tokenizer = new_tokenizer()
    modules = new_text_encoder(tokenizer), new_unet(), new_autoencoder()
    origin = Origin("synthetic demo: untrained", license="Apache-2.0", synthetic=True)
    return Sources.of_modules(modules, new_scheduler().config, tokenizer, origin)


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
    parser.add_argument("architecture", choices=("demo", "sd15", "tiny"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--channels", type=int, choices=(4, 9), default=9, help="UNet inputs; the demo's are 9")
    parser.add_argument(
        "--precision", choices=("fp32", "fp16-weights", "fp16"), default="fp32", help="of the engine set"
    )
    parser.add_argument("--quick", action="store_true", help="compare graphs on small random inputs only")
    given = parser.parse_args()
    silence_libraries()
    demo = given.architecture == "demo"
    sources = untrained_demo() if demo else synthetic_sources(given.architecture, given.channels)
    given.out.mkdir(parents=True, exist_ok=True)
    write_checkpoint(sources, given.out / CHECKPOINT)
    export_parts(sources, given.out / ENGINES, ExportOptions(given.precision, overwrite=True, quick=given.quick))
    print(f"{given.out / CHECKPOINT}\n{given.out / ENGINES}")


if __name__ == "__main__":
    main()
