"""Compares our noise "torch-cuda" with what torch draws on this GPU, value by value."""

import numpy as np
import torch

from outpaint_engine.noise.sources import noise_source

from .results import arguments, write

SHAPES = ((1, 4, 64, 64), (1, 4, 96, 96), (1, 4, 128, 128), (2, 4, 128, 128))
SEEDS = (0, 42, 2**40 + 7)
DRAWS = 3
"""Of one generator, so that its counter is seen to move as torch's does."""


def main() -> None:
    given = arguments("noise", "Compare our noise with torch's.").parse_args()
    properties = torch.cuda.get_device_properties(0)
    threads = properties.multi_processor_count * properties.max_threads_per_multi_processor
    rows = []
    for shape in SHAPES:
        for seed in SEEDS:
            ours, theirs = noise_source("torch-cuda", seed), torch.Generator("cuda").manual_seed(seed)
            drawn = [
                (ours.normal(shape), torch.randn(shape, generator=theirs, device="cuda").cpu().numpy())
                for _ in range(DRAWS)
            ]
            apart = max(float(np.abs(left - right).max()) for left, right in drawn)
            equal = float(np.mean([(left.view(np.int32) == right.view(np.int32)).mean() for left, right in drawn]))
            rows.append({"shape": shape, "seed": seed, "largest_difference": apart, "equal_bits": round(equal, 5)})
    write(given.out, {"threads": threads, "draws": rows})


if __name__ == "__main__":
    main()
