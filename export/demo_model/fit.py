"""One training loop for every part of the demo model: AdamW, warm-up and cosine decay, EMA, resumable.

The loop knows nothing of pictures or text. A batch is a function of the step's own random generator, so a
run that was stopped and resumed sees the same batches as one that was not.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from outpaint_export.errors import DestinationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

SAVE_EVERY = 50
BFLOAT16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
"""Faster where the CPU multiplies bfloat16 (AMX, AVX512-BF16); on others it was slower than float32."""


@dataclass(frozen=True)
class Plan:
    """How one part is trained.

    `ema` is the decay of the averaged weights that are kept at the end; shorter at first, so that the
    average never remembers the random start. `bfloat16` multiplies in it where the CPU has it; a GPU trains in float32.
    """

    name: str
    steps: int
    learning_rate: float
    seed: int = 0
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.999
    clip_norm: float = 1.0
    bfloat16: bool = True

    def rate(self, step: int) -> float:
        """Learning rate at `step`: linear warm-up, then half a cosine down to 2 %."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def fit(
    model: nn.Module,
    loss: Callable[[np.random.Generator], Tensor],
    plan: Plan,
    folder: Path,
    watch: Callable[[int], None] | None = None,
) -> None:
    """Train `model` in place until `plan.steps`, then put the averaged weights into it.

    `loss` draws a batch from the generator it is given and returns a scalar. `watch` is told how many steps are done
    before every save, and stops the training by an error. State is written to
    `folder/<plan.name>.safetensors` every `SAVE_EVERY` steps and read back when it exists.

    Raises:
        DestinationError: that file was begun with another plan.
    """
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
    )
    average = {name: value.detach().clone() for name, value in parameters.items()}
    path = folder / f"{plan.name}.safetensors"
    done = _resume(path, plan, parameters, average, optimizer) if path.exists() else 0
    smooth = None
    with tqdm(total=plan.steps, initial=done, desc=plan.name, mininterval=10, unit="step") as bar:
        for step in range(done, plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(step)
            torch.manual_seed(plan.seed * 1_000_003 + step)
            with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16 and plan.bfloat16):
                value = loss(np.random.default_rng((plan.seed, step)))
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters.values(), plan.clip_norm)
            optimizer.step()
            decay = min(plan.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.values()), [p.detach() for p in parameters.values()], 1 - decay)
            smooth = value.item() if smooth is None else 0.98 * smooth + 0.02 * value.item()
            bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            bar.update()
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
                if watch:
                    watch(step + 1)
                _save(path, {"step": step + 1, "plan": asdict(plan)}, parameters, average, optimizer)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(average[name])


def _save(
    path: Path,
    state: dict[str, Any],
    parameters: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizer: torch.optim.AdamW,
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        moments = optimizer.state[parameter]
        tensors |= {f"weight:{name}": parameter.detach(), f"average:{name}": average[name]}
        tensors |= {f"{moment}:{name}": moments[moment] for moment in ("exp_avg", "exp_avg_sq")}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"state": json.dumps(state)})
    part.replace(path)


def _resume(
    path: Path,
    plan: Plan,
    parameters: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizer: torch.optim.AdamW,
) -> int:
    with safe_open(path, framework="pt") as stored, torch.no_grad():
        state = json.loads(stored.metadata()["state"])
        if state.get("plan") != asdict(plan):
            raise DestinationError(f"{path} was begun with another plan of training. Give another folder as --work.")
        step: int = state["step"]
        for name, parameter in parameters.items():
            parameter.copy_(stored.get_tensor(f"weight:{name}"))
            average[name].copy_(stored.get_tensor(f"average:{name}"))
            # The fused AdamW goes through memory as it lies, so moments have to lie as their parameter does.
            moments = {
                key: torch.empty_like(parameter).copy_(stored.get_tensor(f"{key}:{name}"))
                for key in ("exp_avg", "exp_avg_sq")
            }
            optimizer.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device), **moments}
    return step
