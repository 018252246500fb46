"""A setting in one word, as the command line takes it and the result file names it."""

from dataclasses import dataclass
from typing import Any

from outpaint_engine import OutpaintRequest
from outpaint_engine.denoise import LEVELS, Reuse

__all__ = ["Setting"]

OPTIONS = ("reuse", "damping", "method", "guidance_every", "window", "decoder")


@dataclass(frozen=True)
class Setting:
    """SCHEDULER:STEPS[:OPTION=VALUE...], such as `UniPC:15`, `DDIM:25:reuse=careful` or `DDIM:25:reuse=3:damping=0`."""

    text: str
    fields: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> "Setting":
        """Take a setting apart; a ValueError says what is wrong."""
        scheduler, _, rest = text.partition(":")
        steps, *options = rest.split(":")
        given = dict(option.split("=", 1) for option in options if "=" in option)
        if not steps.isdigit() or len(given) != len(options) or set(given) - set(OPTIONS):
            raise ValueError(f"A setting is SCHEDULER:STEPS[:OPTION=VALUE...] with {', '.join(OPTIONS)}; not {text!r}.")
        fields: dict[str, Any] = {"scheduler": scheduler, "num_inference_steps": int(steps)}
        if "reuse" in given:
            level = given["reuse"]
            every = LEVELS[level].every if level in LEVELS else int(level)
            numbers = {"damping": float(given["damping"])} if "damping" in given else {}
            method = {"method": given["method"]} if "method" in given else {}
            named = level in LEVELS and not numbers and not method
            fields["reuse"] = level if named else Reuse(every, **numbers, **method)
        if "guidance_every" in given:
            fields["guidance_every"] = int(given["guidance_every"])
        if "window" in given:
            fields["window"] = given["window"] == "on"
        if "decoder" in given:
            fields["decoder"] = given["decoder"]
        OutpaintRequest(image=None, **fields)
        return cls(text, fields)

    @property
    def exact(self) -> "Setting":
        """The same scheduler and steps, every one of them whole."""
        scheduler, steps = self.fields["scheduler"], self.fields["num_inference_steps"]
        return Setting.read(f"{scheduler}:{steps}")
