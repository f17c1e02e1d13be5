import json
import sys
from pathlib import Path

import pytest

from realgrain.faces.cli import main
from realgrain.measuring.benchmarks import NAMES, benchmark

sys.path.insert(0, str(Path(__file__).parents[1] / "measuring" / "benchmarks"))
from trees import fill


@pytest.fixture
def bench(capsys):
    def call(*arguments):
        code = main(["bench", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_list_names_all(bench):
    code, out, err = bench("list")
    assert (code, err) == (0, "")
    assert all(f" {name} " in out for name in NAMES)


def test_list_as_json_is_the_cards(bench):
    code, out, _ = bench("list", "--json")
    assert code == 0
    assert [card["name"] for card in json.loads(out)] == list(NAMES)


class TestCheck:
    def test_whole(self, bench, tmp_path):
        names = [f"{name}/{number}.jpg" for name in ("dalle3", "firefly", "midjourney", "real") for number in range(500)]
        code, out, err = bench("check", "synthwildx", fill(tmp_path, names))
        assert (code, err) == (0, "")
        assert out.endswith("\nnothing is missing or broken; every picture was opened\n")
        assert out.count("500") == 12

    def test_short(self, bench, tmp_path):
        code, out, _ = bench("check", "synthwildx", fill(tmp_path, benchmark("synthwildx").layout["official"]))
        assert code == 1
        assert "short: 1 of 500 fake pictures of set dalle3 (test)" in out
        assert "not whole; every picture was opened" in out

    def test_shorter_than_a_number_that_may_be_wrong(self, bench, tmp_path):
        code, out, _ = bench("check", "genimage", fill(tmp_path, benchmark("genimage").layout["re-layout"]), "--quick")
        assert code == 0
        assert "remark: 1 of 6000 real pictures of set ADM (test); the number is recalled" in out
        assert out.endswith("\nnothing is broken or surely missing; no picture was opened\n")

    def test_not_whole(self, bench, tmp_path):
        root = fill(tmp_path, ["dalle3/a.jpg", "real/a.jpg", "real/b.jpg", "midjourney/a.jpg", "sora/[/]a.jpg"])
        (root / "real/b.jpg").write_bytes(b"x")
        code, out, _ = bench("check", "synthwildx", root)
        assert code == 1
        assert "missing: fake pictures of set firefly (test)" in out
        assert "broken: real/b.jpg: " in out
        assert "extra: sora/[/]a.jpg" in out
        assert out.endswith("not whole; every picture was opened\n")

    def test_names_cannot_paint_the_terminal(self, bench, tmp_path):
        _, out, _ = bench("check", "folder", fill(tmp_path, ["[red]a[/red]/real/0.jpg", "fake/0.jpg", "\x1b[31m.txt"]))
        assert "[red]a[/red]" in out
        assert "\x1b" not in out
        assert "extra: \\x1b[31m.txt" in out

    def test_quick_json(self, bench, tmp_path):
        root = fill(tmp_path, ["real/b.jpg", "fake/a.jpg"], b"x")
        code, out, _ = bench("check", "folder", root, "--quick", "--json")
        found = json.loads(out)
        assert (code, found["opened"], found["pictures"], found["missing"]) == (0, False, 2, [])

    def test_long_lists_are_cut(self, bench, tmp_path):
        root = fill(tmp_path, ["real/b.jpg", "fake/a.jpg", *(f"more/{number}.jpg" for number in range(25))])
        _, out, _ = bench("check", "folder", root, "--quick")
        assert out.count("extra: more/") == 20
        assert "extra: and 5 more" in out

    @pytest.mark.parametrize("arguments", [("nosuch", "."), ("genimage", "nowhere"), ("genimage",)])
    def test_wrong_usage(self, bench, arguments):
        code, out, err = bench("check", *arguments)
        assert (code, out) == (2, "")
        assert err
