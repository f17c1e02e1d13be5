"""What a file says of its own origin, beside the score and never in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from realgrain.evidence import c2pa, exif, generators, iptc, xmp
from realgrain.evidence.c2pa import TrustList
from realgrain.evidence.claims import MAX_CLAIMS, MAX_NOTES, Claim, Evidence
from realgrain.evidence.containers import Block, Contents, contents, stray_manifest
from realgrain.evidence.watermark import watermark
from realgrain.picture.image import Picture, open_file

_ORDER = {"c2pa": 0, "watermark": 1, "text": 2, "xmp": 3, "iptc": 4, "exif": 5, "comment": 6}  # of claims: the strongest first
TRAILERS = "phones append second pictures and videos there; anyone can append anything"


def provenance(source: str | os.PathLike[str] | bytes, picture: Picture | None = None, *, trust_list: TrustList | None = None) -> Evidence:
    """Read what a file says of itself: C2PA, XMP, IPTC, EXIF, generators' text, comments, and one known invisible watermark.

    Each only at its proper place in the file. Nothing is fetched from the network. Broken metadata is noted and stops nothing.

    Args:
        source: path, or the bytes of a file.
        picture: the same file opened, which spares opening the bytes again.
        trust_list: certificates whose signatures are trusted; None: none is.

    Raises:
        PictureError: it cannot be read as a picture; names the file and the reason.
    """
    if picture is None or not isinstance(source, bytes):
        picture, data = open_file(source)
    else:
        data = source
    try:
        found = contents(picture.format, data, generators.KEYS)
    except Exception as error:  # strangers' bytes: whatever they do to a reader, a picture is judged all the same
        return Evidence(notes=[f"metadata cannot be read ({type(error).__name__})"], trust_list=None if trust_list is None else trust_list.facts)
    claims, more = _read(found.blocks, data, picture.format, trust_list)
    mark = watermark(picture.pixels)
    if mark:
        claims.append(Claim(kind="watermark", place="pixels, invisible watermark dwtDct", generator="Stable Diffusion or FLUX", model=mark))
    claims.sort(key=lambda claim: _ORDER[claim.kind])
    return Evidence(
        claims=claims[:MAX_CLAIMS],
        carries=sorted({block.kind for block in found.blocks}),
        notes=[*_notes(found, data, len(claims)), *more][:MAX_NOTES],
        trust_list=None if trust_list is None else trust_list.facts,
    )


def _notes(found: Contents, data: bytes, claims: int) -> Iterator[str]:
    """Of the file as a whole. They come first, so that no number of broken blocks can crowd them out."""
    if found.trailer:
        yield f"{found.trailer:,} bytes follow the end of the picture: not read ({TRAILERS})"
    if not found.complete or claims > MAX_CLAIMS:
        yield f"more metadata than is shown: the first {MAX_CLAIMS} claims of {len(found.blocks)} blocks"
    if all(block.kind != "c2pa" for block in found.blocks) and stray_manifest(data):
        yield "bytes of a C2PA manifest stand where none belongs: not believed"


def _read(blocks: Sequence[Block], data: bytes, kind: str, trust_list: TrustList | None) -> tuple[list[Claim], list[str]]:
    texts = [block for block in blocks if block.kind == "text"]
    claims, notes = list[Claim](), list[str]()
    done: set[str] = set()
    for block in blocks:
        if block.kind in done:
            # Of several, the first counts, for readers everywhere. Comments are as many as there are, and texts are read together.
            if block.kind != "text":
                notes.append(f"a further block at {block.place}: not read")
            continue
        if block.kind != "comment":
            done.add(block.kind)
        try:
            said, more = _claims(block, texts, data, kind, trust_list)
        except Exception as error:  # likewise
            said, more = [], [f"{block.place}: cannot be read ({type(error).__name__})"]
        claims += said
        notes += more
    return claims, notes


def _claims(block: Block, texts: Sequence[Block], data: bytes, kind: str, trust_list: TrustList | None) -> tuple[list[Claim], list[str]]:
    match block.kind:
        case "c2pa":
            return c2pa.claims(data, kind, block.place, trust_list)
        case "xmp":
            return xmp.claims(block)
        case "iptc":
            return iptc.claims(block), []
        case "exif":
            return exif.claims(block), []
        case "text":
            return generators.claims(texts), []
        case "comment":
            return [Claim(kind="comment", place=block.place, text=block.data.decode("utf-8", "replace"))], []
        case "watermark":  # stands in pixels, never in a block
            return [], []
