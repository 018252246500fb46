"""The exported safety checker beside diffusers', and its preprocessing beside transformers'."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from outpaint_export.commands.cli import main
from outpaint_export.errors import SourceError
from outpaint_export.sources import hub
from outpaint_export.sources.safety import PARTS, check_safety_checker, open_safety_checker
from PIL import Image
from transformers import CLIPImageProcessorPil

from outpaint_engine import EngineSet, OutpaintPipeline
from outpaint_engine.safety import Preparation, SafetyChecker
from outpaint_engine.safety.checker import PREPARATION

from .tiny_checker import SIDE, pictures


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> StableDiffusionSafetyChecker:
    return StableDiffusionSafetyChecker.from_pretrained(checkpoint / "safety_checker").eval()


@pytest.fixture(scope="module")
def processor(checkpoint: Path) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil.from_pretrained(checkpoint / "feature_extractor")


@pytest.mark.parametrize("size", [(32, 32), (512, 512), (640, 384), (300, 777), (33, 32), (1024, 256)], ids=str)
@pytest.mark.parametrize("side", [32, 224])
def test_pictures_are_prepared_as_transformers_prepares_them_bit_for_bit(size: tuple[int, int], side: int) -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side)
    pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
    image = Image.fromarray(pixels)
    expected = processor(image, return_tensors="np").pixel_values
    middle = next(Preparation.of(json.loads(processor.to_json_string())).squares(image))
    assert np.array_equal(middle, expected)


def test_the_configuration_of_stable_diffusion_1_5_is_understood() -> None:
    old = {"crop_size": 224, "size": 224, "resample": 3, "do_center_crop": True, "do_convert_rgb": True}
    old |= {"image_mean": [0.48, 0.45, 0.40], "image_std": [0.26, 0.26, 0.27], "do_resize": True, "do_normalize": True}
    assert Preparation.of(old) == Preparation(224, 3, (0.48, 0.45, 0.40), (0.26, 0.26, 0.27))


@pytest.mark.parametrize("device", ["ort-cpu", "openvino"])
def test_flags_and_cosines_are_diffusers(
    inpainting_set: Path, reference: Any, processor: CLIPImageProcessorPil, device: str
) -> None:
    images = pictures()
    prepared = processor(images, return_tensors="pt").pixel_values
    _, expected = reference(images=[np.ones((4, 4, 3)) for _ in images], clip_input=prepared)
    with torch.no_grad():
        embedded = reference.visual_projection(reference.vision_model(prepared)[1])
    with OutpaintPipeline.from_pretrained(inpainting_set, device=device) as pipe:
        checker = pipe.load_safety_checker()
        assert checker.engine.backend == device
        assert [checker.check(image).flagged for image in images] == expected
        assert {True, False} == set(expected)
        ours = [_cosines(checker, image) for image in images]
    embeddings = reference.concept_embeds, reference.special_care_embeds
    concepts, special = (cosine_distance(embedded, each).detach().numpy() for each in embeddings)
    assert np.abs(np.stack([cosines for cosines, _ in ours]) - concepts).max() < 1e-5
    assert np.abs(np.stack([cosines for _, cosines in ours]) - special).max() < 1e-5


def _cosines(checker: SafetyChecker, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    (square,) = checker.preparation.squares(image)
    return checker.concepts.cosines(checker.embedded(square))


def test_a_run_on_the_exported_set_flags_its_picture_as_diffusers_would(
    inpainting_set: Path, reference: Any, processor: CLIPImageProcessorPil
) -> None:
    with OutpaintPipeline.from_pretrained(inpainting_set, device="ort-cpu") as pipe:
        fields: dict[str, Any] = {"width": 64, "height": 64, "num_inference_steps": 2, "seed": 1}
        result = pipe(image=pictures(1)[0], **fields, safety="flag")
    prepared = processor(result.images, return_tensors="pt").pixel_values
    assert [each.flagged for each in result.safety] == reference(images=[np.ones((4, 4, 3))], clip_input=prepared)[1]


def test_the_manifest_lists_the_checker_and_its_files(inpainting_set: Path) -> None:
    opened = EngineSet.open(inpainting_set)
    assert opened.artifact("safety_checker").file == "safety_checker/model.onnx"
    assert {"safety_checker/concepts.safetensors", "safety_checker/config.json", PREPARATION} <= set(opened.files)


def test_another_checkpoints_checker_can_be_named_and_the_own_left_out(checkpoint: Path, tmp_path: Path) -> None:
    for chosen, expected in (("none", False), ("own", True), (str(checkpoint), True)):
        assert (open_safety_checker(chosen, str(checkpoint)) is not None) is expected
    bare = tmp_path / "bare"
    shutil.copytree(checkpoint, bare, ignore=shutil.ignore_patterns("safety_checker"))
    assert open_safety_checker("own", str(bare)) is None
    with pytest.raises(SourceError, match="has no safety checker with its feature extractor"):
        open_safety_checker(str(bare), str(checkpoint))


def test_a_pickled_checker_is_refused_and_can_be_left_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "pickled"
    shutil.copytree(checkpoint, copied)
    (copied / "safety_checker" / "model.safetensors").rename(copied / "safety_checker" / "pytorch_model.bin")
    assert main(["onnx", str(copied), str(tmp_path / "out")]) == 5
    assert "pickle" in (said := capsys.readouterr().err)
    assert "--safety-checker none" in said


def test_a_feature_extractor_of_another_size_is_refused(reference: Any) -> None:
    config = json.loads(CLIPImageProcessorPil().to_json_string())
    with pytest.raises(SourceError, match=f"looks at {SIDE} pixels a side in 3 colours .* makes 224"):
        check_safety_checker(reference, config)
    with pytest.raises(SourceError, match="leaves out do_center_crop"):
        check_safety_checker(reference, config | {"do_center_crop": False})


def test_of_a_hub_id_the_checkers_files_are_fetched_where_it_has_them() -> None:
    files = ["unet/config.json", "safety_checker/config.json", "safety_checker/model.safetensors", PREPARATION]
    files += ["safety_checker/model.fp16.safetensors", "safety_checker/pytorch_model.bin"]
    wanted = hub.needed_files("owner/name", files, PARTS, (PREPARATION,))
    assert sorted(wanted) == [PREPARATION, "safety_checker/config.json", "safety_checker/model.safetensors"]
    assert hub.needed_files("owner/name", files[:1], PARTS, (PREPARATION,)) == []
