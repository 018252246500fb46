"""What a scheduler class makes of a checkpoint's `scheduler_config.json`: key by key as diffusers resolves it.

A key counts where the file states it and the class knows it; what the file leaves out is the class's own default, as
with `X.from_config(pipe.scheduler.config)`. Two things that are easily overlooked, both diffusers': a key that stands
in `_use_default_values` counts as left out, and StableDiffusionInpaintPipeline puts `steps_offset` to 1 and
`skip_prk_steps` to true in what it loads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from ..errors import EngineSetError

__all__ = ["KINDS", "Settings", "notes_on", "own_settings", "settings_of"]

FILE = "scheduler_config.json"


@dataclass(frozen=True)
class Settings:
    """The resolved keys of one class, `kind`; names and meanings are diffusers'.

    The defaults are what most classes have; where a class lacks a key, they stand for what it does.
    """

    kind: str
    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    rescale_betas_zero_snr: bool = False
    set_alpha_to_one: bool = False
    prediction_type: str = "epsilon"
    timestep_spacing: str = "linspace"
    steps_offset: int = 0
    clip_sample: bool = False
    clip_sample_range: float = 1.0
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    use_lu_lambdas: bool = False
    sigma_min: float | None = None
    sigma_max: float | None = None
    final_sigmas_type: str = "zero"
    interpolation_type: str = "linear"
    timestep_type: str = "discrete"
    lambda_min_clipped: float = -math.inf
    skip_prk_steps: bool = False
    variance_type: str | None = None
    solver_order: int = 2
    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"
    lower_order_final: bool = True
    euler_at_final: bool = False
    predict_x0: bool = True
    disable_corrector: tuple[int, ...] = ()
    original_inference_steps: int = 50
    timestep_scaling: float = 10.0


class Kind(NamedTuple):
    """The keys that one of diffusers' classes reads, and its defaults where they are not those of `Settings`."""

    keys: frozenset[str]
    defaults: Mapping[str, Any]


BETAS = "num_train_timesteps beta_start beta_end beta_schedule trained_betas prediction_type"
SPACED = f"{BETAS} timestep_spacing steps_offset"
CLIPS = "clip_sample clip_sample_range"
THRESHOLDS = "thresholding dynamic_thresholding_ratio sample_max_value"
# Classes whose signature lacks sigma_min and sigma_max read them all the same.
SIGMAS = "use_karras_sigmas use_exponential_sigmas use_beta_sigmas sigma_min sigma_max"
SOLVER = f"{SIGMAS} {THRESHOLDS} solver_order solver_type lower_order_final use_flow_sigmas use_dynamic_shifting"
DPM = f"{SOLVER} algorithm_type final_sigmas_type lambda_min_clipped variance_type"
DISTILLED = f"{BETAS} rescale_betas_zero_snr original_inference_steps"


def _kind(keys: str, **defaults: Any) -> Kind:
    return Kind(frozenset(keys.split()), defaults)


SD15_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
KINDS: Mapping[str, Kind] = {
    "DDIMScheduler": _kind(
        f"{SPACED} {CLIPS} {THRESHOLDS} set_alpha_to_one rescale_betas_zero_snr",
        timestep_spacing="leading",
        clip_sample=True,
        set_alpha_to_one=True,
    ),
    "DDPMScheduler": _kind(
        f"{SPACED} {CLIPS} {THRESHOLDS} variance_type rescale_betas_zero_snr",
        timestep_spacing="leading",
        clip_sample=True,
        variance_type="fixed_small",
    ),
    "PNDMScheduler": _kind(f"{SPACED} skip_prk_steps set_alpha_to_one", timestep_spacing="leading"),
    "EulerDiscreteScheduler": _kind(
        f"{SPACED} {SIGMAS} interpolation_type timestep_type final_sigmas_type rescale_betas_zero_snr"
    ),
    "EulerAncestralDiscreteScheduler": _kind(f"{SPACED} rescale_betas_zero_snr"),
    "HeunDiscreteScheduler": _kind(f"{SPACED} {SIGMAS} {CLIPS}", **SD15_BETAS),
    "KDPM2DiscreteScheduler": _kind(f"{SPACED} {SIGMAS}", **SD15_BETAS),
    "KDPM2AncestralDiscreteScheduler": _kind(f"{SPACED} {SIGMAS}", **SD15_BETAS),
    "LMSDiscreteScheduler": _kind(f"{SPACED} {SIGMAS}"),
    "DPMSolverMultistepScheduler": _kind(f"{SPACED} {DPM} use_lu_lambdas euler_at_final rescale_betas_zero_snr"),
    "DPMSolverSinglestepScheduler": _kind(f"{BETAS} {DPM}", lower_order_final=False),
    "UniPCMultistepScheduler": _kind(
        f"{SPACED} {SOLVER} predict_x0 disable_corrector solver_p final_sigmas_type shift_terminal"
        " rescale_betas_zero_snr",
        solver_type="bh2",
    ),
    "DEISMultistepScheduler": _kind(f"{SPACED} {SOLVER} algorithm_type", algorithm_type="deis", solver_type="logrho"),
    "LCMScheduler": _kind(
        f"{DISTILLED} {CLIPS} {THRESHOLDS} timestep_scaling", beta_schedule="scaled_linear", **SD15_BETAS
    ),
    "TCDScheduler": _kind(DISTILLED, beta_schedule="scaled_linear", **SD15_BETAS),
}

Meanings = dict[Any, Any]
"""The values of a key that are done here, and what each is taken for."""


def _themselves(*values: Any) -> Meanings:
    return {value: value for value in values}


DPM_ALGORITHMS = _themselves("dpmsolver++", "sde-dpmsolver++", "dpmsolver") | {"deis": "dpmsolver++"}
DPM_SOLVERS = _themselves("midpoint", "heun") | dict.fromkeys(("logrho", "bh1", "bh2"), "midpoint")
VALUES: Mapping[str, Meanings] = {
    "beta_schedule": _themselves("linear", "scaled_linear", "squaredcos_cap_v2"),
    "prediction_type": _themselves("epsilon", "v_prediction", "sample"),
    "timestep_spacing": _themselves("leading", "trailing", "linspace"),
    "final_sigmas_type": _themselves("zero", "sigma_min"),
    "interpolation_type": _themselves("linear", "log_linear"),
    "timestep_type": _themselves("discrete", "continuous"),
    "algorithm_type": DPM_ALGORITHMS,
    "solver_type": DPM_SOLVERS,
    "solver_order": _themselves(1, 2, 3),
    # A UNet with 4 channels learns no variance.
    "variance_type": {None: None},
    "use_flow_sigmas": {False: False, None: False},
    "use_dynamic_shifting": {False: False, None: False},
    "solver_p": {None: None},
    "shift_terminal": {None: None},
}
VALUES_OF_KIND: Mapping[tuple[str, str], Meanings] = {
    ("DDPMScheduler", "variance_type"): _themselves("fixed_small", "fixed_large")
    | dict.fromkeys(("fixed_small_log", None), "fixed_small"),
    ("UniPCMultistepScheduler", "solver_type"): _themselves("bh1", "bh2")
    | dict.fromkeys(("midpoint", "heun", "logrho"), "bh2"),
    ("DEISMultistepScheduler", "algorithm_type"): dict.fromkeys(("deis", "dpmsolver", "dpmsolver++"), "deis"),
    ("DEISMultistepScheduler", "solver_type"): dict.fromkeys(("logrho", "midpoint", "heun", "bh1", "bh2"), "logrho"),
}


def settings_of(kind: str, config: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> Settings:
    """The settings that `kind` takes from a checkpoint's scheduler config: `kind.from_config(config, **own)`.

    Raises:
        EngineSetError: the config asks for something that is not done here; the message names the key.
    """
    return _checked(kind, {**_stated(config), **(own or {})})


def own_settings(config: Mapping[str, Any]) -> Settings:
    """The settings of the checkpoint's own class, `_class_name`, as diffusers' inpaint pipeline loads it.

    Raises:
        EngineSetError: the class is none of `KINDS`, or the config asks for something that is not done here.
    """
    kind = str(config.get("_class_name") or "")
    if kind not in KINDS:
        named = f"is {kind}, which is not done here" if kind else "is not named in its scheduler_config.json"
        raise EngineSetError(f"scheduler 'auto' is the checkpoint's own, and that {named}. Name a scheduler.")
    # Here the pipeline's changes reach what the file leaves out as well.
    patched = {"steps_offset": 1, "skip_prk_steps": True}
    return _checked(kind, _stated(config) | {key: value for key, value in patched.items() if key in KINDS[kind].keys})


def notes_on(settings: Settings, config: Mapping[str, Any]) -> list[str]:
    """What a person should know of how the class takes this config."""
    stated, keys, notes = _stated(config), KINDS[settings.kind].keys, []
    if stated.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in keys:
        notes.append(
            f"{FILE} sets rescale_betas_zero_snr, which diffusers' {settings.kind} does not know: its steps are those "
            "of the schedule before rescaling, there and here. DDIM, Euler, DPM Multi or UniPC know it."
        )
    if settings.clip_sample and "clip_sample" not in stated:
        notes.append(
            f"{FILE} leaves clip_sample out, and diffusers' {settings.kind} then clips what it predicts, which dulls "
            "pictures. Write clip_sample: false into it if that is not meant."
        )
    return notes


def _stated(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that count, as diffusers' inpaint pipeline has them in `pipe.scheduler.config`."""
    left_out = set(config.get("_use_default_values") or ())
    stated = {key: value for key, value in config.items() if key not in left_out and not key.startswith("_")}
    if "steps_offset" in stated and _whole("steps_offset", stated["steps_offset"]) != 1:
        stated["steps_offset"] = 1
    if stated.get("skip_prk_steps") is False:
        stated["skip_prk_steps"] = True
    return stated


def _checked(kind: str, stated: Mapping[str, Any]) -> Settings:
    keys, defaults = KINDS[kind]
    read = {key: _read(kind, key, stated[key]) for key in keys if key in stated}
    known = {field.name for field in fields(Settings)}
    settings = replace(Settings(kind, **defaults), **{key: value for key, value in read.items() if key in known})
    _consistent(settings)
    return settings


def _read(kind: str, key: str, value: Any) -> Any:
    meanings = VALUES_OF_KIND.get((kind, key), VALUES.get(key))
    if meanings is not None:
        if isinstance(value, list | dict) or value not in meanings:
            allowed = ", ".join(str(known) for known in meanings)
            raise EngineSetError(f"{FILE} says {key} {value!r}; {kind} is done here with {allowed}.")
        return meanings[value]
    if key == "trained_betas":
        return None if value is None else tuple(_number(key, beta) for beta in _list(key, value))
    if key == "disable_corrector":
        return tuple(_whole(key, index) for index in _list(key, value))
    if key in ("sigma_min", "sigma_max") and value is None:
        return None
    default = Settings.__dataclass_fields__[key].default
    if isinstance(default, bool):
        return _flag(key, value)
    return _whole(key, value) if isinstance(default, int) else _number(key, value)


def _consistent(settings: Settings) -> None:
    """Refuse keys that exclude each other."""
    s = settings
    spreads = [name for name in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas") if getattr(s, name)]
    if len(spreads) > 1:
        raise EngineSetError(f"{' and '.join(spreads)} are both asked for, and only one can be: see {FILE}.")
    if s.final_sigmas_type == "zero" and s.algorithm_type == "dpmsolver":
        raise EngineSetError(f"{FILE} says algorithm_type 'dpmsolver', which needs final_sigmas_type 'sigma_min'.")
    if s.kind == "UniPCMultistepScheduler" and s.final_sigmas_type == "zero":
        # With a last sigma of 0 they give NaN.
        for key, value in (("predict_x0", False), ("lower_order_final", False), ("solver_type", "bh1")):
            if getattr(s, key) == value:
                raise EngineSetError(f"{FILE} says {key} {value!r}, which needs final_sigmas_type 'sigma_min'.")
    if s.trained_betas is not None and len(s.trained_betas) != s.num_train_timesteps:
        raise EngineSetError(f"{FILE} has {len(s.trained_betas)} trained_betas for {s.num_train_timesteps} timesteps.")
    for key in ("num_train_timesteps", "original_inference_steps", "sample_max_value", "sigma_min", "sigma_max"):
        if (value := getattr(s, key)) is not None and value <= 0:
            raise EngineSetError(f"{FILE} says {key} {value!r}; it must be above 0.")


def _flag(key: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return bool(value)


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(key, value, "a whole number")
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, value, "a number")
    return float(value)


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _wrong(key, value, "a list of numbers")
    return list(value)


def _wrong(key: str, value: Any, expected: str) -> EngineSetError:
    return EngineSetError(f"{FILE} has {key} {value!r:.40}; it must be {expected}.")
