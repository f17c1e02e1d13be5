import math

import pytest
from pydantic import BaseModel, ValidationError

from realgrain.learning.noise import Noise


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "salt"},
        {"at": "patch"},
        {"anchors": "sound"},
        {"parts": "none"},
        {"keys": "all"},
        {"weight": -1.0},
        {"heads": 0},
        {"draws": 0},
        {"inference_draws": -1},
        {"energy": -0.1},
        {"floor": math.nan},
        {"weight": math.inf},
        {"energy": math.inf},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Noise(**wrong)


def test_settings_are_read_from_a_recipe():
    class Settings(BaseModel):
        noise: Noise = Noise()

    assert Settings.model_validate({"noise": {"kind": "pin", "heads": 8}}).noise == Noise(kind="pin", heads=8)
    with pytest.raises(ValidationError, match="draws"):
        Settings.model_validate({"noise": {"draws": 0}})


def test_noise_in_use_sees_no_label():
    with pytest.raises(ValueError, match="needs labels"):
        Noise(kind="pin", keys="own_class", inference_draws=2)
    assert Noise(kind="gaussian", keys="own_class", inference_draws=2).in_use
    assert not Noise(kind="none", inference_draws=2).in_use
