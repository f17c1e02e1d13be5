import builtins
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from dressing import BOX, encoded, in_jpeg, segment, xmp

from realgrain.evidence import c2pa as reading
from realgrain.evidence.c2pa import TrustListError, read_trust_list
from realgrain.evidence.provenance import provenance

pytest.importorskip("c2pa")
from signing import CREATED, MIMES, Authority, manifest


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def signed(authority) -> bytes:
    return authority.sign(encoded("JPEG"), "JPEG")


@pytest.fixture
def trust_list(authority, tmp_path):
    path = tmp_path / "list.pem"
    path.write_text(authority.root)
    return read_trust_list(path)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))


def of_c2pa(data, trust_list=None):
    found = provenance(data, trust_list=trust_list)
    assert "c2pa" in found.carries
    return [claim for claim in found.claims if claim.kind == "c2pa"]


@pytest.mark.parametrize("kind", MIMES)
def test_a_signature_that_holds_is_untrusted_without_a_list(authority, kind):
    first, action = of_c2pa(authority.sign(encoded(kind), kind))
    assert {first.trust, action.trust} == {"signed-untrusted"}
    assert first.signer == action.signer == "Toy Press / camera desk"
    assert (first.software, action.software) == ("Toy Maker 2.1", "Toy Model 7")
    assert (action.action, action.source_type) == ("c2pa.created", "trainedAlgorithmicMedia")
    assert action.place.startswith("C2PA manifest store, ")


def test_trusted_by_a_list_that_has_its_root(signed, trust_list):
    found = provenance(signed, trust_list=trust_list)
    assert {claim.trust for claim in found.claims} == {"signed-trusted"}
    assert (found.trust_list.certificates, found.trust_list.name) == (1, "list.pem")
    assert found.brief() == ('C2PA (signed, trusted signer "Toy Press / camera desk"): made by a trained model, "Toy Model 7", "Toy Maker 2.1"')


def test_not_trusted_by_the_list_of_others(signed, tmp_path):
    (tmp_path / "others.pem").write_text(Authority().root)
    assert {claim.trust for claim in of_c2pa(signed, read_trust_list(tmp_path / "others.pem"))} == {"signed-untrusted"}


@pytest.mark.parametrize("listed", [False, True])
def test_changed_pixels_make_it_invalid(signed, trust_list, listed):
    changed = bytearray(signed)
    changed[-20] ^= 0x01
    claims = of_c2pa(bytes(changed), trust_list if listed else None)
    assert {claim.trust for claim in claims} == {"invalid"}
    assert {claim.reason for claim in claims} == {"the file was changed after signing"}


def test_a_changed_manifest_is_invalid(signed, trust_list):
    claims = of_c2pa(signed.replace(b"Toy Model", b"Real Lens"), trust_list)
    assert {claim.trust for claim in claims} == {"invalid"}


def test_an_appended_trailer_makes_it_invalid(signed, trust_list):
    found = provenance(signed + b"x" * 77, trust_list=trust_list)
    assert {claim.trust for claim in found.claims} == {"invalid"}
    assert any(note.startswith("77 bytes follow the end") for note in found.notes)


def test_a_manifest_moved_to_another_picture_is_invalid(signed, trust_list):
    at = signed.index(b"\xff\xeb")
    moved = in_jpeg(signed[at : at + 2 + int.from_bytes(signed[at + 2 : at + 4])], data=encoded("JPEG", quality=40))
    assert {claim.trust for claim in of_c2pa(moved, trust_list)} == {"invalid"}


EDITED = manifest({"action": "c2pa.opened", "parameters": {"ingredientIds": ["old"]}}, {"action": "c2pa.edited"}, tool="Toy Shop")


def test_ingredients_speak_but_are_never_trusted(authority, signed, trust_list):
    claims = of_c2pa(authority.sign(encoded("JPEG", quality=60), "JPEG", EDITED, ingredient=signed), trust_list)
    assert (claims[0].trust, claims[0].software) == ("signed-trusted", "Toy Shop 2.1")
    assert [claim.ingredient for claim in claims if claim.ingredient] == ["old.jpg (parentOf)"]
    (made,) = [claim for claim in claims if claim.of_model]
    assert (made.trust, made.place) == ("signed-untrusted", "C2PA manifest of the ingredient old.jpg")


def test_a_new_signature_does_not_heal_an_ingredient(authority, signed, trust_list):
    """A forged file that is opened and signed anew: the new signature says that the old one did not hold."""
    changed = bytearray(signed)
    changed[-20] ^= 0x01
    claims = of_c2pa(authority.sign(encoded("JPEG", quality=60), "JPEG", EDITED, ingredient=bytes(changed)), trust_list)
    assert claims[0].trust == "signed-trusted"
    old = [claim for claim in claims if claim.place == "C2PA manifest of the ingredient old.jpg"]
    assert {(claim.trust, claim.reason) for claim in old} == {("invalid", "the file was changed after signing")}


def test_an_ingredient_of_another_signer_takes_no_trust_away(authority, trust_list):
    """Whom the program that took it in trusts is not on the list: the store is then no longer trusted as a whole, its own signer is."""
    other = Authority("Toy Stock")
    edited = authority.sign(encoded("JPEG", quality=60), "JPEG", EDITED, other.sign(encoded("JPEG"), "JPEG"), trusted=other.root)
    claims = of_c2pa(edited, trust_list)
    assert {claim.trust for claim in claims if claim.signer == "Toy Press / camera desk"} == {"signed-trusted"}
    assert {claim.trust for claim in claims if claim.signer == "Toy Stock / camera desk"} == {"signed-untrusted"}
    assert {claim.trust for claim in of_c2pa(edited)} == {"signed-untrusted"}


def test_a_trusted_ingredient_gives_no_trust(authority, signed, trust_list):
    edited = Authority("Toy Stock").sign(encoded("JPEG", quality=60), "JPEG", EDITED, signed, trusted=authority.root)
    assert {claim.trust for claim in of_c2pa(edited, trust_list)} == {"signed-untrusted"}


def test_an_identity_that_only_the_network_could_check_is_not_looked_at(authority, trust_list):
    """CAWG's identity assertion: who gave the identity is named by an address, here in what would be a COSE signature."""
    said = {"signer_payload": {"referenced_assertions": [], "sig_type": "cawg.identity_claims_aggregation"}, "signature": [0xD2, 0x84], "pad1": [0]}
    whole = manifest()
    whole["assertions"].append({"label": "cawg.identity", "data": said})
    assert {claim.trust for claim in of_c2pa(authority.sign(encoded("JPEG"), "JPEG", whole), trust_list)} == {"signed-trusted"}


def test_many_threads(signed, trust_list):
    changed = signed[:-20] + bytes(18) + signed[-2:]
    expected = [provenance(data, trust_list=trust_list) for data in (signed, changed)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda data: provenance(data, trust_list=trust_list), [signed, changed] * 30))
    assert found == expected * 30


def test_what_is_no_manifest_is_invalid():
    (claim,) = of_c2pa(in_jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + BOX)))
    assert claim.trust == "invalid"
    assert claim.reason.startswith("cannot be read")


def test_hostile_text_in_a_manifest_is_escaped_and_short(authority):
    text = "Canon\u202egpj.exe\x1b[31m" + "x" * 5000
    data = authority.sign(encoded("JPEG"), "JPEG", manifest({**CREATED, "softwareAgent": {"name": text}}, tool=text))
    for claim in of_c2pa(data):
        assert claim.software.isprintable()
        assert len(claim.software) <= 300


def test_many_actions_are_cut(authority):
    found = provenance(authority.sign(encoded("JPEG"), "JPEG", manifest(CREATED, *[{"action": "c2pa.edited"}] * 80)))
    assert len(found.claims) == 50
    assert any("more metadata than is shown" in note for note in found.notes)


def test_a_remote_manifest_is_named_and_not_fetched():
    found = provenance(encoded("JPEG", xmp=xmp('dcterms:provenance="http://127.0.0.1:9/manifest.c2pa"')))
    assert found.claims == []
    assert any("was not fetched: http://127.0.0.1:9/manifest.c2pa" in note for note in found.notes)


def test_without_the_package_it_is_said(signed, monkeypatch):
    whole = builtins.__import__

    def without(name, *rest):
        if name == "c2pa":
            raise ImportError(name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    found = provenance(signed)
    assert (found.claims, found.carries, found.notes) == ([], ["c2pa"], [reading.MISSING])


def test_a_list_that_was_cut_is_refused(authority, tmp_path):
    path = tmp_path / "list.pem"
    for cut in ("-----BEGIN CERTIFICATE-----\n", authority.root[:200], authority.root + Authority().root[:200]):
        path.write_text(cut)
        with pytest.raises(TrustListError, match=r"list\.pem: not a whole trust list"):
            read_trust_list(path)


def test_comments_are_no_part_of_a_list(authority, tmp_path):
    path = tmp_path / "list.pem"
    path.write_text(f"# Zertifikate für Kameras\n{authority.root}# 検証\n{Authority().root}", encoding="utf-8")
    assert read_trust_list(path).facts.certificates == 2


@pytest.mark.parametrize("content", [None, b"", b"no certificates", b"-----BEGIN CERTIFICATE-----" + bytes(2**24)])
def test_what_is_no_trust_list_is_refused(tmp_path, content):
    path = tmp_path / "list.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrustListError, match=r"list\.pem"):
        read_trust_list(path)
