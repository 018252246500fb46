"""LoRA files: which layers their keys name, what each kind of product is, and what is refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from outpaint_engine.adapters import read_lora
from outpaint_engine.errors import AdapterError

QUERY, TEXT = "down.0.attn1.to_q", "encoder.layers.0.self_attn.q_proj"
SHAPES = {
    "unet": {
        f"{QUERY}.weight": (4, 6),
        "down.0.attn1.to_out.0.weight": (4, 4),
        "down.0.attn2.to_k.weight": (4, 768),
        "down.0.conv1.weight": (4, 6, 3, 3),
        "down.0.proj_in.weight": (4, 6, 1, 1),
    },
    "text_encoder": {f"{TEXT}.weight": (4, 6), "encoder.layers.0.self_attn.out_proj.weight": (4, 4)},
}
RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


DOWN, UP, ALPHA = numbers(2, 6), numbers(4, 2), np.array(1.0, np.float32)


def saved(folder: Path, tensors: Mapping[str, np.ndarray], notes: Mapping[str, str] | None = None) -> Path:
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "a.safetensors", notes)
    return folder / "a.safetensors"


@pytest.mark.parametrize(
    ("down", "up", "part", "name"),
    [
        ("lora_unet_down_0_attn1_to_q.lora_down", "lora_unet_down_0_attn1_to_q.lora_up", "unet", QUERY),
        (f"unet.{QUERY}.lora_A", f"unet.{QUERY}.lora_B", "unet", QUERY),
        (f"unet.{QUERY}.lora.down", f"unet.{QUERY}.lora.up", "unet", QUERY),
        ("down.0.attn1.processor.to_q_lora.down", "down.0.attn1.processor.to_q_lora.up", "unet", QUERY),
        (
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down",
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up",
            "text_encoder",
            TEXT,
        ),
        (
            "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down",
            "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.up",
            "text_encoder",
            TEXT,
        ),
        (
            f"text_encoder.{TEXT}.lora_linear_layer.down",
            f"text_encoder.{TEXT}.lora_linear_layer.up",
            "text_encoder",
            TEXT,
        ),
    ],
)
def test_every_naming_is_found_among_the_models_own_weights(
    down: str, up: str, part: str, name: str, tmp_path: Path
) -> None:
    file = saved(tmp_path, {f"{down}.weight": DOWN, f"{up}.weight": UP})
    found = read_lora(file, SHAPES)
    assert list(found) == [part] and list(found[part]) == [f"{name}.weight"]
    np.testing.assert_allclose(found[part][f"{name}.weight"].delta(), UP @ DOWN, rtol=1e-5)


def test_alpha_is_divided_by_the_rank(tmp_path: Path) -> None:
    key = "lora_unet_down_0_attn1_to_q"
    file = saved(tmp_path, {f"{key}.lora_down.weight": DOWN, f"{key}.lora_up.weight": UP, f"{key}.alpha": ALPHA})
    np.testing.assert_allclose(read_lora(file, SHAPES)["unet"][f"{QUERY}.weight"].delta(), UP @ DOWN / 2, rtol=1e-5)


def test_what_diffusers_notes_of_alpha_in_the_file_counts(tmp_path: Path) -> None:
    notes = {"lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 6})}
    file = saved(tmp_path, {f"unet.{QUERY}.lora_A.weight": DOWN, f"unet.{QUERY}.lora_B.weight": UP}, notes)
    np.testing.assert_allclose(read_lora(file, SHAPES)["unet"][f"{QUERY}.weight"].delta(), 3 * UP @ DOWN, rtol=1e-5)


def test_notes_that_name_no_part_are_for_the_one_there_is(tmp_path: Path) -> None:
    notes = {"lora_adapter_metadata": json.dumps({"r": 2, "lora_alpha": 6, "alpha_pattern": {}, "use_dora": False})}
    file = saved(tmp_path, {f"{QUERY}.lora_A.weight": DOWN, f"{QUERY}.lora_B.weight": UP}, notes)
    np.testing.assert_allclose(read_lora(file, SHAPES)["unet"][f"{QUERY}.weight"].delta(), 3 * UP @ DOWN, rtol=1e-5)


def test_a_dora_by_its_notes_needs_magnitudes(tmp_path: Path) -> None:
    notes = {"lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 6, "unet.use_dora": True})}
    file = saved(tmp_path, {f"unet.{QUERY}.lora_A.weight": DOWN, f"unet.{QUERY}.lora_B.weight": UP}, notes)
    with pytest.raises(AdapterError, match="is a DoRA and has no magnitudes for"):
        read_lora(file, SHAPES)


@pytest.mark.parametrize(
    ("layer", "key", "shape"),
    [
        (QUERY, "lora_magnitude_vector", (4,)),
        (QUERY, "lora_magnitude_vector.default.weight", (4,)),
        (QUERY, "dora_scale", (4, 1)),
        ("down.0.conv1", "lora_magnitude_vector", (1, 4, 1, 1)),
        ("down.0.conv1", "dora_scale", (4, 1, 1, 1)),
    ],
)
def test_magnitudes_of_a_dora_are_read_as_peft_and_lycoris_write_them(
    layer: str, key: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    down, magnitudes = numbers(2, *SHAPES["unet"][f"{layer}.weight"][1:]), np.arange(4, dtype=np.float32)
    pair = {"lora_down.weight": down, "lora_up.weight": UP.reshape(4, 2, *(1,) * (down.ndim - 2))}
    if key == "dora_scale":
        names = {name: f"lora_unet_{layer.replace('.', '_')}.{name}" for name in (*pair, key)}
    else:
        names = {name: f"unet.{layer}.{name}".replace("lora_", "lora.", 1) for name in pair} | {
            key: f"unet.{layer}.{key}"
        }
    file = saved(tmp_path, {names[name]: value for name, value in (pair | {key: magnitudes.reshape(shape)}).items()})
    np.testing.assert_array_equal(read_lora(file, SHAPES)["unet"][f"{layer}.weight"].magnitude, magnitudes)


def test_a_convolution_with_a_core_is_that_of_lycoris(tmp_path: Path) -> None:
    key, down, mid, up = "lora_unet_down_0_conv1", numbers(2, 6, 1, 1), numbers(2, 2, 3, 3), numbers(4, 2, 1, 1)
    file = saved(
        tmp_path,
        {f"{key}.lora_down.weight": down, f"{key}.lora_mid.weight": mid, f"{key}.lora_up.weight": up},
    )
    expected = np.einsum("oa,abhw,bi->oihw", up[..., 0, 0], mid, down[..., 0, 0])
    found = read_lora(file, SHAPES)["unet"]["down.0.conv1.weight"].delta()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


Q = "lora_unet_down_0_attn1_to_q"
PAIR = {f"{Q}.lora_down.weight": DOWN, f"{Q}.lora_up.weight": UP}
OUT = "lora_unet_down_0_attn1_to_out_0"
HOSTILE: list[tuple[Mapping[str, np.ndarray] | bytes, str]] = [
    (b"\x80\x02}q\x00.", "is not a whole safetensors file"),
    ({}, "holds no tensors"),
    (
        {"lora_unet_up_9_attn1_to_q.lora_down.weight": DOWN},
        "'lora_unet_up_9_attn1_to_q.lora_down.weight', which belongs",
    ),
    (PAIR | {f"{Q}.diff_b": UP}, "diff_b', which belongs to no weight"),
    ({f"{Q}.lora_down.weight": DOWN}, "do not fit each other .down .2, 6..."),
    (PAIR | {f"{Q}.lora_up.weight": numbers(4, 3)}, "do not fit each other"),
    (PAIR | {f"{Q}.hada_w1_a": UP}, "do not fit each other"),
    (PAIR | {f"{Q}.alpha": numbers(2)}, "do not fit each other"),
    ({f"{Q}.lora_down.weight": numbers(0, 6), f"{Q}.lora_up.weight": numbers(4, 0)}, "do not fit each other"),
    ({f"{Q}.alpha": ALPHA}, "do not fit each other .alpha alone"),
    ({f"{Q}.lokr_w1": numbers(2, 2), f"{Q}.lokr_w2_a": numbers(2, 2)}, "do not fit each other"),
    (PAIR | {f"{Q}.lora_up.weight": numbers(5, 2)}, "changes '.*' by .5, 6. and this model has .4, 6."),
    ({f"{Q}.lokr_w1": numbers(90, 90), f"{Q}.lokr_w2": numbers(90, 90)}, "by .8100, 8100. and this model"),
    (PAIR | {f"{Q}.lora_up.weight": np.full((4, 2), np.nan, np.float32)}, "NaN or infinity"),
    (
        PAIR | {f"{Q}.alpha": ALPHA, f"{OUT}.lora_down.weight": numbers(2, 4), f"{OUT}.lora_up.weight": UP},
        "no alpha for",
    ),
    (PAIR | {f"{Q}.lora_up.weight": numbers(*[1] * 40)}, "has 40 axes"),
    (
        PAIR | {f"{Q}.dora_scale": numbers(1, 6)},
        ".1, 6. for .* one for each of the layer's 4 outputs, not for each input",
    ),
    (PAIR | {f"{Q}.dora_scale": numbers(5, 1)}, "is a DoRA with magnitudes .5, 1. for"),
    (PAIR | {f"{Q}.lora_magnitude_vector": np.ones(1, np.float32)}, "is a DoRA with magnitudes .1. for"),
    (PAIR | {f"{Q}.lora_magnitude_vector": np.full(4, np.nan, np.float32)}, "NaN or infinity"),
    (PAIR | {f"{Q}.dora_scale": UP[:, :1], f"{Q}.lora_magnitude_vector": UP[:, 0]}, "expected magnitudes once"),
    ({f"{Q}.dora_scale": numbers(4, 1)}, "is a DoRA with dora_scale for .* expected .* LoRA's two factors"),
    (
        {f"{Q}.lokr_w1": numbers(2, 2), f"{Q}.lokr_w2": numbers(2, 3), f"{Q}.dora_scale": numbers(4, 1)},
        "is a DoRA with dora_scale, lokr_w1, lokr_w2 for",
    ),
    (
        PAIR
        | {f"{Q}.dora_scale": numbers(4, 1), f"{OUT}.lora_down.weight": numbers(2, 4), f"{OUT}.lora_up.weight": UP},
        "is a DoRA and has no magnitudes for 'down.0.attn1.to_out.0.weight'",
    ),
    (PAIR | {f"unet.{QUERY}.lora_A.weight": DOWN}, "has 'down' of .* twice"),
    ({"lora_te2_text_model_encoder.lora_down.weight": DOWN}, "is a LoRA for Stable Diffusion XL"),
    ({"transformer.blocks.0.attn.lora_A.weight": DOWN}, "is a LoRA for a transformer"),
    (
        {
            "lora_unet_down_0_attn2_to_k.lora_down.weight": numbers(2, 1024),
            "lora_unet_down_0_attn2_to_k.lora_up.weight": UP,
        },
        "is for Stable Diffusion 2: it changes",
    ),
    ({f"base_model.model.{QUERY}.lora_A.weight": DOWN}, "alpha is in adapter_config.json, which cannot be read"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(
    content: Mapping[str, np.ndarray] | bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.safetensors"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        saved(tmp_path, content)
    with pytest.raises(AdapterError, match=message):
        read_lora(file, SHAPES)


def test_a_change_beyond_float32_is_refused_when_it_is_made(tmp_path: Path) -> None:
    change = read_lora(saved(tmp_path, {name: value * np.float32(1e30) for name, value in PAIR.items()}), SHAPES)
    with pytest.raises(AdapterError, match="by more than float32 holds"):
        change["unet"][f"{QUERY}.weight"].delta()


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, PAIR)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(AdapterError, match="is not a whole safetensors file"):
        read_lora(file, SHAPES)


@pytest.mark.parametrize(
    "config", ["[]", "{}", "null", '{"r": 0, "lora_alpha": 1}', '{"r": 2}', '{"r": "x", "lora_alpha": {}}', "{"]
)
def test_a_broken_configuration_of_peft_is_refused(config: str, tmp_path: Path) -> None:
    file = saved(tmp_path, {f"base_model.model.{QUERY}.lora_{k}.weight": v for k, v in (("A", DOWN), ("B", UP))})
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(AdapterError, match="does not state alpha and rank as PEFT does"):
        read_lora(file, SHAPES)
