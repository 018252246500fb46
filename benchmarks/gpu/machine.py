"""Which card and libraries there are, and how fast torch multiplies and copies on it: the ceilings of what follows."""

from typing import Any

from outpaint_engine.engines import BACKENDS
from outpaint_engine.machine import find_gpu

from .results import arguments, timed, write

SIDE, BYTES = 8192, 2**30


def ceilings() -> dict[str, Any]:
    """Tensor cores in float16, and memory, in 10^12 operations and bytes a second; the reason where torch cannot."""
    try:
        import torch

        left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.float16) for _ in "ab")
        source = torch.empty(BYTES, device="cuda", dtype=torch.uint8)
        target = torch.empty_like(source)

        def waited(work: Any) -> float:
            def call() -> None:
                work()
                torch.cuda.synchronize()

            return float(timed(call, few=False)["ms"]) / 1e3

        product, copy = waited(lambda: left @ right), waited(lambda: target.copy_(source))
    except (ImportError, RuntimeError, AssertionError) as error:
        return {"torch": f"not measured: {error}"[:300]}
    return {"matmul_tflops": round(2 * SIDE**3 / product / 1e12, 1), "copy_tb_s": round(2 * BYTES / copy / 1e12, 3)}


def main() -> None:
    given = arguments("machine", "Say what this machine is.").parse_args()
    backends = {backend.name: backend.probe() for backend in BACKENDS}
    usable = {name: probe.device if probe.usable else probe.reason for name, probe in backends.items()}
    write(given.out, {"gpu": find_gpu(), "backends": usable, **({} if given.device == "ort-cpu" else ceilings())})


if __name__ == "__main__":
    main()
