import inspect

import pytest

from realgrain.faces import cli
from realgrain.faces.flags import changes
from realgrain.learning.recipe import Recipe
from realgrain.learning.settings import names


def test_flags():
    given = ["--tuning.rate", "1e-4", "--block=null", "--tuning.head-rate", "-1", "--name", "a=b", "--deliveries", "[clean, web]"]
    found = changes(given)
    assert found == {"tuning.rate": "1e-4", "block": None, "tuning.head_rate": -1, "name": "a=b", "deliveries": ["clean", "web"]}
    assert changes([]) == {}


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["stray"], "stray: settings are given as --NAME VALUE, after the recipe"),
        (["-x", "1"], "-x: settings"),
        (["--block"], "--block: no value"),
        (["--block", "--name", "x"], "--block: no value"),
        (["--block", "1", "--block=2"], "--block is given twice"),
        (["--block", "[1"], r"--block \[1: "),
    ],
)
def test_refused(tokens, words):
    with pytest.raises(ValueError, match=words):
        changes(tokens)


@pytest.mark.parametrize("command", [cli.train, cli.crossval, cli.show_recipe])
def test_no_setting_is_hidden_behind_an_option(command):
    options = {name for name, one in inspect.signature(command).parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert not options & set(names(Recipe))
