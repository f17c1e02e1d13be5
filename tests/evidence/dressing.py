"""Puts metadata into files, at its proper place or anywhere else. Importing this builds nothing."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
BOX = (60).to_bytes(4) + b"jumb" + (38).to_bytes(4) + b"jumd" + bytes.fromhex("6332706100110010800000aa00389b71") + b"\3c2pa\0" + bytes(14)
WEBUI = "a cat on a mat\nNegative prompt: dogs\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: dream, Version: v1.9.4"
COMFY = (
    '{"3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0]}}, '
    '"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "xl.ckpt"}}}'
)


def encoded(kind="PNG", pixels=PIXELS, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def xmp(properties: str = f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"', inside: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:dcterms="http://purl.org/dc/terms/" '
        f"{properties}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def in_jpeg(*segments: bytes, data: bytes | None = None) -> bytes:
    data = data or encoded("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def in_png(*chunks: bytes, data: bytes | None = None) -> bytes:
    data = data or encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def text(key: str, value: str | bytes, name: bytes = b"tEXt") -> bytes:
    value = value.encode() if isinstance(value, str) else value
    middle = {b"tEXt": b"\0", b"zTXt": b"\0\0", b"iTXt": b"\0\0\0\0\0"}[name]
    return chunk(name, key.encode() + middle + (zlib.compress(value) if name == b"zTXt" else value))


def xmp_in(kind: str, packet: bytes) -> bytes:
    if kind == "PNG":
        return in_png(text("XML:com.adobe.xmp", packet, b"iTXt"))
    if kind == "GIF":
        data = encoded("GIF")
        trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
        return data[:-1] + b"!\xff\x0bXMP DataXMP" + packet + trailer + data[-1:]
    if kind == "TIFF":
        return encoded("TIFF", tiffinfo={700: packet})
    return encoded(kind, xmp=packet)


def exif(comment: bytes = b"", make="Canon", model="Canon EOS 5D", **more: str) -> Image.Exif:
    block = Image.Exif()
    block[0x010F], block[0x0110], block[0x0131], block[0x0132] = make, model, "Firmware 1.1", "2020:02:03 04:05:06"
    block.get_ifd(0x8769)[0xA434] = "EF 50mm"
    block.get_ifd(0x8769)[0xA431] = "0123456"
    if comment:
        block.get_ifd(0x8769)[0x9286] = comment
    return block
