from pathlib import Path

import pytest

from realgrain.faces.cli import main


@pytest.fixture
def command(tiny_bundle, toy_pictures, tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for number, file in enumerate(toy_pictures[:5]):
        (folder / f"{number}{file.suffix}").write_bytes(file.read_bytes())
    return ["batch", str(folder), "-o", str(tmp_path / "o"), "--bundle", str(tiny_bundle.folder), "--offline", "--threads", "1", "--no-stability"]


def test_all_good(command, tmp_path, capsys):
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"realgrain: {tmp_path / 'o'}: 5 pictures, 5 of them judged now: ")
    assert err.endswith(", 0 failed\n")
    assert (tmp_path / "o" / "errors.jsonl").read_bytes() == b""
    assert main(command) == 0
    assert "5 pictures, 0 of them judged now" in capsys.readouterr().err


def test_a_bundle_by_name(command, tiny_bundle, tmp_path, monkeypatch, capsys):
    """As those that ship are known by."""
    monkeypatch.setattr("realgrain.detector.bundle.SHIPPED", tiny_bundle.folder.parent)
    monkeypatch.chdir(tmp_path)
    assert main([tiny_bundle.folder.name if word == str(tiny_bundle.folder) else word for word in command]) == 0
    assert "5 of them judged now" in capsys.readouterr().err


def test_some_failed(command, tmp_path, capsys):
    (tmp_path / "p" / "bad.png").write_bytes(b"no picture")
    assert main(command) == 1
    err = capsys.readouterr().err
    assert ", 1 failed\n" in err
    assert "errors.jsonl names those that failed, with reasons" in err
    assert "bad.png" in (tmp_path / "o" / "errors.jsonl").read_text()


def test_dry_run(command, tmp_path, capsys):
    assert main([*command, "--dry-run", "--shard", "2"]) == 0
    assert capsys.readouterr().out == "5 pictures in 3 shards, 0 of them done; 5 pictures to judge\n"
    assert not (tmp_path / "o").exists()
    assert main([*command, "--shard", "2"]) == 0
    (tmp_path / "o" / "shard-00001.parquet").unlink()
    assert main([*command, "--dry-run", "--shard", "2"]) == 0
    assert capsys.readouterr().out.startswith("5 pictures in 3 shards, 2 of them done; 2 pictures to judge, about 1 min at the pace")


def test_dry_run_of_what_is_done(command, capsys):
    options = ["--shard", "2"]
    assert main([*command, *options]) == 0
    capsys.readouterr()
    assert main([*command, *options, "--dry-run"]) == 0
    assert capsys.readouterr().out == "5 pictures in 3 shards, 3 of them done; 0 pictures to judge\n"


def test_limit_takes_a_sample_that_order_does_not_change(command, tmp_path, capsys):
    assert main([*command, "--limit", "2"]) == 0
    assert "2 pictures, 2 of them judged now" in capsys.readouterr().err
    again = [str(tmp_path / "again") if word == str(tmp_path / "o") else word for word in command]
    files = sorted((tmp_path / "p").iterdir(), reverse=True)
    named = [*map(str, files), *again[2:]]
    assert main(["batch", *named, "--limit", "2"]) == 0
    assert (tmp_path / "again" / "shard-00000.parquet").stat().st_size > 0
    import pyarrow.parquet as pq

    first, second = (pq.read_table(Path(folder) / "shard-00000.parquet")["uri"].to_pylist() for folder in (tmp_path / "o", tmp_path / "again"))
    assert first == second


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["gone"], "gone: no such file, and no picture behind it"),
        ([], "no sources"),
        (["http://127.0.0.1:1/a.jpg"], "--allow-urls"),
        (["p", "--shard", "0"], 'Invalid value "0" for --shard. Must be >= 1.'),
        (["p", "--shard", "100001"], "Must be <= 100000."),
        (["p", "--limit", "0"], 'Invalid value "0" for --limit. Must be >= 1.'),
        (["p", "--runtime", "openvino-int8", "--dry-run"], "its card does not say how far eight bits are off"),
        (["p", "--engine", "ray", "--address", "host"], "Ray at host: no address; HOST:PORT, ray://HOST:PORT or auto"),
        (["p", "--profile", "nonsense"], "no profile 'nonsense'"),
        (["p", "--address", "auto"], "--engine ray"),
        (["p", "--engine", "spark"], "spark"),
        (["p", "--devices", "cuda"], "onnxruntime-gpu"),
    ],
)
def test_wrong_usage(options, words, command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["batch", *options, *command[2:]]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_threads(number, command, capsys):
    assert main([number if word == "1" else word for word in command]) == 2
    assert f'Invalid value "{number}" for --threads. Must be >= 1.' in capsys.readouterr().err.replace("\n", " ")


def test_another_run(command, capsys):
    assert main(command) == 0
    assert main([*command, "--shard", "3"]) == 2
    assert "holds another run than the one asked for: settings.shard was 512, is 3" in capsys.readouterr().err
