"""What a file carries beside its pixels: which kinds of metadata, and what in them names a generator.

Only presence is read, never believed and never acted on: none of it has an influence on pixels or scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keys under which generators write into PNG text chunks: Automatic1111 and Forge; ComfyUI; InvokeAI, new and old; the first Stable Diffusion tools.
GENERATOR_KEYS = ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream")
# Values of IPTC's digital source type that mean "made by a model", in whole or in part; the second holds the first.
MADE_BY_MODEL = (b"compositeWithTrainedAlgorithmicMedia", b"trainedAlgorithmicMedia")
NO_TEXT = frozenset(["XML:com.adobe.xmp", "compression"])  # Pillow's own texts, and XMP, which is a kind of its own
MANIFEST = b"jumdc2pa"  # of the JUMBF box that holds a C2PA manifest store (C2PA 2.x, clause 11.1.4.1): its type, then the start of its UUID
TEXT_BYTES = 2**20  # of a block of metadata that are searched (our choice)


def kinds(info: Mapping[Any, object], data: bytes) -> tuple[str, ...]:
    """Kinds of metadata in a file, in alphabetical order: of ``c2pa``, ``comment``, ``exif``, ``iptc``, ``text`` and ``xmp``.

    Args:
        info: Pillow's `Image.info` of the opened file.
        data: The file.
    """
    found = {"exif"} if info.get("exif") else set()
    found |= {"xmp"} if _xmp(info) else set()
    found |= {"iptc"} if info.get("photoshop") else set()
    found |= {"comment"} if info.get("comment") else set()
    found |= {"text"} if any(isinstance(value, str) and key not in NO_TEXT for key, value in info.items()) else set()
    found |= {"c2pa"} if MANIFEST in data else set()
    return tuple(sorted(found))


def generator_notes(info: Mapping[Any, object]) -> tuple[str, ...]:
    """What in a file's metadata says that a generator made it: such as ``text:parameters`` or ``xmp:trainedAlgorithmicMedia``.

    Text chunks by the keys that generators use, their settings in EXIF, and the digital source type in XMP. Anyone can write these, and most services
    remove them: a note says what the file claims, and no note says nothing.
    """
    found = [f"text:{key}" for key in GENERATOR_KEYS if isinstance(info.get(key), str)]
    exif = info.get("exif")
    plain = exif[:TEXT_BYTES].replace(b"\0", b"") if isinstance(exif, bytes) else b""  # also UTF-16, which user comments are in
    if b"Steps: " in plain and b"Sampler: " in plain:
        found.append("exif:parameters")
    packet = _xmp(info)[:TEXT_BYTES]
    claim = next((value for value in MADE_BY_MODEL if value in packet or value[:1].upper() + value[1:] in packet), None)
    return tuple(found) if claim is None else (*found, f"xmp:{claim.decode()}")


def _xmp(info: Mapping[Any, object]) -> bytes:
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    if isinstance(packet, tuple):  # TIFF gives its tags' values
        packet = packet[0] if packet else b""
    return packet.encode("utf-8", "replace") if isinstance(packet, str) else packet if isinstance(packet, bytes) else b""
