"""EXIF (CIPA DC-008): camera, lens, software, time. Unsigned: any tool writes any of it."""

from __future__ import annotations

from realgrain.evidence import generators
from realgrain.evidence.claims import Claim
from realgrain.evidence.containers import MAX_BYTES, Block
from realgrain.picture import ifd

MAX_FIELD = 4096  # bytes of a text field (our choice)
_MAKE, _MODEL, _SOFTWARE, _CHANGED, _EXIF = 0x010F, 0x0110, 0x0131, 0x0132, 0x8769
_TAKEN, _COMMENT, _SERIAL, _LENS = 0x9003, 0x9286, 0xA431, 0xA434


def claims(block: Block) -> list[Claim]:
    """What an EXIF block says: the camera's claim, and a generator's where its settings stand in the user comment or, of ComfyUI, in the maker."""
    texts = _texts(block.data)
    comments = (generators.webui(text, "exif", f"{block.place}, UserComment") for text in _comments(texts.pop(_COMMENT, b"")))
    found = [next(filter(None, comments), None)]
    for tag, key in ((_MAKE, "workflow"), (_MODEL, "prompt")):
        text = texts.get(tag, b"").decode("utf-8", "replace").strip("\0 ")
        if text.startswith(f"{key}:"):
            found.append(generators.comfyui(key, text[len(key) + 1 :], "exif", f"{block.place}, ComfyUI's {key}"))
            texts.pop(tag)
    plain = {tag: text[:MAX_FIELD].split(b"\0")[0].decode("utf-8", "replace").strip() for tag, text in texts.items()}
    make, model = plain.get(_MAKE, ""), plain.get(_MODEL, "")
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}"
    said = {
        "camera": camera.strip(),
        "lens": plain.get(_LENS),
        "serial": plain.get(_SERIAL),
        "software": plain.get(_SOFTWARE),
        "time": plain.get(_TAKEN) or plain.get(_CHANGED),
    }
    if any(said.values()):
        found.append(Claim(kind="exif", place=block.place, **said))
    return [claim for claim in found if claim is not None]


def _texts(data: bytes) -> dict[int, bytes]:
    """Values of the tags above that hold text, of the first directory and of EXIF's own; of several entries of a tag the first counts."""
    entries = ifd.entries(data)
    start = ifd.number(data, _EXIF)
    if start is not None:
        entries += ifd.entries(data, start)
    wanted = (_MAKE, _MODEL, _SOFTWARE, _CHANGED, _TAKEN, _COMMENT, _SERIAL, _LENS)
    found = dict[int, bytes]()
    for entry in entries:
        if entry.tag in wanted and entry.kind in (1, 2, 7) and entry.tag not in found:
            found[entry.tag] = ifd.content(data, entry, MAX_BYTES)
    return found


def _comments(value: bytes) -> list[str]:
    """A user comment: eight bytes that name its characters, then these; UTF-16 read in both orders, since writers do not agree on which."""
    code, text = value[:8], value[8:]
    if code == b"UNICODE\0":
        return [text.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
    return [(text if code in (b"ASCII\0\0\0", bytes(8)) else value).decode("utf-8", "replace")]
