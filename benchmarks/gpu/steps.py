"""What is run on a GPU machine, most valuable first: each step with its question, its limit and its command."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MODEL", "Plan", "Step", "planned"]

MODEL = "model"
"""The step that makes the model, beside those that do not need it."""


@dataclass(frozen=True)
class Plan:
    """Where to run and what: `small` is a tiny model, a few calls of each kind."""

    device: str
    small: bool
    model: Path
    out: Path

    @property
    def architecture(self) -> str:
        return "tiny" if self.small else "sd15"

    @property
    def engines(self) -> str:
        return str(self.model / "engines")

    @property
    def on_gpu(self) -> bool:
        return self.device != "ort-cpu"

    @property
    def sizes(self) -> tuple[int, int, int]:
        return (64, 96, 128) if self.small else (512, 768, 1024)


@dataclass(frozen=True)
class Step:
    """One process: what follows `python`, and the most seconds that it may take."""

    name: str
    answers: str
    seconds: int
    command: tuple[str, ...]
    needs_model: bool = True


def planned(plan: Plan) -> tuple[Step, ...]:
    """All steps of a plan, in the order of their value."""
    small, middle, large = plan.sizes
    # The graph for everybody leaves arithmetic on shapes to the CPU, so that it cannot be recorded.
    unet = ["graph-rewritten", "rewritten", "plain"] if plan.on_gpu else ["plain"]
    part = ["graph-rewritten", "plain"] if plan.on_gpu else ["plain"]
    return (
        Step(MODEL, "", 400, _model(plan), needs_model=False),
        Step("machine", "Which card, which libraries; what are its ceilings?", 60, _ours("machine", plan), False),
        Step("contract", f"Does {plan.device} keep the contract of every backend?", 120, _contract(plan), False),
        *(_part(plan, "unet", small, way) for way in unet),
        _pictures(plan, small),
        _compare(plan, small),
        *(_part(plan, "unet", size, unet[0]) for size in (large, middle)),
        *(_pictures(plan, size) for size in (middle, large)),
        _step(plan, "clients", "Clients at once: how much more than one by one?", 90, f"--size={small}"),
        _step(plan, "parity", "Are the pictures those of ort-cpu?", 120, f"--size={small}"),
        *(_torch(plan, way) for way in ("eager", "channels_last", "reduce-overhead")),
        *([_noise(plan)] if plan.on_gpu else []),
        *(_part(plan, name, small, way) for name in ("vae_decoder", "vae_encoder", "text_encoder") for way in part),
        *([] if plan.small else [_compare(plan, large), _compare(plan, middle)]),
    )


def _model(plan: Plan) -> tuple[str, ...]:
    return ("-m", "benchmarks.models", plan.architecture, str(plan.model), "--precision", "fp16", "--quick")


def _contract(plan: Plan) -> tuple[str, ...]:
    tests = ("tests/backends/test_contract.py", "tests/backends/test_cuda.py")
    return ("-m", "pytest", "-q", *tests, "-k", plan.device, "-W", "default", "-p", "no:cacheprovider")


def _ours(module: str, plan: Plan, *rest: str) -> tuple[str, ...]:
    return ("-m", f"benchmarks.gpu.{module}", f"--device={plan.device}", *rest, f"--out={plan.out / module}.json")


def _step(plan: Plan, module: str, answers: str, seconds: int, *rest: str) -> Step:
    few = ("--few",) if plan.small else ()
    return Step(module, answers, seconds, _ours(module, plan, f"--engines={plan.engines}", *few, *rest))


def _part(plan: Plan, part: str, size: int, way: str) -> Step:
    name = f"{part}-{size}-{way}"
    few = ("--few",) if plan.small else ()
    rows = 2 if part == "unet" else 1
    command = ("-m", "benchmarks.gpu.part", f"--device={plan.device}", f"--engines={plan.engines}", *few)
    asked = (f"--part={part}", f"--size={size}", f"--rows={rows}", f"--way={way}", f"--out={plan.out / name}.json")
    return Step(name, f"A call of {part} at {size}x{size}, {way}: how long?", 60, (*command, *asked))


def _pictures(plan: Plan, size: int) -> Step:
    steps, repeats = ("2", "1") if plan.small else ("20", "3")
    out = plan.out / f"bench-{size}.jsonl"
    canvas = ("--width", str(size), "--height", str(size), "--steps", steps, "--repeats", repeats, "--starts", "0")
    command = ("-m", "outpaint_engine", "bench", "--engines", plan.engines, "--device", plan.device)
    return Step(
        f"bench-{size}", f"A picture of {size}x{size}, stage by stage?", 60, (*command, *canvas, f"--out={out}")
    )


def _compare(plan: Plan, size: int) -> Step:
    ours = [f"ours:{plan.device}:auto", *([f"ours:{plan.device}:auto:cuda_graph=false"] if plan.on_gpu else [])]
    torch = "diffusers:cuda:fp16" if plan.on_gpu else "diffusers:cpu:fp32"
    # Inductor compiles for minutes on a CPU.
    compiled = "aot_eager" if plan.small else "reduce-overhead"
    sides = (*ours, torch, f"{torch}:channels_last=true", f"{torch}:channels_last=true:compile={compiled}")
    steps, rounds = ("2", "1") if plan.small else ("20", "5")
    return Step(
        f"compare-{size}",
        f"Beside diffusers at {size}x{size}, in turns: who is faster?",
        200,
        (
            "-m",
            "benchmarks.compare",
            f"--checkpoint={plan.model / 'diffusers'}",
            f"--engines={plan.engines}",
            *(f"--side={side}" for side in sides),
            "--leave-out-failing",
            f"--size={size}x{size}",
            f"--steps={steps}",
            f"--rounds={rounds}",
            f"--out={plan.out}/compare-{size}.json",
        ),
    )


def _torch(plan: Plan, way: str) -> Step:
    if way == "reduce-overhead" and plan.small:
        way = "aot_eager"
    place = ("--device=cuda",) if plan.on_gpu else ("--device=cpu",)
    few = ("--few",) if plan.small else ()
    asked = (f"--architecture={plan.architecture}", f"--way={way}", f"--size={plan.sizes[0]}")
    command = ("-m", "benchmarks.gpu.torch_unet", *place, *few, *asked, f"--out={plan.out}/torch-{way}.json")
    seconds = 150 if way == "reduce-overhead" else 60
    return Step(f"torch-{way}", f"A call of torch's UNet, {way}: how long?", seconds, command, needs_model=False)


def _noise(plan: Plan) -> Step:
    answers = "Is our noise torch's on CUDA, bit by bit?"
    return Step("noise", answers, 40, _ours("noise", plan), needs_model=False)
