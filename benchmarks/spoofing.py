"""Do false words in a file move a verdict? Writes spoofed metadata into labelled pictures, without touching their pixels, and judges them again.

    python benchmarks/spoofing.py data/manifest.csv --each 10 -o results/evidence/spoofing.json

Real photographs get what generators write, at its proper place and where it does not belong; generated ones get a camera's EXIF. Segments of JPEG
and chunks of PNG and WebP are put in as they are; files of other formats are passed over. Of each source of the test split the pictures whose sha256
comes first are taken.
"""

import argparse
import io
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from pydantic import BaseModel

from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector, load
from realgrain.detector.verdict import Report
from realgrain.evidence.claims import Claim, Evidence
from realgrain.evidence.provenance import provenance
from realgrain.faces.show import progress
from realgrain.learning.data import read_manifest
from realgrain.learning.problem import first_of_each
from realgrain.measuring.ledger import write_result
from realgrain.picture.image import Picture, PictureError, open_picture

MODEL = "spoofed.safetensors"
WEBUI = f"a photograph\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: {MODEL}, Version: v1.9.4"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta>'
).encode()
C2PA = (60).to_bytes(4) + b"jumb" + (38).to_bytes(4) + b"jumd" + bytes.fromhex("6332706100110010800000aa00389b71") + b"\3c2pa\0" + bytes(14)
"""The head of a manifest store, with nothing behind it."""
CAMERA = ("Canon", "EOS Spoofed")


class Count(BaseModel):
    """Of the spoofed files of one kind: how many had the same logits to the last bit, and the same verdict with all its parts; and the words' fate.

    Attributes:
        unsigned: shown, as unsigned claims.
        invalid: shown, as a signature that does not hold.
        not_believed: no claim of theirs is shown.
        believed: shown as signed. One is too many.
    """

    files: int = 0
    same_logits: int = 0
    same_verdict: int = 0
    unsigned: int = 0
    invalid: int = 0
    not_believed: int = 0
    believed: int = 0


class Found(BaseModel):
    """By label and kind of spoof; pictures by label, those passed over by format, verdicts of the pictures as they are, and what went wrong."""

    pictures: dict[str, int]
    passed_over: dict[str, int]
    verdicts: dict[str, dict[str, int]]
    spoofs: dict[str, dict[str, Count]]
    faults: list[str]


def segment(marker: int, body: bytes) -> bytes:
    """Of a JPEG."""
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def riff(data: bytes, name: bytes, body: bytes) -> bytes:
    """A WebP file with one chunk more, and the header that metadata takes (https://developers.google.com/speed/webp/docs/riff_container)."""
    chunks = data[12:]
    if chunks[:4] != b"VP8X":
        with Image.open(io.BytesIO(data)) as image:
            alpha, size = 0x10 * (image.mode == "RGBA"), b"".join((side - 1).to_bytes(3, "little") for side in image.size)
        chunks = b"VP8X" + struct.pack("<LL", 10, alpha) + size + chunks
    flags = chunks[8] | {b"EXIF": 0x08, b"XMP ": 0x04}.get(name, 0)
    more = name + struct.pack("<L", len(body)) + body + bytes(len(body) % 2)
    chunks = chunks[:8] + bytes([flags]) + chunks[9:18] + more + chunks[18:]
    return b"RIFF" + struct.pack("<L", len(chunks) + 4) + b"WEBP" + chunks


def exif(orientation: int | None, comment: bytes = b"", camera: tuple[str, str] | None = None) -> bytes:
    """A block of EXIF. It turns the picture as the file's own does, since it comes before it."""
    block = Image.Exif()
    if camera:
        block[0x010F], block[0x0110], block[0x0131] = *camera, "Firmware 1.1"
    if orientation:
        block[0x0112] = orientation
    if comment:
        block.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + comment
    return block.tobytes()


def spoofs(data: bytes, picture: Picture, *, fake: bool) -> dict[str, bytes]:
    """The same picture with words that are not true, by kind of spoof; none for formats other than JPEG, PNG and WebP.

    Args:
        data: the file.
        picture: the same, opened.
        fake: whether it is a generated one.
    """
    turn = orientation(data)
    put: Callable[[bytes, bytes], bytes]
    if picture.format == "JPEG":
        put = lambda marker, body: data[:2] + segment(marker[0], body) + data[2:]  # noqa: E731
        block, packet = (b"\xe1", b""), (b"\xe1", b"http://ns.adobe.com/xap/1.0/\0" + XMP)
        wrong = {
            "WebUI text in a comment": put(b"\xfe", b"parameters\0" + WEBUI.encode()),
            "C2PA bytes in a comment": put(b"\xfe", C2PA),
            "PNG chunk in a JPEG segment": put(b"\xed", chunk(b"tEXt", b"parameters\0" + WEBUI.encode())),
        }
    elif picture.format == "PNG":
        put = lambda name, body: data[:33] + chunk(name, body) + data[33:]  # noqa: E731
        block, packet = (b"eXIf", b""), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        wrong = {
            "WebUI text under another key": put(b"tEXt", b"Title\0" + WEBUI.encode()),
            "C2PA bytes in a text chunk": put(b"tEXt", b"Comment\0" + C2PA.replace(b"\0", b"\1")),
            "JPEG segment in a PNG chunk": put(b"prVt", segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        }
    elif picture.format == "WEBP":
        put = lambda name, body: riff(data, name, body)  # noqa: E731
        block, packet = (b"EXIF", b""), (b"XMP ", XMP)
        wrong = {
            "WebUI text in a chunk of no standard": put(b"tEXt", b"parameters\0" + WEBUI.encode()),
            "C2PA bytes in a chunk of no standard": put(b"c2pa", C2PA),
            "PNG chunk in a WebP chunk": put(b"prVt", chunk(b"tEXt", b"parameters\0" + WEBUI.encode())),
        }
    else:
        return {}

    def with_exif(**what: object) -> bytes:
        body = exif(turn, **what)  # type: ignore[arg-type]
        return put(block[0], body if picture.format == "JPEG" else body.removeprefix(b"Exif\0\0"))

    if fake:
        return {"camera in EXIF": with_exif(camera=CAMERA)}
    proper = {"WebUI text in EXIF": with_exif(comment=WEBUI.encode()), "trained model in XMP": put(*packet)}
    if picture.format == "PNG":
        proper |= {"WebUI text chunk": put(b"tEXt", b"parameters\0" + WEBUI.encode()), "broken C2PA chunk": put(b"caBX", C2PA)}
    if picture.format == "WEBP":
        proper["broken C2PA chunk"] = put(b"C2PA", C2PA)
    return {**proper, **wrong, "appended trailer": data + chunk(b"tEXt", b"parameters\0" + WEBUI.encode()) + XMP + C2PA}


def orientation(data: bytes) -> int | None:
    """As the file has it."""
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif().get(0x0112)


def fate(evidence: Evidence, before: Evidence) -> str:
    """What became of false words: the field of ``Count``."""
    new = [claim for claim in evidence.claims if claim not in before.claims and claims_origin(claim)]
    if any(claim.trust.startswith("signed") for claim in new):
        return "believed"
    if any(claim.trust == "invalid" for claim in new):
        return "invalid"
    return "unsigned" if new else "not_believed"


def claims_origin(claim: Claim) -> bool:
    """Whether it says that a model or the camera of the spoof made the picture; a comment's text does not."""
    return claim.of_model or bool(claim.camera and CAMERA[1] in claim.camera) or claim.trust != "unsigned"


def verdict_of(report: Report) -> str:
    """All that is said of the picture by its pixels."""
    return report.model_dump_json(exclude={"evidence": True, "picture": {"name", "sha256", "bytes"}, "fused": True})


def judge(detector: Detector, data: bytes) -> Report:
    """Judge a file with its evidence."""
    picture = open_picture(data)
    return detector.judge(picture, provenance(data, picture))


def measure(detector: Detector, samples: list[tuple[str, bytes, bool]]) -> Found:
    """Spoof and judge.

    Args:
        detector: that judges.
        samples: name, bytes and whether it is generated.
    """
    pictures, passed, faults = Counter[str](), Counter[str](), list[str]()
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    counts: dict[str, dict[str, Count]] = {"real": {}, "fake": {}}
    for name, data, fake in progress(samples, len(samples), "spoofing"):
        label = "fake" if fake else "real"
        try:
            made = spoofs(data, open_picture(data), fake=fake)
        except PictureError as error:
            faults.append(f"{name}: {error.reason}")
            continue
        if not made:
            passed[open_picture(data).format] += 1
            continue
        plain = judge(detector, data)
        pictures[label] += 1
        verdicts[label][plain.verdict.label] += 1
        for kind, spoofed in made.items():
            report, count = judge(detector, spoofed), counts[label].setdefault(kind, Count())
            if report.evidence is None or plain.evidence is None:
                raise RuntimeError("judged without evidence")
            ending = fate(report.evidence, plain.evidence)
            same = (report.view_logits == plain.view_logits, verdict_of(report) == verdict_of(plain))
            counts[label][kind] = count.model_copy(
                update={
                    "files": count.files + 1,
                    "same_logits": count.same_logits + same[0],
                    "same_verdict": count.same_verdict + same[1],
                    ending: getattr(count, ending) + 1,
                }
            )
            if ending == "believed" or not all(same):
                faults.append(f"{name}, {kind}: {ending}, logits {'' if same[0] else 'not '}the same, verdict {'' if same[1] else 'not '}the same")
    each = {label: dict(of) for label, of in verdicts.items()}
    return Found(pictures=dict(pictures), passed_over=dict(passed), verdicts=each, spoofs=counts, faults=faults)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="False words in files, and what becomes of verdicts.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--each", type=int, default=10, help="pictures of each source")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--stability", action="store_true", help="with re-saved views too, at eight times the cost")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    samples = first_of_each(
        [sample for sample in read_manifest(options.manifest) if not options.split or sample.split == options.split], options.each
    )
    if not samples:
        raise SystemExit(f"{options.manifest}: no pictures in split {options.split!r}")
    detector = load(options.bundle, threads=options.threads, policy=Policy(stability=options.stability))
    result = measure(detector, [(sample.path, sample.file.read_bytes(), sample.fake) for sample in samples])
    write_result(options.output, result, [options.manifest])
    print(result.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
