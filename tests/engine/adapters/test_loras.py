"""LoRAs on a tiny engine set: loaded, named in prompts, kept, and refused."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file

from outpaint_engine import EngineOptions, OutpaintPipeline, OutpaintRequest, SharedPipeline
from outpaint_engine.cli.outpaint import run
from outpaint_engine.denoise import Reuse
from outpaint_engine.engines import find_backend
from outpaint_engine.engines.onnx import OnnxBackend
from outpaint_engine.errors import AdapterError, BackendUnavailable, EngineSetError, RequestError
from outpaint_engine.lora_models import Loras
from outpaint_engine.recipe import provenance_of

from .lora_files import TINY, dora_file, factors, lora_file

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra `cpu`)")
DEVICES = [
    pytest.param(name, marks=pytest.mark.skipif(not find_backend(name).probe().usable, reason=f"no {name} here"))
    for name in ("ort-cpu", "openvino")
]
ASKED: dict[str, Any] = {"width": 64, "height": 64, "offset_x": 16, "num_inference_steps": 2, "seed": 1}
PLAIN = "the sun, the sea"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two LoRAs, "ink" and "oil", which is a DoRA."""
    made = tmp_path_factory.mktemp("loras")
    lora_file(made / "ink.safetensors", 1)
    dora_file(made / "oil.safetensors", 2)
    return made


Open = Callable[..., OutpaintPipeline]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens the tiny set; closed after the test."""
    pipes = []

    def open_tiny(device: str = "ort-cpu", **options: Any) -> OutpaintPipeline:
        pipes.append(OutpaintPipeline.from_pretrained(TINY, device=device, **options))
        return pipes[-1]

    yield open_tiny
    for pipe in pipes:
        pipe.close()


def painted(pipe: OutpaintPipeline | SharedPipeline, prompt: str = PLAIN, **fields: Any) -> np.ndarray:
    picture = np.linspace(60, 200, 32, dtype=np.uint8)[:, None, None].repeat(32, 1).repeat(3, 2)
    return pipe(image=picture, prompt=prompt, **{**ASKED, **fields}).latents


@pytest.mark.parametrize("device", DEVICES)
def test_what_was_painted_before_is_painted_again_bit_for_bit(device: str, folder: Path, opened: Open) -> None:
    pipe = opened(device)
    plain = painted(pipe)
    assert pipe.load_lora(folder / "ink.safetensors", 0.8) == "ink"
    ink = painted(pipe)
    pipe.load_lora(str(folder / "oil.safetensors"), -0.5)
    assert dict(pipe.loras) == {"ink": 0.8, "oil": -0.5}
    both = painted(pipe)
    pipe.unload_lora("oil")
    assert np.array_equal(painted(pipe), ink)
    pipe.load_lora(folder / "ink.safetensors", 0)
    pipe.load_lora(folder / "oil.safetensors", 0)
    assert np.array_equal(painted(pipe), plain)
    pipe.unload_lora("ink")
    pipe.unload_lora("oil")
    assert np.array_equal(painted(pipe), plain)
    assert len({plain.tobytes(), ink.tobytes(), both.tobytes()}) == 3


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_file_that_changes_one_part_changes_the_picture(part: str, tmp_path: Path, opened: Open) -> None:
    pipe = opened()
    plain = painted(pipe)
    pipe.load_lora(lora_file(tmp_path / "one.safetensors", 3, part))
    assert not np.array_equal(painted(pipe), plain)


def test_a_tag_in_the_prompt_is_no_text_and_paints_what_the_loaded_file_paints(folder: Path, opened: Open) -> None:
    pipe, loaded = opened(loras=folder), opened()
    plain = painted(loaded)
    loaded.load_lora(folder / "ink.safetensors", -0.4)
    assert np.array_equal(painted(pipe, f"{PLAIN}<lora:ink:-0.4>"), painted(loaded))
    assert np.array_equal(painted(pipe, f"<lora:ink:0>{PLAIN}"), plain)
    assert np.array_equal(painted(pipe), plain)
    pipe.load_lora(folder / "ink.safetensors", -0.4)
    assert np.array_equal(painted(pipe, f"<lora:ink:0>{PLAIN}"), plain)


def test_the_result_and_its_file_say_which_loras_were_merged(folder: Path, opened: Open) -> None:
    pipe = opened(loras=folder)
    pipe.load_lora(folder / "oil.safetensors", 0.5)
    request = OutpaintRequest(image=np.zeros((32, 32, 3), np.uint8), prompt="sea <lora:ink>", **ASKED)
    result = pipe(request)
    assert "LoRAs: oil at 0.5, ink at 1." in result.notes
    said = provenance_of(request, result)
    assert "LoRAs: oil:0.5 ink:1" in said.parameters and said.parameters.startswith("sea <lora:ink>")
    assert [(lora["name"], lora["strength"], len(lora["sha256"])) for lora in said.request["loras"]] == [
        ("oil", 0.5, 64),
        ("ink", 1.0, 64),
    ]


def test_the_shallow_unet_is_merged_too(folder: Path, opened: Open) -> None:
    pipe = opened(loras=folder)
    plain = painted(pipe, num_inference_steps=5, reuse=Reuse(2, method="shallow"))
    found = painted(pipe, f"{PLAIN}<lora:ink>", num_inference_steps=5, reuse=Reuse(2, method="shallow"))
    models = pipe._loras.models(pipe.models, {"ink": 1.0}, shallow=True)
    asked = np.ones((1, 9, 8, 8), np.float32), 500.0, np.ones((1, 77, 32), np.float32)
    whole, features = models.unet.predict_deep(*asked)
    assert models.shallow is not None and pipe.models.shallow is not None
    np.testing.assert_allclose(models.shallow.predict_shallow(*asked, features), whole, atol=1e-6)
    assert not np.allclose(pipe.models.shallow.predict_shallow(*asked, features), whole, atol=1e-3)
    assert not np.array_equal(plain, found)


def test_a_pipeline_with_prepared_graphs_paints_the_same_with_loras(
    folder: Path, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain, prepared = opened(loras=folder), opened(loras=folder, options=EngineOptions(prepare=True))
    prompt = f"{PLAIN}<lora:ink>"
    assert np.array_equal(painted(prepared, prompt), painted(plain, prompt))
    assert np.array_equal(painted(prepared), painted(plain))


def test_an_added_word_is_one_with_loras_too(folder: Path, opened: Open, tmp_path: Path) -> None:
    pipe = opened(loras=folder)
    before = painted(pipe, "cat<lora:ink>")
    save_file({"<cat>": np.ones((2, 32), np.float32)}, tmp_path / "cat.safetensors")
    pipe.load_textual_inversion(tmp_path / "cat.safetensors")
    assert not np.array_equal(painted(pipe, "<cat><lora:ink>"), before)
    np.testing.assert_allclose(painted(pipe, "cat<lora:ink>"), before, atol=1e-5)


def test_the_latest_combinations_are_kept_as_far_as_memory_is_allowed(
    folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = OnnxBackend.load
    monkeypatch.setattr(OnnxBackend, "load", lambda self, loading: loaded.append(loading.part) or load(self, loading))
    roomy, narrow = opened(loras=folder), opened(loras=Loras(folder, most_bytes=1))
    for pipe, opened_again in ((roomy, 0), (narrow, 2)):
        first = painted(pipe, f"{PLAIN}<lora:ink>")
        painted(pipe, f"{PLAIN}<lora:oil>")
        loaded.clear()
        assert np.array_equal(painted(pipe, f"{PLAIN}<lora:ink>"), first)
        assert len(loaded) == opened_again


@pytest.mark.parametrize(("prepare", "opened_again"), [(True, 0), (False, 1)])
def test_on_prepared_graphs_a_combination_counts_as_what_it_changes(
    prepare: bool, opened_again: int, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layer = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    for name, seed in (("ink", 1), ("oil", 2)):
        made = {key: value for key, value in factors(seed).items() if key.startswith(layer)}
        save_file(made, tmp_path / f"{name}.safetensors")
    loaded = []
    load = OnnxBackend.load
    monkeypatch.setattr(OnnxBackend, "load", lambda self, loading: loaded.append(loading.part) or load(self, loading))
    room_for_two = 2 * 4 * 32 * 64
    pipe = opened(loras=Loras(tmp_path, most_bytes=room_for_two), options=EngineOptions(prepare=prepare))
    for name in ("ink", "oil"):
        painted(pipe, f"{PLAIN}<lora:{name}>")
    loaded.clear()
    painted(pipe, f"{PLAIN}<lora:ink>")
    assert len(loaded) == opened_again


def test_a_file_that_was_written_to_is_read_again(tmp_path: Path, opened: Open) -> None:
    lora_file(tmp_path / "ink.safetensors", 1)
    pipe = opened(loras=tmp_path)
    first = painted(pipe, f"{PLAIN}<lora:ink>")
    lora_file(tmp_path / "ink.safetensors", 2, "unet")
    assert not np.array_equal(painted(pipe, f"{PLAIN}<lora:ink>"), first)


def test_requests_with_different_loras_share_a_model(folder: Path) -> None:
    prompts = [PLAIN, f"{PLAIN}<lora:ink>", f"{PLAIN}<lora:oil:0.5>", PLAIN]
    with SharedPipeline.from_pretrained(TINY, device="cpu", at_once=4, loras=folder) as pipe:
        alone = [painted(pipe, prompt) for prompt in prompts]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda prompt: painted(pipe, prompt), prompts))
    assert all(map(np.array_equal, alone, together))


REFUSED_TAGS = [
    ("<lora:gone>", "names the LoRA 'gone'; there are 'ink', 'oil'. Leave"),
    ("<lora:../ink>", "names the LoRA '../ink'; there are 'ink', 'oil'"),
    ("<lora:ink:much>", "strength of the LoRA 'ink' must be a number from -100 to 100, not 'much'"),
    ("<lora:ink:nan>", "must be a number from -100 to 100, not 'nan'"),
    ("<lora:ink:1e9>", "must be a number from -100 to 100, not '1e9'"),
    ("<lora:ink><lora:ink:2>", "names the LoRA 'ink' twice"),
]


@pytest.mark.parametrize(("prompt", "sentence"), REFUSED_TAGS)
def test_a_tag_that_cannot_be_used_is_refused(prompt: str, sentence: str, folder: Path, opened: Open) -> None:
    with pytest.raises(RequestError, match=sentence):
        painted(opened(loras=folder), prompt)


def test_tags_need_a_folder_and_stand_in_the_prompt(folder: Path, opened: Open) -> None:
    with pytest.raises(RequestError, match="'ink'; there is none here. Allow a folder of LoRAs .loras=FOLDER"):
        painted(opened(), "<lora:ink>")
    with pytest.raises(RequestError, match="not in the negative prompt"):
        painted(opened(loras=folder), negative_prompt="<lora:ink>")
    with pytest.raises(RequestError, match="'oil'; there are 'ink'. Leave"):
        painted(opened(loras=Loras(folder, ("ink",))), "<lora:oil>")
    with pytest.raises(AdapterError, match="has no 'tar.safetensors'"):
        opened(loras=Loras(folder, ("tar",)))
    with pytest.raises(AdapterError, match="no folder of LoRAs"):
        opened(loras=folder / "gone")


def test_a_file_that_is_allowed_by_name_and_fits_nothing_is_refused_before_a_prompt_names_it(
    opened: Open, tmp_path: Path
) -> None:
    save_file({"lora_unet_nowhere.lora_down.weight": np.zeros((1, 1), np.float32)}, tmp_path / "odd.safetensors")
    opened(loras=tmp_path)
    with pytest.raises(AdapterError, match="belongs to no weight"):
        opened(loras=Loras(tmp_path, ("odd",)))


KEY = "lora_unet_conv_in"
HOSTILE: list[tuple[Callable[[], Mapping[str, np.ndarray] | bytes], str]] = [
    (lambda: b"\x80\x02}q\x00.", "is not a whole safetensors file"),
    (lambda: {"lora_unet_nowhere.lora_down.weight": np.zeros((1, 1), np.float32)}, "belongs to no weight"),
    (lambda: {"lora_te2_x.lora_down.weight": np.zeros((1, 1), np.float32)}, "is a LoRA for Stable Diffusion XL"),
    (lambda: factors(1) | {f"{KEY}.lora_up.weight": np.zeros((7, 2, 1, 1), np.float32)}, "changes 'conv_in.weight' by"),
    (lambda: factors(1) | {f"{KEY}.alpha": np.float32(1)[None]}, "has no alpha for"),
    (lambda: {name: value * np.float32("nan") for name, value in factors(1).items()}, "NaN or infinity"),
    (lambda: {name: value * np.float32(1e25) for name, value in factors(1).items()}, "by more than float32 holds"),
    (
        lambda: (
            {name: value * np.float32(1e12) for name, value in factors(1).items() if KEY in name}
            | {f"{KEY}.dora_scale": np.ones((16, 1, 1, 1), np.float32)}
        ),
        "with a norm of 0, or beyond float32",
    ),
]


@pytest.mark.parametrize(("content", "sentence"), HOSTILE, ids=[sentence for _, sentence in HOSTILE])
def test_a_hostile_file_is_refused_in_one_sentence_and_changes_nothing(
    content: Callable[[], Mapping[str, np.ndarray] | bytes], sentence: str, folder: Path, tmp_path: Path, opened: Open
) -> None:
    pipe = opened()
    pipe.load_lora(folder / "ink.safetensors")
    before, file, given = painted(pipe), tmp_path / "bad.safetensors", content()
    if isinstance(given, bytes):
        file.write_bytes(given)
    else:
        save_file(dict(given), file)
    with pytest.raises(AdapterError, match=sentence) as caught:
        pipe.load_lora(file)
    assert "\n" not in str(caught.value) and dict(pipe.loras) == {"ink": 1.0}
    assert np.array_equal(painted(pipe), before)


def test_a_truncated_file_and_a_name_that_is_taken_are_refused(folder: Path, tmp_path: Path, opened: Open) -> None:
    pipe = opened(loras=folder)
    (tmp_path / "short.safetensors").write_bytes((folder / "ink.safetensors").read_bytes()[:-1])
    with pytest.raises(AdapterError, match="is not a whole safetensors file"):
        pipe.load_lora(tmp_path / "short.safetensors")
    with pytest.raises(AdapterError, match=r"ink.safetensors is the LoRA 'ink' already. Give .* another name"):
        pipe.load_lora(lora_file(tmp_path / "ink.safetensors", 5))
    assert pipe.load_lora(tmp_path / "ink.safetensors", name="tar") == "tar"
    with pytest.raises(RequestError, match="No LoRA 'ink' is loaded; there are 'tar'"):
        pipe.unload_lora("ink")
    pipe.unload_lora("tar")
    assert pipe.load_lora(lora_file(tmp_path / "other.safetensors", 6), name="tar") == "tar"


def test_a_set_without_a_map_of_its_weights_says_how_to_get_one(tmp_path: Path, opened: Open) -> None:
    pipe = opened()
    engine_set = pipe.models.engine_set
    old = engine_set.files.copy()
    for part in ("unet", "text_encoder"):
        old.pop(f"{part}/weights.json")
    object.__setattr__(engine_set, "files", old)
    with pytest.raises(EngineSetError, match="does not say where the weights .*outpaint-export adopt"):
        pipe.load_lora(lora_file(tmp_path / "ink.safetensors", 1))


@pytest.mark.parametrize("name", ["ort-cuda", "ort-tensorrt", "tensorrt", "tensorrt-rtx"])
def test_a_backend_that_cannot_merge_names_the_command_that_can(name: str) -> None:
    with pytest.raises(BackendUnavailable, match=f"{name} cannot merge .*outpaint-export onnx SOURCE OUT --lora FILE"):
        find_backend(name).require_changes()


def test_the_terminal_takes_files_and_a_folder(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "grey").save(tmp_path / "in.png")
    command = [str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--right", "32", "--engines", str(TINY)]
    command += ["--device", "cpu", "--steps", "1", "--prompt", "sea <lora:ink:0.5>"]
    given = CliRunner().invoke(run, [*command, "--lora", f"{folder}/oil.safetensors:-0.3", "--loras", str(folder)])
    assert given.exit_code == 0 and "Note: LoRAs: oil at -0.3, ink at 0.5." in given.stderr
    with Image.open(tmp_path / "out.png") as out:
        assert "LoRAs: oil:-0.3 ink:0.5" in out.text["parameters"]
    refused = CliRunner().invoke(run, [*command, "--lora", f"{folder}/oil.safetensors:1e9"])
    assert refused.exit_code == 2 and "must be a number from -100 to 100" in refused.stderr
