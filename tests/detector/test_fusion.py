import math

import pytest

from realgrain.detector.calibration import Calibration
from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.detector.fusion import counted, fuse
from realgrain.evidence.claims import Claim, Evidence

SCALE = Calibration(method="platt", slope=1.0)


def claim(source_type="trainedAlgorithmicMedia", trust="signed-trusted", action="c2pa.created", kind="c2pa", **more) -> Claim:
    return Claim(kind=kind, place="somewhere", trust=trust, action=action, source_type=source_type, **more)


AI, CAMERA = claim(), claim("digitalCapture")


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ([], None),
        ([AI], "ai"),
        ([AI, AI], "ai"),
        ([CAMERA], "camera"),
        ([claim("computationalCapture")], "camera"),
        ([AI, CAMERA], None),
        ([CAMERA, claim("compositeWithTrainedAlgorithmicMedia", action="c2pa.edited")], None),
        ([CAMERA, claim("trainedAlgorithmicMedia", action="c2pa.edited")], None),
        ([CAMERA, claim("trainedAlgorithmicMedia", trust="signed-untrusted")], "camera"),
        ([claim(action="c2pa.edited")], None),
        ([claim("compositeSynthetic")], None),
        *[([claim(trust=trust)], None) for trust in ("signed-untrusted", "invalid", "unsigned")],
        *[([claim("digitalCapture", trust=trust)], None) for trust in ("signed-untrusted", "invalid", "unsigned")],
        ([claim(kind="xmp")], None),
        ([Claim(kind="text", place="PNG", generator="Stable Diffusion"), Claim(kind="exif", place="EXIF", camera="Canon")], None),
    ],
)
def test_what_counts(claims, says):
    assert counted(claims)[0] == says
    found = fuse(SCALE, 0.5, Evidence(claims=claims), 100.0)
    assert found.says == says
    assert bool(found.claims) == (says is not None)
    if says is None:
        assert found.probability == found.before and found.claim_ratio == 1


@pytest.mark.parametrize(("claims", "ratio"), [([AI], 50.0), ([AI, AI, AI], 50.0), ([CAMERA], 1 / 50)])
@pytest.mark.parametrize("prior", [None, 0.01])
def test_arithmetic(claims, ratio, prior):
    found = fuse(SCALE, 0.7, Evidence(claims=claims), 50.0, prior)
    odds = (prior or 0.5) / (1 - (prior or 0.5)) * math.exp(0.7)
    assert found.before == pytest.approx(odds / (1 + odds))
    assert found.probability == pytest.approx(odds * ratio / (1 + odds * ratio))
    assert found.claim_ratio == pytest.approx(ratio)
    assert f"{found.probability:.4g}, against {found.before:.4g} by the pixels alone" in found.arithmetic
    assert "likelihood ratio of 50 that you gave" in found.rule and "not a measurement" in found.rule


@pytest.mark.parametrize("logit", [-1e6, 1e6])
def test_stays_finite(logit):
    found = fuse(SCALE, logit, Evidence(claims=[AI]), 1e12, 0.999)
    assert 0 <= found.probability <= 1 and math.isfinite(found.claim_ratio)


@pytest.mark.parametrize("ratio", [1.0, 0.0, -3.0, math.inf, math.nan])
def test_refused(ratio):
    with pytest.raises(ValueError, match="fuse must be above 1"):
        Policy(fuse=ratio)


def test_needs_evidence(tiny_bundle):
    with pytest.raises(ValueError, match="--no-evidence"):
        load(tiny_bundle, evidence=False, policy=Policy(fuse=10.0))


def test_leaves_the_rest_alone(tiny_bundle, tiny_detector, toy_pictures):
    fused = load(tiny_bundle, threads=1, policy=Policy(fuse=10.0)).detect(toy_pictures[0])
    plain = tiny_detector.detect(toy_pictures[0])
    assert plain.fused is None and fused.fused.says is None
    assert fused.model_copy(update={"fused": None}).model_dump_json() == plain.model_dump_json()
