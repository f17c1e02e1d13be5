"""What the tests stand on."""

import importlib.util


def test_torchvision_is_absent_or_fits(run):
    """One that does not fit torch fails on import, and transformers imports it wherever it is: then nothing with a tower works."""
    if importlib.util.find_spec("torchvision") is None:
        found = run("-c", "from transformers import CLIPVisionModelWithProjection")
    else:
        found = run("-c", "import torch, torchvision; from transformers import CLIPVisionModelWithProjection")
    assert found.returncode == 0, found.stderr


def test_no_network_unless_asked_for(session_home):
    from realgrain.detector.weights import home, offline_asked

    assert offline_asked()
    assert home() == session_home
