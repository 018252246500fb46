"""LoRAs named in a prompt, as AUTOMATIC1111's web UI writes them: `<lora:name:0.8>`, or `<lora:name>` for 1."""

import re
from typing import NamedTuple

from ..adapters.strengths import checked_strength
from ..errors import RequestError

__all__ = ["Tagged", "lora_tags"]

TAG = re.compile(r"<lora:([^<>:]*+)(?::([^<>]*+))?>")


class Tagged(NamedTuple):
    """A prompt without its tags, and what they name, each with its strength."""

    text: str
    loras: dict[str, float]


def lora_tags(prompt: str) -> Tagged:
    """Take the tags out of a prompt.

    Raises:
        RequestError: a strength is no number from -100 to 100, or a name is given twice.
    """
    found: dict[str, float] = {}
    for name, strength in TAG.findall(prompt):
        if name in found:
            raise RequestError(f"The prompt names the LoRA {name!r:.60} twice. Leave one of the tags out.")
        found[name] = checked_strength(name, strength or "1")
    return Tagged(TAG.sub("", prompt), found)
