"""What a picture file says of itself: that a model painted part of it, by which tool, and on which request.

The mark is IPTC's digital source type in an XMP packet (ISO 16684-1), which the EU AI Act's article 50 asks for in
substance: machine-readable, and in a form that others read. The request stands in PNG's text chunks and in EXIF's
UserComment as AUTOMATIC1111's web UI writes and reads it, and as JSON in PNG's text and in the packet.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

__all__ = ["SOURCE_TYPE", "XMP_TAG", "Provenance", "packet", "saving"]

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a picture of which a part was made by a trained model."""
XMP_TAG = 700
"""The TIFF field that holds an XMP packet."""
EXIF_FIELDS, USER_COMMENT, SOFTWARE = 0x8769, 0x9286, 0x0131
SEGMENT = 65_000
"""Bytes of EXIF or XMP that a JPEG has room for: a segment has 65,533, and each names itself first."""
NO_XML = re.compile("[\ufffe\uffff]")
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:outpaint="urn:outpaint_engine/">
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>{tool}</xmp:CreatorTool>{request}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


class Provenance(NamedTuple):
    """What to write: the tool and its version, the request as JSON holds it, and as the web UI's text."""

    tool: str
    request: Mapping[str, Any]
    parameters: str


def packet(provenance: Provenance, most: int | None = None) -> bytes:
    """The XMP packet; without the request where it would be longer than `most` bytes."""
    # Of the characters that XML has no way to write, JSON escapes all but these two by itself.
    text = NO_XML.sub(lambda found: f"\\u{ord(found[0]):x}", _json(provenance))
    stated = {"source": SOURCE_TYPE, "tool": escape(provenance.tool)}
    content = PACKET.format(request=f"\n<outpaint:request>{escape(text)}</outpaint:request>", **stated).encode()
    return content if most is None or len(content) <= most else PACKET.format(request="", **stated).encode()


def saving(kind: str, provenance: Provenance) -> dict[str, Any]:
    """What Pillow's `save` is told for a format of `FORMATS`."""
    if kind == "PNG":
        return {"pnginfo": _png(provenance)}
    if kind == "TIFF":
        return {"tiffinfo": {XMP_TAG: packet(provenance)}}
    most = SEGMENT if kind == "JPEG" else None
    exif = _exif(provenance)
    return {"xmp": packet(provenance, most)} | ({"exif": exif} if most is None or len(exif) <= most else {})


def _json(provenance: Provenance) -> str:
    return json.dumps(provenance.request, ensure_ascii=False)


def _png(provenance: Provenance) -> "PngInfo":
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet(provenance).decode())
    info.add_text("parameters", provenance.parameters)
    info.add_itxt("outpaint_engine", _json(provenance))
    return info


def _exif(provenance: Provenance) -> bytes:
    from PIL.Image import Exif

    exif = Exif()
    exif[SOFTWARE] = provenance.tool
    exif[EXIF_FIELDS] = {USER_COMMENT: b"UNICODE\0" + provenance.parameters.encode("utf-16-be")}
    return exif.tobytes()
