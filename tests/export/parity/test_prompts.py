"""Prompts against transformers and diffusers, live: tokens, chunks, weights, clip skip; and rescaled guidance."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from outpaint_export.exporting import export_parts
from outpaint_export.parity.fidelity import BOUNDS
from outpaint_export.parity.reference import outpaint, reference_pipeline
from outpaint_export.sources.tokenizer_files import read_tokenizer, write_tokenizer
from transformers import CLIPTextModel, CLIPTokenizer

from outpaint_engine import OutpaintPipeline
from outpaint_engine.denoise import Guidance, guided
from outpaint_engine.prompts.tokens import ClipTokenizer

from ...clip_table import clip_files
from ...parity_cases import Case
from ...varied_prompts import varied_prompts
from .. import tiny_models

pytestmark = pytest.mark.export

LATENT_BOUND = BOUNDS["fp32"].latent_error
CASE = Case(4, 1.0, 7.5, (64, 64), 6)
LONG = "the sun, the sea 42! " * 25


def text_encoder() -> CLIPTextModel:
    """The tiny one with four layers, and a last normalisation whose mean is not 0, as trained models have it."""
    torch.manual_seed(7)
    config = tiny_models.text_encoder().config
    config.num_hidden_layers = 4
    model = CLIPTextModel(config).eval()
    norm = getattr(model, "text_model", model).final_layer_norm
    with torch.no_grad():
        norm.bias.normal_(0.2, 0.3)
        norm.weight.normal_(1, 0.2)
    return model


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[OutpaintPipeline, StableDiffusionInpaintPipeline]:
    """Our pipeline and diffusers', of one tiny 4-channel checkpoint."""
    folder = tmp_path_factory.mktemp("prompts")
    sources = dataclasses.replace(tiny_models.sources(4, folder / "words"), text_encoder=text_encoder)
    export_parts(sources, folder / "set")
    reference = reference_pipeline(sources)
    # diffusers 0.42 looks for the layers where transformers 4 had them.
    object.__setattr__(reference.text_encoder, "text_model", reference.text_encoder)
    return OutpaintPipeline.from_pretrained(folder / "set"), reference


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, over the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("written_by", ["the export", "an older program"])
def test_ten_thousand_prompts_have_transformers_tokens(written_by: str, tmp_path: Path) -> None:
    theirs = CLIPTokenizer.from_pretrained(clip_files(tmp_path / "clip"))
    if written_by == "the export":
        write_tokenizer(read_tokenizer(tmp_path / "clip"), tmp_path / "written", 77)
    ours = ClipTokenizer(tmp_path / ("written" if written_by == "the export" else "clip"))
    prompts = varied_prompts(12_000, seed=1)
    assert len(set(prompts)) > 10_000
    expected = theirs(prompts, add_special_tokens=False).input_ids
    assert [prompt for prompt, ids in zip(prompts, expected, strict=True) if ours.ids(prompt) != ids] == []


def embedded(
    reference: StableDiffusionInpaintPipeline, pieces: list[tuple[str, float]], chunks: int, clip_skip: int = 0
) -> torch.Tensor:
    """Embeddings (1, 77 chunks, width) of weighted pieces, by transformers alone."""
    tokenizer, model = reference.tokenizer, reference.text_encoder
    tokens = [(i, w) for text, w in pieces for i in tokenizer(text, add_special_tokens=False).input_ids]
    parts = []
    for chunk in range(chunks):
        window = tokens[75 * chunk : 75 * chunk + 75]
        fill = 76 - len(window)
        ids = [tokenizer.bos_token_id, *(i for i, _ in window), *[tokenizer.eos_token_id] * fill]
        weights = torch.tensor([1.0, *(w for _, w in window), *[1.0] * fill])[None, :, None]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
            plain = getattr(model, "text_model", model).final_layer_norm(states[-1 - clip_skip])
        scaled = plain * weights
        parts.append(scaled * (plain.mean() / scaled.mean()))
    return torch.cat(parts, dim=1)


PROMPTS: list[tuple[dict[str, Any], list[tuple[str, float]], list[tuple[str, float]], int]] = [
    ({"prompt": LONG, "negative_prompt": "sea"}, [(LONG, 1)], [("sea", 1)], 3),
    ({"prompt": "sea", "negative_prompt": LONG}, [("sea", 1)], [(LONG, 1)], 3),
    ({"prompt": "the (sun:1.5), [sea]"}, [("the ", 1), ("sun", 1.5), (", ", 1), ("sea", 1 / 1.1)], [], 1),
    ({"prompt": f"(sun:0.6) {LONG}"}, [("sun", 0.6), (f" {LONG}", 1)], [], 3),
    ({"prompt": "the sea", "clip_skip": 1}, [("the sea", 1)], [], 1),
    (
        {"prompt": "the sea", "clip_skip": 3, "clip_skip_negative": True, "negative_prompt": "7"},
        [("the sea", 1)],
        [("7", 1)],
        1,
    ),
]


@pytest.mark.parametrize(("fields", "prompt", "negative", "chunks"), PROMPTS, ids=[str(row[0])[:60] for row in PROMPTS])
def test_latents_equal_diffusers_given_the_embeddings(
    sides: tuple[OutpaintPipeline, StableDiffusionInpaintPipeline],
    fields: dict[str, Any],
    prompt: list[tuple[str, float]],
    negative: list[tuple[str, float]],
    chunks: int,
) -> None:
    pipe, reference = sides
    skip = fields.get("clip_skip", 0)
    texts = {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": embedded(reference, prompt, chunks, skip),
        "negative_prompt_embeds": embedded(reference, negative, chunks, skip * fields.get("clip_skip_negative", False)),
    }
    found = pipe(dataclasses.replace(CASE.request, **{"negative_prompt": None, **fields}))
    assert any(f"encoded in {chunks} chunks" in note for note in found.notes) == (chunks > 1)
    assert relative_error(found.latents, outpaint(reference, CASE.request, **texts)[0]) <= LATENT_BOUND
    plain = pipe(dataclasses.replace(CASE.request, prompt="the sea", negative_prompt=None)).latents
    assert relative_error(plain, found.latents) > LATENT_BOUND


@pytest.mark.parametrize("negative", ["7", "the sea 7", None])
@pytest.mark.parametrize("skip", [1, 3])
def test_clip_skip_with_guidance_is_diffusers(
    sides: tuple[OutpaintPipeline, StableDiffusionInpaintPipeline], skip: int, negative: str | None
) -> None:
    pipe, reference = sides
    request = dataclasses.replace(CASE.request, prompt="the sun", negative_prompt=negative)
    expected = outpaint(reference, request, clip_skip=skip)[0]
    found = pipe(dataclasses.replace(request, clip_skip=skip)).latents
    assert relative_error(found, expected) <= LATENT_BOUND
    both = pipe(dataclasses.replace(request, clip_skip=skip, clip_skip_negative=True)).latents
    assert relative_error(both, expected) > LATENT_BOUND


@pytest.mark.parametrize(("prompt", "negative"), [(LONG, "sea"), ("sea", LONG), (LONG, LONG), (LONG, None)])
def test_truncated_prompts_give_diffusers_latents(
    sides: tuple[OutpaintPipeline, StableDiffusionInpaintPipeline], prompt: str, negative: str | None
) -> None:
    pipe, reference = sides
    request = dataclasses.replace(CASE.request, prompt=prompt, negative_prompt=negative, long_prompts="truncate")
    found = pipe(request)
    assert relative_error(found.latents, outpaint(reference, request)[0]) <= LATENT_BOUND
    assert any("the first 75 are read, the rest is left out" in note for note in found.notes)
    whole = pipe(dataclasses.replace(request, long_prompts="chunks")).latents
    assert relative_error(whole, found.latents) > LATENT_BOUND


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_the_exported_text_encoder_gives_every_layer_normalised(
    sides: tuple[OutpaintPipeline, StableDiffusionInpaintPipeline], skip: int
) -> None:
    pipe, reference = sides
    ids = pipe.models.prompts.pair("the sun").prompt.ids
    expected = embedded(reference, [("the sun", 1)], 1, skip).numpy()
    np.testing.assert_allclose(pipe.models.text_encoder.encode(ids, skip), expected, atol=1e-5)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_rescaled_guidance_is_diffusers_for_every_row(share: float) -> None:
    without, with_prompt = np.random.default_rng(1).standard_normal((2, 3, 4, 8, 8), np.float32)
    predict: Callable[..., np.ndarray] = lambda *_: np.concatenate([without, with_prompt])  # noqa: E731
    text = np.zeros((1, 77, 4), np.float32)
    found = guided(predict, text, text, Guidance(7.5, range(1), share))(without, 1.0)
    cond, uncond = map(torch.from_numpy, (with_prompt, without))
    expected = rescale_noise_cfg(uncond + 7.5 * (cond - uncond), cond, share).numpy()
    assert relative_error(found, expected) < 1e-6
