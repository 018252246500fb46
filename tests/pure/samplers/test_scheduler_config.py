"""A scheduler config is read key by key as diffusers' class reads it, or refused with the key's name."""

import json
import shutil
from pathlib import Path

import pytest

from outpaint_engine import EngineSetError
from outpaint_engine.engine_set import EngineSet
from outpaint_engine.samplers import SCHEDULERS, scheduler_of
from outpaint_engine.schedule import KINDS, Settings, notes_on

from ...parity_cases import CONFIGS, SD15


def settings(name: str, **changes: object) -> Settings:
    return scheduler_of(name, {**SD15, **changes})[1]


def test_what_a_file_leaves_out_is_the_classs_own_default() -> None:
    old = CONFIGS["sd15-pndm-old"]
    spacings = {name: scheduler_of(name, old)[1].timestep_spacing for name in ("DDIM", "PNDM", "Euler", "UniPC")}
    assert spacings == {"DDIM": "leading", "PNDM": "leading", "Euler": "linspace", "UniPC": "linspace"}
    assert scheduler_of("DDIM", CONFIGS["sd15-pndm-0.31"])[1].clip_sample


def test_a_key_marked_as_a_default_counts_as_left_out() -> None:
    assert settings("Euler", _use_default_values=["timestep_spacing"]).timestep_spacing == "linspace"


def test_a_stated_steps_offset_is_put_to_1_and_an_absent_one_only_in_the_checkpoints_own_scheduler() -> None:
    assert settings("Euler", steps_offset=0).steps_offset == 1
    without = {key: value for key, value in SD15.items() if key != "steps_offset"}
    assert scheduler_of("PNDM", without)[1].steps_offset == 0
    assert scheduler_of("auto", without)[1].steps_offset == 1


@pytest.mark.parametrize("config", CONFIGS)
def test_auto_is_the_checkpoints_own_class_with_its_own_keys(config: str) -> None:
    scheduler, own = scheduler_of("auto", CONFIGS[config])
    assert scheduler.kind == own.kind == CONFIGS[config]["_class_name"]
    assert own.use_karras_sigmas == CONFIGS[config].get("use_karras_sigmas", False)


def test_the_checkpoints_own_class_is_the_one_that_model_index_names(tmp_path: Path) -> None:
    folder = shutil.copytree(Path(__file__).parents[2] / "goldens" / "tiny-4", tmp_path / "set")
    (folder / "engine_set.json").unlink()
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert scheduler_of("auto", EngineSet.open(folder).scheduler)[0].name == "Euler"


def test_every_class_has_a_scheduler() -> None:
    assert {scheduler.kind for scheduler in SCHEDULERS} == set(KINDS)


def test_a_scheduler_that_the_config_makes_random_says_so() -> None:
    assert scheduler_of("DPM Multi", {**SD15, "algorithm_type": "sde-dpmsolver++"})[0].random


REFUSED = [
    ("DDIM", {"prediction_type": "flow"}, "prediction_type 'flow'"),
    ("DDIM", {"timestep_spacing": "random"}, "timestep_spacing 'random'"),
    ("DDIM", {"timestep_spacing": ["leading"]}, "timestep_spacing"),
    ("DDIM", {"beta_schedule": "exp"}, "beta_schedule 'exp'"),
    ("DDIM", {"steps_offset": None}, "steps_offset None"),
    ("DDIM", {"beta_start": "x"}, "beta_start 'x'"),
    ("DDIM", {"clip_sample": "no"}, "clip_sample 'no'"),
    ("DDIM", {"trained_betas": [0.1]}, "1 trained_betas for 1000"),
    ("DDIM", {"trained_betas": 3}, "trained_betas 3"),
    ("DDIM", {"num_train_timesteps": 0}, "num_train_timesteps 0"),
    ("DDPM", {"variance_type": "learned_range"}, "variance_type 'learned_range'"),
    ("DPM Multi", {"variance_type": "learned"}, "variance_type 'learned'"),
    ("DPM Multi", {"use_flow_sigmas": True}, "use_flow_sigmas True"),
    ("DPM Multi", {"algorithm_type": "sde-dpmsolver"}, "algorithm_type 'sde-dpmsolver'"),
    ("DPM Multi", {"algorithm_type": "dpmsolver"}, "final_sigmas_type 'sigma_min'"),
    ("DPM Multi", {"solver_order": 4}, "solver_order 4"),
    ("DPM Multi Karras", {"use_beta_sigmas": True}, "use_karras_sigmas and use_beta_sigmas"),
    ("UniPC", {"solver_p": {}}, "solver_p"),
    ("UniPC", {"shift_terminal": 0.1}, "shift_terminal 0.1"),
    ("UniPC", {"use_dynamic_shifting": True}, "use_dynamic_shifting True"),
    ("UniPC", {"predict_x0": False}, "predict_x0"),
    ("UniPC", {"solver_type": "bh1"}, "solver_type 'bh1'"),
    ("UniPC", {"disable_corrector": 1}, "disable_corrector 1"),
    ("Euler", {"sigma_max": -1.0}, "sigma_max -1.0"),
    ("DEIS", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type 'sde-dpmsolver"),
    ("auto", {"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler"),
    ("auto", {"_class_name": None}, "is not named"),
]


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_what_is_not_done_here_is_refused_with_the_keys_name(name: str, changes: dict[str, object], said: str) -> None:
    with pytest.raises(EngineSetError) as refused:
        settings(name, **changes)
    assert said in str(refused.value)


def test_pure_noise_without_a_prediction_of_the_picture_is_refused() -> None:
    with pytest.raises(EngineSetError, match="rescale_betas_zero_snr"):
        SCHEDULERS[0].schedule({**SD15, "rescale_betas_zero_snr": True})


def test_fewer_than_four_steps_of_runge_and_kutta_are_refused() -> None:
    scheduler, pndm = scheduler_of("PNDM", CONFIGS["sd21-ddim-v-zero-snr"])
    assert not pndm.skip_prk_steps
    with pytest.raises(EngineSetError, match="skip_prk_steps"):
        scheduler.plan(scheduler.schedule(CONFIGS["sd21-ddim-v-zero-snr"]), 3, 1.0)


def test_a_key_that_the_class_lacks_and_a_default_that_dulls_pictures_are_said() -> None:
    zero_snr = CONFIGS["sd21-ddim-v-zero-snr"]
    assert "rescale_betas_zero_snr" in notes_on(scheduler_of("Heun", zero_snr)[1], zero_snr)[0]
    assert not notes_on(scheduler_of("DDIM", zero_snr)[1], zero_snr)
    newer = CONFIGS["sd15-pndm-0.31"]
    assert "clip_sample" in notes_on(scheduler_of("DDIM", newer)[1], newer)[0]
