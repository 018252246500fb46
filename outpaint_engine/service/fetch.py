"""Pictures by URL. Off until a fetcher exists that checks every address when it connects."""

from .answers import Refusal

__all__ = ["fetch_image"]


def fetch_image(url: str) -> bytes:
    """The bytes of the picture at an http(s) address.

    Raises:
        Refusal: 406, always: this version fetches nothing.
    """
    raise Refusal(406, "image: this server takes no pictures by URL; send base64 or a data URL.", "input")
