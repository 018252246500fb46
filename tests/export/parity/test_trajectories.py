"""Every scheduler beside diffusers' own, live: public scheduler configs, and the keys that they do not set."""

import numpy as np
import pytest
from outpaint_export.parity.reference import not_comparable

from outpaint_engine.samplers import SCHEDULERS, SPREADS

from ...parity_cases import CONFIGS, SD15, STEPS
from ...pure.toy_model import relative_error, toy_trajectory
from .trajectories import trajectory

# diffusers hands torch tensors to numpy in a way that numpy 2 will not take for ever, and warns of algorithms to go.
pytestmark = [
    *(
        pytest.mark.filterwarnings(f"ignore:{method}:DeprecationWarning")
        for method in ("__array__ implementation", "__array_wrap__ must")
    ),
    pytest.mark.filterwarnings("ignore:`?algorithm_type:FutureWarning"),
]
NAMES = (*(scheduler.name for scheduler in SCHEDULERS), "auto")
SPREAD = [f"{scheduler.name} {word}" for scheduler in SCHEDULERS if scheduler.spreads for word in SPREADS]


def error(name: str, config: dict[str, object], steps: int, strength: float = 1.0, eta: float = 0.0) -> float:
    if reason := not_comparable(name if name != "auto" else str(config["_class_name"])):
        pytest.skip(reason)
    expected = trajectory(name, config, steps, strength, eta)
    assert np.isfinite(expected).all()
    return relative_error(toy_trajectory(name, config, steps, strength, eta), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config", CONFIGS)
def test_every_step_over_every_public_config_equals_diffusers(config: str, name: str) -> None:
    for steps in STEPS:
        assert error(name, CONFIGS[config], steps) < 1e-4


@pytest.mark.parametrize("name", [*NAMES, *SPREAD])
def test_every_step_of_a_run_that_starts_late_equals_diffusers(name: str) -> None:
    assert error(name, CONFIGS["sd15-pndm-old"], 12, strength=0.75) < 1e-4


@pytest.mark.parametrize("name", SPREAD)
def test_every_way_to_spread_sigmas_equals_diffusers_at_full_strength(name: str) -> None:
    for steps in STEPS:
        assert error(name, CONFIGS["sd21-ddim-v-zero-snr"], steps) < 1e-4


DPM, UNIPC, EULER = ("DPM Multi", "DPM Single"), ("UniPC",), ("Euler",)
LEVELS = ("Euler", "Heun", "LMS", "DPM2", "DPM2 a", *DPM, *UNIPC, "DEIS")
KEYS = [
    (("DDIM", "DDPM", "Heun", "LCM"), {"clip_sample": True, "clip_sample_range": 0.7}),
    (("DDIM", "DDPM", "LCM", *DPM, *UNIPC, "DEIS"), {"thresholding": True, "sample_max_value": 1.2}),
    (("DDIM", "PNDM"), {"set_alpha_to_one": True}),
    (("PNDM", "auto"), {"skip_prk_steps": False}),
    (("DDPM",), {"variance_type": "fixed_large"}),
    (("DDPM",), {"variance_type": "fixed_small_log"}),
    (("DDIM", *LEVELS), {"beta_schedule": "squaredcos_cap_v2"}),
    (("DDIM", *LEVELS), {"beta_schedule": "linear", "steps_offset": 0, "timestep_spacing": "trailing"}),
    (("DDIM", *LEVELS), {"trained_betas": np.linspace(0.001, 0.02, 1000).tolist()}),
    (LEVELS, {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 12.0}),
    (LEVELS, {"use_exponential_sigmas": True, "sigma_min": 0.1}),
    (LEVELS, {"use_beta_sigmas": True}),
    (EULER, {"interpolation_type": "log_linear"}),
    (EULER, {"interpolation_type": "log_linear", "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}),
    (EULER, {"timestep_type": "continuous", "prediction_type": "v_prediction"}),
    ((*EULER, *DPM, *UNIPC), {"final_sigmas_type": "sigma_min"}),
    ((*DPM, *UNIPC), {"final_sigmas_type": "sigma_min", "lower_order_final": False}),
    ((*DPM, *UNIPC), {"final_sigmas_type": "sigma_min", "use_karras_sigmas": True}),
    (DPM[:1], {"use_lu_lambdas": True}),
    (DPM[:1], {"euler_at_final": True, "final_sigmas_type": "sigma_min"}),
    (DPM, {"lambda_min_clipped": -2.0}),
    (DPM, {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}),
    (DPM, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    *(
        (DPM, {"algorithm_type": kind, "solver_order": order, "solver_type": solver, "final_sigmas_type": "sigma_min"})
        for kind in ("dpmsolver++", "dpmsolver")
        for order in (1, 2, 3)
        for solver in ("midpoint", "heun")
    ),
    (DPM[1:], {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}),
    (DPM[:1], {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}),
    *((UNIPC, {"solver_order": order}) for order in (1, 2, 3)),
    *((UNIPC, {"solver_order": order, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}) for order in (1, 2, 3)),
    (UNIPC, {"predict_x0": False, "final_sigmas_type": "sigma_min", "solver_order": 3}),
    (UNIPC, {"disable_corrector": [0, 1, 5]}),
    *((("DEIS",), {"solver_order": order}) for order in (1, 2, 3)),
    (("DEIS",), {"solver_order": 3, "lower_order_final": False, "use_karras_sigmas": True}),
    (("LCM", "TCD"), {"original_inference_steps": 40}),
    (("LCM",), {"timestep_scaling": 3.0}),
]
CASES = [(name, keys) for names, keys in KEYS for name in names]


@pytest.mark.parametrize(("name", "keys"), CASES, ids=[f"{name}-{'-'.join(keys)}" for name, keys in CASES])
def test_a_key_does_what_it_does_in_diffusers(name: str, keys: dict[str, object]) -> None:
    for steps in (12, 20):
        assert error(name, {**SD15, **keys}, steps) < 1e-4


@pytest.mark.parametrize("name", ["DDIM", "TCD"])
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_eta_does_what_it_does_in_diffusers(name: str, eta: float) -> None:
    assert error(name, SD15, 8, eta=eta) < 1e-4


@pytest.mark.parametrize(
    "absent", ["steps_offset", "set_alpha_to_one", "clip_sample", "beta_start", "timestep_spacing"]
)
@pytest.mark.parametrize("name", ["DDIM", "PNDM", "Euler", "auto"])
def test_a_key_that_is_absent_or_marked_as_default_is_the_classs_own(name: str, absent: str) -> None:
    without = {key: value for key, value in SD15.items() if key != absent}
    assert error(name, without, 10) < 1e-4
    assert error(name, {**SD15, "_use_default_values": [absent]}, 10) < 1e-4


@pytest.mark.parametrize("name", ["DDIM", "PNDM", "Euler", "auto"])
@pytest.mark.parametrize("kind", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_the_changes_that_diffusers_pipeline_makes_are_made(name: str, kind: str) -> None:
    config = {**SD15, "_class_name": kind, "steps_offset": 0, "skip_prk_steps": False}
    assert error(name, config, 10) < 1e-4
