"""Signed content credentials (C2PA): who painted a picture, from which original, in a manifest that shows any change.

The manifest says that the picture was opened from its original (`c2pa.opened`, the ingredient `parentOf`) and edited by
a trained model (`c2pa.edited`, IPTC's `compositeWithTrainedAlgorithmicMedia`). Pixels stay as they are. The extra
`c2pa` brings `c2pa-python`, which is imported when something is signed.
"""

import importlib.util
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BackendUnavailable, OutputError, RequestError
from .opening import open_picture
from .picture import to_image
from .provenance import SOURCE_TYPE
from .writing import encode

__all__ = ["ALGORITHMS", "Credentials", "original_of"]

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
MIME: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
"""File endings that are signed."""
STARTS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
TOOL = "outpaint_engine"
SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
"""Thumbnails would take most of the time and up to a megabyte; what was just signed need not be read again."""


@dataclass(frozen=True)
class Credentials:
    """What signs: PEM texts of the certificate chain, the signer's first, and of its private key; and the algorithm.

    Nobody else is asked: without a time stamp of an authority the signature counts as long as the certificate does.
    """

    certificates: str
    key: str
    algorithm: str = "es256"

    @classmethod
    def read(cls, certificates: str | Path, key: str | Path, algorithm: str = "es256") -> "Credentials":
        """From two PEM files, tried on a picture of one pixel.

        Raises:
            RequestError: a file cannot be read, or there is no such algorithm.
            OutputError: nothing can be signed with them.
            BackendUnavailable: c2pa-python is not installed.
        """
        if importlib.util.find_spec("c2pa") is None:
            raise BackendUnavailable(
                'Content credentials need c2pa-python. Try: pip install "outpaint_engine[c2pa]", or leave them out.'
            )
        if algorithm not in ALGORITHMS:
            raise RequestError(f"The algorithm of the signing key must be one of {', '.join(ALGORITHMS)}.")
        texts = []
        for path in (certificates, key):
            try:
                texts.append(Path(path).read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                raise RequestError(f"{path} cannot be read as PEM: {error}. Give the file of a key pair.") from error
        credentials = cls(texts[0], texts[1], algorithm)
        pixel = encode(to_image(np.zeros((1, 1, 3), np.uint8)), ".png")
        credentials.sign(pixel, ".png", ("image/png", pixel), "")
        return credentials

    def sign(self, content: bytes, suffix: str, original: tuple[str, bytes], version: str) -> bytes:
        """The file `content` of an ending in PNG, JPEG or WebP with credentials in it.

        `original` is the MIME type and the bytes of the picture that was extended, `version` this program's.

        Raises:
            OutputError: another ending, or certificate, key and algorithm do not belong together.
        """
        from c2pa import Builder, C2paError, C2paSignerInfo, Context, Settings, Signer

        if suffix not in MIME:
            raise OutputError(f"Content credentials go into {', '.join(MIME)}; not into {suffix}. Choose one of these.")
        kind, source = original
        signed = io.BytesIO()
        try:
            pair = self.certificates.encode(), self.key.encode()
            signer = Signer.from_info(C2paSignerInfo(self.algorithm, *pair, None))
            context = Context(Settings.from_dict(SETTINGS))
            with signer, context, Builder(_manifest(version, MIME[suffix]), context) as builder:
                ingredient = {"title": "original", "relationship": "parentOf", "label": "original"}
                builder.add_ingredient(json.dumps(ingredient), kind, io.BytesIO(source))
                builder.sign(signer, MIME[suffix], io.BytesIO(content), signed)
        except C2paError as error:
            raise OutputError(
                f"The picture cannot be signed: {error}. Check that certificate, key and algorithm belong together, "
                "and that the certificate is one for C2PA."
            ) from error
        return signed.getvalue()


def original_of(given: str | bytes) -> tuple[str, bytes]:
    """MIME type and bytes of a picture's file for `Credentials.sign`; of a format that it does not take, as PNG."""
    content = given if isinstance(given, bytes) else Path(given).read_bytes()
    for start, kind in STARTS.items():
        if content.startswith(start):
            return kind, content
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp", content
    return "image/png", encode(to_image(open_picture(content).pixels), ".png")


def _manifest(version: str, kind: str) -> str:
    agent = {"name": TOOL, "version": version}
    actions = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}},
        {"action": "c2pa.edited", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent},
    ]
    return json.dumps(
        {
            "claim_generator_info": [agent],
            "format": kind,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
        }
    )
