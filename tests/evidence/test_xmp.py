import pytest
from dressing import SOURCE_TYPE, encoded, xmp, xmp_in

from realgrain.evidence.claims import SOURCE_TYPES
from realgrain.evidence.provenance import provenance
from realgrain.evidence.xmp import MAX_PACKET

ELEMENT = f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
RESOURCE = f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{SOURCE_TYPE}"/>'


def said(packet):
    return provenance(encoded("JPEG", xmp=packet))


@pytest.mark.parametrize("packet", [xmp(), xmp("", ELEMENT), xmp("", RESOURCE), xmp() + b"\n" * 2000])
def test_every_form_of_a_property(packet):
    (claim,) = said(packet).claims
    assert (claim.source_type, claim.of_model) == ("trainedAlgorithmicMedia", True)
    assert claim.words() == "made by a trained model"


@pytest.mark.parametrize("name", SOURCE_TYPES)
@pytest.mark.parametrize("form", ["http://cv.iptc.org/newscodes/digitalsourcetype/{}", "https://cv.iptc.org/newscodes/digitalsourcetype/{}", "{}"])
def test_source_types(name, form):
    (claim,) = said(xmp(f'Iptc4xmpExt:DigitalSourceType="{form.format(name)}"')).claims
    assert (claim.source_type, claim.words()) == (name, SOURCE_TYPES[name])
    assert claim.of_model == (name in {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"})


@pytest.mark.parametrize(
    "form",
    [
        f"{SOURCE_TYPE}/",
        f"{SOURCE_TYPE}#",
        SOURCE_TYPE.replace("type/", "type#"),
        SOURCE_TYPE.upper(),
        SOURCE_TYPE.replace("digitalsourcetype", "digitalSourceType"),
        "digsrctype:trainedAlgorithmicMedia",
    ],
)
def test_near_forms_of_a_source_type(form):
    (claim,) = said(xmp(f'Iptc4xmpExt:DigitalSourceType="{form}"')).claims
    assert (claim.source_type, claim.of_model) == ("trainedAlgorithmicMedia", True)


def test_other_properties():
    (claim,) = said(xmp('xmp:CreatorTool="Toy Shop" tiff:Make="Canon" tiff:Model="EOS" photoshop:Credit="Made with Toy AI"')).claims
    assert (claim.software, claim.camera, claim.credit, claim.of_model) == ("Toy Shop", "Canon EOS", "Made with Toy AI", False)
    (claim,) = said(xmp('Iptc4xmpExt:AISystemUsed="Toy Model 3"')).claims
    assert (claim.generator, claim.of_model) == ("Toy Model 3", True)


NOT_PROPERTIES = {
    "of another name space": xmp(f'xmlns:a="http://example.org/" a:DigitalSourceType="{SOURCE_TYPE}"'),
    "of an ingredient": xmp("", f'<xmp:Ingredients rdf:parseType="Resource">{ELEMENT}</xmp:Ingredients>'),
    "in a text": xmp(f'xmp:Label="{SOURCE_TYPE}"'),
    "in a comment of the XML": xmp("", f"<!--{ELEMENT}-->"),
    "outside of RDF": b'<a xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">' + ELEMENT.encode() + b"</a>",
    "in longer words": xmp(f'Iptc4xmpExt:DigitalSourceType="not {SOURCE_TYPE}"'),
}


@pytest.mark.parametrize("case", NOT_PROPERTIES)
def test_what_is_no_property_of_the_picture(case):
    assert not any(claim.of_model for claim in said(NOT_PROPERTIES[case]).claims)


LAUGHS = b'<!DOCTYPE a [<!ENTITY a "ha">' + b"".join(b'<!ENTITY %c "&%c;&%c;">' % (98 + n, 97 + n, 97 + n) for n in range(20)) + b"]><a>&u;</a>"


def test_a_packet_above_the_limit_is_named_as_that():
    found = provenance(xmp_in("PNG", xmp(inside="<xmp:a>" + "x" * MAX_PACKET + "</xmp:a>")))
    assert (found.claims, found.notes) == ([], ["PNG iTXt chunk of XMP: larger than 1,048,576 bytes, not read"])
    assert len(provenance(xmp_in("PNG", xmp(inside="<xmp:a>" + "x" * (MAX_PACKET - 2000) + "</xmp:a>"))).claims) == 1


@pytest.mark.parametrize(
    "packet", [b"x", b"<a>", LAUGHS, b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', b"\xff\xfe\0", xmp()[:300]]
)
def test_what_is_not_xml_is_noted(packet):
    found = said(packet)
    assert found.claims == []
    assert any("not well-formed" in note for note in found.notes)
