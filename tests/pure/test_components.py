"""Components speak to graphs of several exporters."""

import numpy as np
import pytest

from outpaint_engine import EngineSetError, FunctionEngine, NumericalError
from outpaint_engine.components import TextEncoder, Unet, VaeEncoder

SAMPLE, CONTEXT = np.zeros((2, 4, 8, 8), np.float32), np.zeros((2, 77, 4), np.float32)


@pytest.mark.parametrize(("axes", "shape"), [((), ()), ((1,), (1,)), (("batch",), (2,))])
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_the_timestep_has_the_graphs_rank_and_element_type(
    axes: tuple[int | str, ...], shape: tuple[int, ...], dtype: str
) -> None:
    seen = []

    def unet(sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(timestep)
        return {"out_sample": sample}

    engine = FunctionEngine(
        unet,
        {"sample": ("b", 4, "h", "w"), "timestep": axes, "encoder_hidden_states": ("b", "t", 4)},
        {"out_sample": ("b", 4, "h", "w")},
        {"timestep": dtype},
    )
    Unet(engine).predict(SAMPLE, 961, CONTEXT)
    assert seen[0].shape == shape and seen[0].dtype == dtype and (seen[0] == 961).all()


@pytest.mark.parametrize(("dtype", "told"), [("int64", 3), ("float32", 2.75)])
def test_a_graph_of_whole_timesteps_is_told_the_nearest(dtype: str, told: float) -> None:
    seen = []
    engine = FunctionEngine(
        lambda sample, timestep, encoder_hidden_states: seen.append(timestep) or {"out_sample": sample},
        {"sample": ("b", 4, "h", "w"), "timestep": (), "encoder_hidden_states": ("b", "t", 4)},
        {"out_sample": ("b", 4, "h", "w")},
        {"timestep": dtype},
    )
    Unet(engine).predict(SAMPLE, 2.75, CONTEXT)
    assert seen[0] == told


def test_a_graph_with_other_names_is_refused_with_both_lists() -> None:
    engine = FunctionEngine(lambda tokens: {"hidden": tokens}, {"tokens": ("b", 77)}, {"hidden": ("b", 77, 4)})
    with pytest.raises(EngineSetError, match="must take input_ids and give last_hidden_state; this one takes tokens"):
        TextEncoder(engine)


def test_moments_become_a_scaled_posterior() -> None:
    moments = np.concatenate([np.full((1, 4, 1, 1), 3.0), np.full((1, 4, 1, 1), np.log(4.0))], axis=1)
    engine = FunctionEngine(
        lambda sample: {"latent_parameters": moments},
        {"sample": ("b", 3, "h", "w")},
        {"latent_parameters": ("b", 8, 1, 1)},
    )
    posterior = VaeEncoder(engine, 0.5).encode(np.zeros((1, 3, 8, 8), np.float32))
    assert posterior.sample(np.ones((1, 4, 1, 1))).ravel() == pytest.approx([2.5] * 4)


def test_a_nan_from_a_part_names_the_part() -> None:
    engine = FunctionEngine(
        lambda input_ids: {"last_hidden_state": np.full((1, 77, 4), np.nan)},
        {"input_ids": ("b", 77)},
        {"last_hidden_state": ("b", 77, 4)},
    )
    with pytest.raises(NumericalError, match="text_encoder answered with NaN"):
        TextEncoder(engine).encode(np.zeros((1, 77), np.int64))
