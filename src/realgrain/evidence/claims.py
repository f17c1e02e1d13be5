"""What a file says of itself, as data: claims, each with its place in the file and how far it can be trusted. None of it ever reaches a score."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from realgrain.picture.errors import MAX_TEXT, printable

Kind = Literal["c2pa", "comment", "exif", "iptc", "text", "watermark", "xmp"]
Trust = Literal["signed-trusted", "signed-untrusted", "invalid", "unsigned"]

MAX_CLAIMS = 50  # of one file (our choice, as the next two)
MAX_NOTES = 20
MAX_BRIEF = 200  # characters

ABSENCE = (
    "What a file does not say is no evidence: most services remove metadata, and anyone can. "
    "Unsigned claims are words that anyone can write into any file. Nothing here has any influence on logit, probability or verdict."
)

_LABELS: dict[Kind, str] = {
    "c2pa": "C2PA",
    "comment": "comment",
    "exif": "EXIF",
    "iptc": "IPTC",
    "text": "text chunk",
    "watermark": "watermark",
    "xmp": "XMP",
}

# IPTC's vocabulary of digital source types, whose names C2PA uses too, in plain words; older names that are still met included.
SOURCE_TYPES = {
    "algorithmicMedia": "made by an algorithm that was not trained",
    "algorithmicallyEnhanced": "enhanced by an algorithm",
    "composite": "a composite",
    "compositeCapture": "a composite of photographs",
    "compositeSynthetic": "a composite with synthetic parts",
    "compositeWithTrainedAlgorithmicMedia": "a composite with parts made by a trained model",
    "computationalCapture": "captured by a camera, several exposures or sensors merged",
    "dataDrivenMedia": "drawn from data",
    "digitalArt": "drawn by a person",
    "digitalCapture": "captured by a camera",
    "digitalCreation": "drawn by a person",
    "humanEdits": "edited by a person",
    "minorHumanEdits": "edited a little by a person",
    "negativeFilm": "scanned from a negative",
    "positiveFilm": "scanned from a slide",
    "print": "scanned from a print",
    "screenCapture": "a screenshot",
    "softwareImage": "made with software",
    "trainedAlgorithmicMedia": "made by a trained model",
    "virtualRecording": "recorded in a virtual world",
}
MADE_BY_MODEL = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"})
_BY_LOWER = {name.lower(): name for name in SOURCE_TYPES}
_VOCABULARIES = ("cv.iptc.org/newscodes/digitalsourcetype", "c2pa.org/digitalsourcetype", "digsrctype:")


def clean(text: object) -> str | None:
    """Whatever a file says, safe to print on one line and short; None if that is nothing, or no text."""
    if not isinstance(text, str):
        return None
    # Cut first: a prompt can have megabytes, most of which nobody will see.
    return printable(" ".join(text[: 4 * MAX_TEXT].split())) or None


def source_type(value: object) -> str | None:
    """Name of a digital source type, given as its address in IPTC's or C2PA's vocabulary or as the name alone, whatever the case; else the value."""
    text = clean(value)
    if text is None:
        return None
    name = text.lower().removeprefix("http://").removeprefix("https://")
    for vocabulary in _VOCABULARIES:
        name = name.removeprefix(vocabulary)
    return _BY_LOWER.get(name.strip("/#"), text)


_Line = Annotated[str, BeforeValidator(clean)]
_Text = Annotated[str | None, BeforeValidator(clean)]
_Type = Annotated[str | None, BeforeValidator(source_type)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Claim(_Part):
    """One thing that a file says of itself. Every text is printable, on one line, and of at most 300 characters.

    Attributes:
        kind: of metadata.
        place: where in the file it stands.
        trust: ``signed-trusted``: the signature holds, and leads to a certificate of the trust list; ``signed-untrusted``: it holds, by whomever;
            ``invalid``: there is a signature that does not hold; ``unsigned``: anyone can have written it.
        signer: as the certificate says.
        time: as stated, in whatever form.
        generator: of images, by its own grammar, watermark or field.
        model: that the generator used.
        software: by any field for software.
        camera: maker and model.
        lens: likewise.
        serial: number of the camera.
        action: done to the picture, of C2PA's vocabulary, such as ``c2pa.created``.
        source_type: IPTC's digital source type by its name, such as ``trainedAlgorithmicMedia``.
        ingredient: title of a picture that went into this one.
        credit: whom to credit.
        text: a comment or prompt.
        reason: why it is invalid.
    """

    kind: Kind
    place: _Line
    trust: Trust = "unsigned"
    signer: _Text = None
    time: _Text = None
    generator: _Text = None
    model: _Text = None
    software: _Text = None
    camera: _Text = None
    lens: _Text = None
    serial: _Text = None
    action: _Text = None
    source_type: _Type = None
    ingredient: _Text = None
    credit: _Text = None
    text: _Text = None
    reason: _Text = None

    @property
    def of_model(self) -> bool:
        """Whether it says that a generative model made the picture, in whole or in part."""
        return self.generator is not None or self.source_type in MADE_BY_MODEL

    def words(self) -> str:
        """What it says, shortly; empty if it says nothing of the picture's making. The file's own words stand in quotation marks."""
        if self.trust == "invalid":
            return self.reason or "the signature does not hold"
        made = self.source_type and (SOURCE_TYPES.get(self.source_type) or _quoted(self.source_type))
        generator = self.generator and _quoted(self.generator) + (f" ({_quoted(self.model)})" if self.model else "")
        others = (self.camera, self.software, self.credit, self.text if self.kind == "comment" else None)
        return ", ".join(part for part in (made, generator, *(_quoted(text) for text in others if text)) if part)

    def heading(self) -> str:
        """Of which kind it is and how far to trust it."""
        by = f" {_quoted(self.signer)}" if self.signer else ""
        trusted = {"signed-trusted": f"signed, trusted signer{by}", "signed-untrusted": f"signed, untrusted signer{by}"}
        return f"{_LABELS[self.kind]} ({trusted.get(self.trust, self.trust)})"


def _quoted(text: str) -> str:
    """A stranger's words, so that they cannot pass for ours."""
    return '"' + text.replace('"', "'") + '"'


class TrustListFacts(_Part):
    """The list of certificates that signers were checked against.

    Attributes:
        name: of its file.
        sha256: of its file.
        certificates: in it.
        date: day the file was last changed, in UTC: at latest that old is what it knows.
    """

    name: _Line
    sha256: str
    certificates: int
    date: str


class Evidence(_Part):
    """What a file says of itself.

    Attributes:
        claims: at most 50.
        carries: kinds of metadata at their proper places in the file, whether or not they say anything, in alphabetical order.
        notes: what was not read, not fetched or not believed, in words.
        trust_list: None: signers were checked against none, so none is trusted.
        caution: how to read all this.
    """

    claims: list[Claim] = Field(default=[], max_length=MAX_CLAIMS)
    carries: list[Kind] = []
    notes: list[_Line] = Field(default=[], max_length=MAX_NOTES)
    trust_list: TrustListFacts | None = None
    caution: str = ABSENCE

    def brief(self) -> str:
        """One line of at most 200 characters; empty if the file says nothing. Claims of the same kind and trust come together, a model's first."""
        said: dict[str, dict[str, None]] = {claim.heading(): {} for claim in self.claims}
        for claim in sorted(self.claims, key=lambda claim: not claim.of_model):
            if claim.words():
                said[claim.heading()][claim.words()] = None
        lines = [f"{heading}: {', '.join(words) or 'says nothing of how it was made'}" for heading, words in said.items()]
        return printable("; ".join(lines), MAX_BRIEF)
