"""Times calls of diffusers' UNet alone on torch, with random weights, so that it needs neither a model nor ours."""

import time

import torch
from diffusers import UNet2DConditionModel
from outpaint_export.sources.synthetic import ARCHITECTURES

from ..sides.torch_pipeline import MODES
from .results import arguments, timed, write

TOKENS = 77


def main() -> None:
    parser = arguments("torch_unet", "Time torch's UNet.")
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), default="sd15")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--way", default="eager", help="eager, channels_last, or a mode or backend of torch.compile")
    given = parser.parse_args()
    cuda = given.device == "cuda"
    dtype, layout = torch.float16 if cuda else torch.float32, torch.channels_last
    began = time.perf_counter()
    config = {**ARCHITECTURES[given.architecture].unet, "in_channels": 9}
    with torch.device(given.device):
        unet = UNet2DConditionModel.from_config(config).to(dtype).eval()
        sample = torch.randn(2, 9, given.size // 8, given.size // 8, dtype=dtype)
        context = torch.randn(2, TOKENS, config["cross_attention_dim"], dtype=dtype)
        timestep = torch.full((2,), 500)
    if given.way != "eager":
        unet, sample = unet.to(memory_format=layout), sample.to(memory_format=layout)
    if given.way not in ("eager", "channels_last"):
        how = {"mode": given.way} if given.way in MODES else {"backend": given.way}
        unet = torch.compile(unet, fullgraph=True, **how)

    def call() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        unet(sample, timestep, encoder_hidden_states=context, return_dict=False)
        if cuda:
            torch.cuda.synchronize()

    with torch.inference_mode():
        call()
        ready = time.perf_counter() - began
        found = timed(call, given.few)
    asked = {"way": given.way, "size": given.size, "rows": 2, "device": given.device}
    write(given.out, {**asked, **found, "ready_s": round(ready, 1), "torch": torch.__version__})


if __name__ == "__main__":
    main()
