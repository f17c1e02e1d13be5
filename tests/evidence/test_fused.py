import json

import pytest
import toy

pytest.importorskip("c2pa")
from signing import CREATED, Authority, manifest

from realgrain.faces.cli import main

CAPTURED = {"action": "c2pa.created", "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def judge(tiny_bundle, capsys):
    def call(file, *more):
        assert main(["detect", str(file), "--bundle", str(tiny_bundle.folder), "--no-stability", *map(str, more)]) == 0
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize(("said", "says"), [(CREATED, "ai"), (CAPTURED, "camera")])
def test_a_trusted_claim_moves_the_second_number_only(authority, judge, tmp_path, said, says):
    file, trusted = tmp_path / "a.jpg", tmp_path / "list.pem"
    file.write_bytes(authority.sign(toy.saved(toy.picture(1, fake=True), "JPEG"), "JPEG", manifest(said)))
    trusted.write_text(authority.root)
    plain, fused = (json.loads(judge(file, "--json", "--trust-list", trusted, *more)) for more in ([], ["--fuse", 100]))
    found = fused.pop("fused")
    assert plain.pop("fused") is None
    assert plain == fused
    assert found["says"] == says
    assert (found["probability"] > found["before"]) == (says == "ai")
    assert found["before"] == pytest.approx(plain["probability"])
    # Without the list the signer is nobody's, and nothing counts.
    untrusted = json.loads(judge(file, "--json", "--fuse", 100))["fused"]
    assert untrusted["says"] is None and untrusted["probability"] == untrusted["before"]


def test_both_numbers_and_the_rule_are_printed(authority, judge, tmp_path):
    file, trusted = tmp_path / "a.jpg", tmp_path / "list.pem"
    file.write_bytes(authority.sign(toy.saved(toy.picture(1, fake=True), "JPEG"), "JPEG"))
    trusted.write_text(authority.root)
    out = " ".join(judge(file, "--trust-list", trusted, "--fuse", 100).split())
    assert "probability of AI" in out and "fused with trusted claims" in out
    assert "likelihood ratio of 100 that you gave" in out and "by the pixels alone" in out
