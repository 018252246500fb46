"""What a person should know about a run before it begins, a sentence each."""

from collections.abc import Sequence

from ..adapters import UsedLora
from ..components import TINY_DECODER, Unet, VaeDecoder
from ..engine_set import EngineSet
from ..errors import RequestError
from ..request import OutpaintRequest
from ..samplers import Walk

__all__ = ["decoder_notes", "distilled_notes", "lora_notes", "size_notes", "timestep_notes", "weight_notes"]


def weight_notes(engine_set: EngineSet) -> list[str]:
    """What random weights paint must not be taken for a model's work."""
    if not engine_set.synthetic:
        return []
    return [
        f"The engine set is synthetic ({engine_set.source['name']}), for measuring speed: what it paints means nothing."
    ]


def lora_notes(loras: Sequence[UsedLora]) -> list[str]:
    """What is merged into the model, which nothing else in the picture says."""
    return ["LoRAs: " + ", ".join(f"{lora.name} at {lora.strength:g}" for lora in loras) + "."] if loras else []


def decoder_notes(decoder: VaeDecoder) -> list[str]:
    """What a tiny decoder makes of latents is near what the VAE's makes, and beside plans it is on another device."""
    if decoder.part != TINY_DECODER:
        return []
    return [
        f"decoder: the engine set's tiny one, on {decoder.engine.backend}, makes the picture of the latents, so it "
        "differs from an exact run's. See docs/speed.md."
    ]


def distilled_notes(request: OutpaintRequest, unet: Unet) -> list[str]:
    """What of guidance a UNet that is told its scale does not know.

    Raises:
        RequestError: the request asks for a form of guidance that needs a second prediction.
    """
    if not unet.takes_guidance:
        return []
    usual = {"guidance_rescale": 0.0, "guidance_interval": (0.0, 1.0), "guidance_every": 1}
    for name, value in usual.items():
        if getattr(request, name) != value:
            raise RequestError(f"{name} cannot be used: this UNet was distilled with guidance and is told its scale.")
    return ["The negative prompt is not read: this UNet was distilled with guidance."] if request.negative_text else []


def size_notes(request: OutpaintRequest, native_size: int) -> list[str]:
    """A canvas far beyond what the model was trained at is slow, and shows things twice."""
    if request.width * request.height <= 4 * native_size**2:
        return []
    return [
        f"The canvas is {request.width}x{request.height} and the model was trained at {native_size}x{native_size}: "
        "this is slow, and things may appear twice. Use a smaller scale."
    ]


def timestep_notes(walk: Walk, unet: Unet) -> list[str]:
    """A graph of whole timesteps cannot be asked between two of them."""
    if not unet.whole_timesteps or all(walk.times[index].t.is_integer() for index in walk.calls):
        return []
    return [
        "This scheduler looks between timesteps and this engine set takes whole ones, so it is told the nearest: the "
        "picture differs slightly from diffusers'. Export the checkpoint again for a UNet that takes any."
    ]
