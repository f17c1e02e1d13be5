"""XMP (ISO 16684-1): the digital source type and other properties, read as XML. Unsigned: any tool writes any of it."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from realgrain.evidence.claims import Claim, clean
from realgrain.evidence.containers import Block

MAX_PACKET = 2**20  # bytes (our choice)
MAX_DESCRIPTIONS = 100

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_ROOTS = ("{adobe:ns:meta/}xmpmeta", "{adobe:ns:meta/}xapmeta")
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_TIFF, _BASIC, _AUX = "{http://ns.adobe.com/tiff/1.0/}", "{http://ns.adobe.com/xap/1.0/}", "{http://ns.adobe.com/exif/1.0/aux/}"
_PHOTOSHOP, _TERMS = "{http://ns.adobe.com/photoshop/1.0/}", "{http://purl.org/dc/terms/}"


def claims(block: Block) -> tuple[list[Claim], list[str]]:
    """What an XMP packet says, and notes.

    Only properties of the picture itself count, not those nested in others: these speak of ingredients, of former versions, of faces.
    """
    packet = block.data.strip(b"\0 \t\r\n")
    if len(packet) > MAX_PACKET:
        return [], [f"{block.place}: larger than {MAX_PACKET:,} bytes, not read"]
    try:
        root = fromstring(packet)
    except (ParseError, DefusedXmlException, ValueError, LookupError):  # the last two: encodings
        return [], [f"{block.place}: not well-formed XML, not read"]
    properties = _properties(root)
    elsewhere = properties.get(f"{_TERMS}provenance", "")
    notes = [f"the XMP names a C2PA manifest elsewhere, which was not fetched: {elsewhere}"] if elsewhere.startswith("http") else []
    make, model = properties.get(f"{_TIFF}Make", ""), properties.get(f"{_TIFF}Model", "")
    said = {
        "source_type": properties.get(f"{_IPTC}DigitalSourceType") or properties.get(f"{_IPTC}digitalSourceType"),
        "generator": properties.get(f"{_IPTC}AISystemUsed"),
        "software": properties.get(f"{_BASIC}CreatorTool"),
        "camera": (model if model.lower().startswith(make.lower()) else f"{make} {model}").strip(),
        "lens": properties.get(f"{_AUX}Lens"),
        "credit": properties.get(f"{_PHOTOSHOP}Credit"),
        "time": properties.get(f"{_BASIC}CreateDate") or properties.get(f"{_PHOTOSHOP}DateCreated"),
    }
    return [Claim(kind="xmp", place=block.place, **said)] if any(said.values()) else [], notes


def _properties(root: Element) -> dict[str, str]:
    """Simple properties of the picture, by their full names: attributes of a description, or elements in it."""
    rdf = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF") if root.tag in _ROOTS else None
    found: dict[str, str] = {}
    for description in rdf.findall(f"{_RDF}Description")[:MAX_DESCRIPTIONS] if rdf is not None else ():
        values = [*description.items(), *((child.tag, child.get(f"{_RDF}resource") or child.text) for child in description if not len(child))]
        for name, value in values:
            text = clean(value)
            if text:
                found.setdefault(name, text)
    return found
