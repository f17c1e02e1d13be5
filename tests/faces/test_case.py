import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import toy
from pages import Page
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from realgrain.detector.calibration import Calibration, probability
from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.faces import case_page
from realgrain.faces.case import CaseError, command, look, read_case
from realgrain.faces.case_check import check
from realgrain.faces.cli import app, main
from realgrain.faces.verify_cli import words

HOSTILE = "<script>alert(1)</script>"
HIDING = "\x1b[2J\nthe same"


def at(content, pointer: str):
    for key in pointer.removeprefix("/").split("/"):
        key = key.replace("~1", "/").replace("~0", "~")
        content = content[int(key) if isinstance(content, list) else key]
    return content


def numbers(content, prefix=""):
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from numbers(value, f"{prefix}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield prefix


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    """With metadata and a trailer."""
    file = tmp_path_factory.mktemp("case") / "a photo.jpg"
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "EOS SECRET-5D"
    file.write_bytes(toy.saved(toy.picture(3, fake=False, size=(200, 160)), "JPEG", exif=exif, quality=90) + b"SECRET-TRAILER" * 9)
    return file


@pytest.fixture(scope="module")
def options(tiny_bundle) -> list[str]:
    return ["--bundle", str(tiny_bundle.folder), "--prior", "0.1", "--fuse", "100"]


@pytest.fixture(scope="module")
def made(picture, options, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert main(["report", str(picture), "-o", str(folder / "new" / "case.html"), "--json", str(folder / "new" / "case.json"), *options]) == 0
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["case.html", "case.json"]
    return folder / "new"


@pytest.fixture(scope="module")
def content(made) -> dict:
    return json.loads((made / "case.json").read_bytes())


@pytest.fixture
def verify(tiny_bundle, capsys):
    """Run ``verify``; gives the exit code, what it printed, and what it said."""

    def call(case, picture, *more):
        capsys.readouterr()
        code = main(["verify", str(case), str(picture), "--bundle", str(tiny_bundle.folder), *map(str, more)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def changed(content, tmp_path):
    """The case with one value changed."""

    def call(pointer, value):
        copy = json.loads(json.dumps(content))
        parent, _, key = pointer.rpartition("/")
        of = at(copy, parent) if parent else copy
        of[int(key) if isinstance(of, list) else key] = value(of[int(key) if isinstance(of, list) else key]) if callable(value) else value
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(copy))
        return file

    return call


class TestJson:
    def test_two_processes_differ_in_the_time_only(self, made, picture, options, content, run, tmp_path):
        shutil.copy(picture, tmp_path / picture.name)  # in another folder, too
        again = run("-m", "realgrain", "report", tmp_path / picture.name, "--json", tmp_path / "b.json", *options)
        assert again.returncode == 0, again.stderr
        pair = [(file, json.loads(file.read_bytes())["made"]) for file in (made / "case.json", tmp_path / "b.json")]
        first, second = (file.read_bytes().replace(f'"made": "{moment}"'.encode(), b"") for file, moment in pair)
        assert first == second
        assert b'"made"' not in first

    def test_holds_the_report_of_detect_unchanged(self, content, picture, options, capsys):
        assert main(["detect", str(picture), "--json", *options]) == 0
        report = json.loads(capsys.readouterr().out)
        assert content["report"].pop("picture") | {"name": str(picture)} == report["picture"]
        assert {**content["report"], "picture": report["picture"]} == report
        content["report"]["picture"] = {**report["picture"], "name": picture.name}

    def test_sorted_and_read_back(self, made, content):
        case, raw = read_case(made / "case.json")
        assert case.content() == raw
        assert list(content) == sorted(content)

    def test_names_no_folder(self, made, picture, tiny_bundle):
        for file in made.iterdir():
            text = file.read_text()
            assert str(picture.parent) not in text and str(tiny_bundle.folder.parent) not in text

    def test_command_makes_it_again(self, content, made, picture, tiny_bundle, tmp_path, monkeypatch):
        import shlex

        shutil.copy(picture, tmp_path)
        shutil.copytree(tiny_bundle.folder, tmp_path / tiny_bundle.folder.name)
        monkeypatch.chdir(tmp_path)
        program, *arguments = shlex.split(content["command"])
        assert program == "realgrain" and main(arguments) == 0
        again = json.loads(Path("case.json").read_bytes())
        assert {**again, "made": ""} == {**content, "made": ""}

    @pytest.mark.parametrize(("option", "name"), [("bundle", "detector-2.0"), ("bundle", "-tiny"), ("profile", "cam-1.0"), ("trust_list", "-l.pem")])
    def test_command_keeps_names(self, made, option, name):
        settings = read_case(made / "case.json")[0].settings
        _, chosen, _ = app.parse_args(command("a.jpg", settings.model_copy(update={option: name})).split()[1:])
        judging = chosen.arguments["judging"]
        assert str(getattr(judging, option)) == name
        assert (judging.prior, judging.fuse) == (0.1, 100.0)


@pytest.fixture(scope="module", params=[Policy(prior=0.1, fuse=10.0), Policy("photo", 0.3), Policy("photo", 0.001), Policy("document", 0.01)])
def both(request, tiny_bundle, picture):
    case, _ = look(load(tiny_bundle, threads=1, policy=request.param), picture)
    return json.loads(case.content()), json.loads((tiny_bundle.folder / "card.json").read_bytes())


class TestOrigins:
    def test_every_number_has_one(self, both):
        case, _ = both
        known = {one["number"] for one in case["origins"]}
        for number in numbers({name: case[name] for name in ("report", "regions", "tolerance", "settings")}):
            if not number.startswith("/report/evidence") and number != "/report/version":
                assert any(number == one or number.startswith(f"{one}/") for one in known), number

    def test_they_lead_where_they_say(self, both, tiny_bundle):
        case, card = both
        assert any(one["source"] == "card" for one in case["origins"])
        for one in case["origins"]:
            here = at(case, one["number"])
            if one["source"] == "card":
                assert at(card, one["where"]) == here, one
            elif one["source"] == "data":
                start = one["where"].rstrip("*")
                assert any(name.startswith(start) for name in tiny_bundle.statistics)
            elif one["how"] == "the same number":
                assert at(case, one["where"]) == here
            else:
                for pointer in one["where"].split():
                    at(case, pointer)

    def test_a_profile_with_a_domain_of_its_own(self, tiny_bundle, picture):
        card = tiny_bundle.card
        domain = card.domain.model_copy(update={"threshold": card.domain.threshold + 1})
        profiles = {**card.profiles, "photo": card.profiles["photo"].model_copy(update={"domain": domain})}
        bundle = replace(tiny_bundle, card=card.model_copy(update={"profiles": profiles}))
        case, _ = look(load(bundle, threads=1), picture, tiles=None)
        (found,) = [one for one in case.origins if one.number == "/report/domain/threshold"]
        assert at(json.loads(bundle.card.model_dump_json()), found.where) == case.report.domain.threshold == domain.threshold

    def test_stands_on_the_page(self, both, tiny_bundle, picture):
        detector = load(tiny_bundle, threads=1)
        case, pixels = look(detector, picture, tiles=None)
        text = Page(case_page.render(case, pixels)).text
        for one in case.origins:
            assert one.number in text and one.where in text
        rate = case.report.decision.false_positive
        assert f"n = {rate.n:,}" in text and case.report.sentence in text and case.report.detector.bundle in text
        assert case.weights.base in text and str(case.report.decision.fitted) in text


class TestPage:
    @pytest.fixture
    def text(self, made) -> str:
        return (made / "case.html").read_text()

    def test_loads_nothing(self, text):
        found = Page(text)
        assert found.open == []
        assert found.loads and all(of.startswith("data:image/jpeg;base64,") for of in found.loads)
        assert not found.tags & {"script", "link", "iframe", "object", "embed", "form", "a", "base", "video", "audio"}
        assert "url(" not in text and "@import" not in text and "default-src 'none'" in text

    def test_carries_pixels_and_no_metadata(self, text):
        for uri in Page(text).loads:
            data = base64.b64decode(uri.split(",", 1)[1])
            assert b"SECRET" not in data
            with Image.open(io.BytesIO(data)) as image:
                assert not image.getexif() and data.endswith(b"\xff\xd9")

    def test_shows_evidence_with_its_mark(self, text):
        shown = Page(text).text
        assert '– unsigned "Canon EOS SECRET-5D"' in shown
        assert "bytes follow the end of the picture" in shown

    def test_says_when_it_is_not_localised(self, tiny_detector, tmp_path):
        Image.new("RGB", (200, 200), "grey").save(tmp_path / "flat.png")
        case, pixels = look(tiny_detector, tmp_path / "flat.png")
        assert not case.regions.localised
        assert "Not localised" in Page(case_page.render(case, pixels)).text

    def test_says_which_re_saves_take_a_verdict_back(self, tiny_detector, picture):
        """By the same rule as the verdict: a version on its side of the middle between the thresholds does not, wherever the thresholds are."""
        now, pixels = look(tiny_detector, picture, tiles=None)
        decision = now.report.decision
        inside, short = (of.model_copy(update={"outside": False}) for of in (now.report.domain, now.report.borders))
        between = (decision.ai + decision.camera) / 2
        chance = float(probability(decision.calibration, between))
        found = []
        for off in (0.01, -0.01):
            again = {view.name: decision.ai for view in now.report.stability.views[1:]} | {"flip": between + off}
            report = tiny_detector.conclude(now.report.picture, [decision.ai], again, inside, now.report.evidence, short)
            text = case_page.render(now.model_copy(update={"report": report}), pixels)
            assert case_page.turning(now) == round(100 * chance, 2)
            assert text.count('class="middle"') == len(report.stability.views)
            said = Page(text).text
            assert f"Dotted line: the middle between them, {chance:.3f}" in said and "different sides" not in said
            found.append((report.verdict.label, report.verdict.reasons))
        assert found == [("ai", []), ("unsure", ["unstable"])]

    def test_draws_no_scale_where_logits_tell_nothing(self, tiny_bundle, picture):
        """All versions, and both thresholds, would lie on one point."""
        flat = Calibration(method="platt", slope=0)
        card = tiny_bundle.card.model_copy(update={"calibration": flat})
        case, pixels = look(load(replace(tiny_bundle, card=card), threads=1, policy=Policy(prior=0.01)), picture, tiles=None)
        text = case_page.render(case, pixels)
        said = Page(text).text
        assert case.report.decision.calibration.flat and case.report.posterior.likelihood_ratio == 1
        assert "50.0 % AI-generated, whatever the logit is" in said and f"The logit is {case.report.logit:.3f}, between" in said
        assert 'class="dot"' not in text

    def test_draws_no_middle_where_no_re_save_was_looked_at(self, tiny_bundle, picture):
        case, pixels = look(load(tiny_bundle, threads=1, policy=Policy(stability=False)), picture, tiles=None)
        text = case_page.render(case, pixels)
        assert 'class="middle"' not in text and "Dotted line" not in text and "Between them the verdict is" in Page(text).text

    def test_fits_phones_and_both_papers(self, text):
        assert '<meta name="viewport" content="width=device-width' in text and "prefers-color-scheme: dark" in text

    def test_hostile_words(self, tiny_detector, tmp_path):
        file = tmp_path / f'"><img src=x onerror=alert(1)> {"‮"}\x1b[31m{"x" * 150}.png'
        said = PngInfo()
        said.add_text("parameters", f"{HOSTILE}\nSteps: 20, Sampler: {HOSTILE}, CFG scale: 7, Seed: 1, Size: 1x1, Model: {HOSTILE}{'y' * 5000}")
        exif = Image.Exif()
        exif[0x010F], exif[0x0131] = f"{HOSTILE}\u202e\x1b[0m", "'\"><svg onload=alert(1)>"
        Image.fromarray(toy.picture(1, fake=True)).save(file, pnginfo=said, exif=exif)
        case, pixels = look(tiny_detector, file, tiles=None)
        text = case_page.render(case, pixels)
        found = Page(text)
        assert found.open == [] and not found.tags & {"script", "b", "a"}
        assert len(found.loads) == 1
        assert HOSTILE in found.text and HOSTILE not in text
        assert "\x1b" not in text and "\u202e" not in text
        assert "y" * 400 not in text and "x" * 150 not in re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", text, flags=re.DOTALL)


class TestVerify:
    def test_the_same(self, made, picture, verify):
        code, out, _ = verify(made / "case.json", picture)
        assert code == 0
        assert "the same: verdict" in out and "to the last bit" in out

    def test_another_name_and_folder_are_no_difference(self, made, picture, verify, tmp_path):
        shutil.copy(picture, tmp_path / "renamed.bin")
        assert verify(made / "case.json", tmp_path / "renamed.bin")[0] == 0

    @pytest.mark.parametrize(
        ("pointer", "value", "part"),
        [
            ("/report/logit", lambda old: old + 1e-12, "logits"),
            ("/report/view_logits/0", lambda old: old + 0.5, "logits"),
            ("/report/stability/views/2/logit", lambda old: old + 0.5, "logits"),
            ("/report/probability", 0.5, "verdict"),
            ("/report/verdict/label", lambda old: "camera" if old == "ai" else "ai", "verdict"),
            ("/report/verdict/false_positive/high", 0.001, "verdict"),
            ("/report/decision/ai", lambda old: old - 1, "verdict"),
            ("/report/posterior/probability", 0.5, "verdict"),
            ("/report/fused/probability", 0.5, "verdict"),
            ("/report/sentence", "flagged, without any doubt", "words"),
            ("/report/evidence/claims/0/camera", "Leica", "evidence"),
            ("/report/evidence/claims/0/trust", "signed-trusted", "evidence"),
            ("/report/picture/sha256", "0" * 64, "file"),
            ("/regions/tiles/0/logit", lambda old: old + 0.5, "regions"),
            ("/regions/localised", lambda old: not old, "regions"),
            ("/weights/base", "0" * 64, "bundle"),
            ("/settings/prior", 0.2, "verdict"),
            ("/limits/0", "None.", "words"),
            ("/tolerance", 5.0, "bundle"),
        ],
    )
    def test_a_changed_value_is_found(self, changed, picture, verify, pointer, value, part):
        code, out, _ = verify(changed(pointer, value), picture, "--json")
        assert code == 1
        found = json.loads(out)
        assert found["outcome"] == "differs"
        assert part in {one["part"] for one in found["differences"]}
        assert pointer in {one["field"] for one in found["differences"]} or pointer == "/settings/prior"

    @pytest.mark.parametrize(
        ("pointer", "value"),
        [
            ("/report/sentence", "flagged, without any doubt"),
            ("/limits", []),
            ("/limits/0", "None."),
            ("/command", "rm -rf ~"),
            ("/report/fused/rule", "A claim is proof."),
            ("/report/evidence/caution", "Trust all of this."),
            ("/origins/0/how", "by a court"),
        ],
    )
    def test_another_version_excuses_no_words(self, changed, picture, verify, pointer, value):
        file = changed(pointer, value)
        forged = json.loads(file.read_bytes())
        forged["report"]["detector"]["realgrain"] = forged["machine"]["versions"]["realgrain"] = "0.0.1"
        file.write_text(json.dumps(forged))
        code, out, _ = verify(file, picture, "--json")
        assert code == 1
        found = json.loads(out)
        assert {one["part"] for one in found["differences"]} == {"versions", "words"}
        assert all(one["field"].startswith((pointer, "/report/detector", "/machine")) for one in found["differences"])

    def test_a_key_that_stands_twice_is_refused(self, made, picture, verify, tmp_path):
        """Else a reader that shows the first and one that takes the last see two reports, of which this one would pass."""
        forged = tmp_path / "forged.json"
        text = (made / "case.json").read_text()
        forged.write_text(text.replace('"sentence": ', '"sentence": "flagged, without any doubt", "sentence": ', 1))
        code, out, err = verify(forged, picture)
        assert (code, out) == (2, "")
        assert "forged.json" in err and "the key 'sentence' stands twice" in err

    def test_another_picture(self, made, verify, tmp_path):
        (tmp_path / "a.jpg").write_bytes(toy.saved(toy.picture(4, fake=True, size=(200, 160)), "JPEG"))
        code, out, _ = verify(made / "case.json", tmp_path / "a.jpg")
        assert code == 1
        assert "/report/picture/sha256" in out and "it differs" in out

    @pytest.mark.parametrize(
        "pointer", ["/report/detector/runtime_version", "/machine/versions/numpy", "/machine/processor", "/report/detector/realgrain"]
    )
    def test_another_version_is_told_apart(self, changed, picture, verify, pointer):
        code, out, _ = verify(changed(pointer, "0.0.1"), picture)
        assert code == 0
        assert "same verdict" in out and "other version: logits within 0.0001" in out and pointer in out

    def test_other_versions_may_be_off_by_the_tolerance_and_no_more(self, picture, tiny_detector):
        """A case as another machine would have made it: its logits a little off, and all that follows from them."""
        now, _ = look(tiny_detector, picture)
        for off, outcome in ((5e-5, "other version"), (5e-4, "differs")):
            report = now.report
            moved = tiny_detector.conclude(
                report.picture,
                [logit + off for logit in report.view_logits],
                {view.name: view.logit - off for view in report.stability.views[1:]},
                report.domain,
                report.evidence,
                report.borders,
            )
            machine = now.machine.model_copy(update={"processor": "another"})
            recorded = now.model_copy(update={"report": moved, "machine": machine})
            found = check(recorded, recorded.content(), now, tiny_detector)
            assert (found.outcome, found.exact) == (outcome, False)
            assert found.furthest == pytest.approx(off)
            # One number alone cannot be moved, however little.
            alone = recorded.model_copy(update={"report": moved.model_copy(update={"logit": moved.logit + 2e-5})})
            assert check(alone, alone.content(), now, tiny_detector).outcome == "differs"
            assert "/report/logit" in "\n".join(words(check(alone, alone.content(), now, tiny_detector)))

    def test_another_bundle_cannot_be_used(self, made, picture, capsys):
        assert main(["verify", str(made / "case.json"), str(picture)]) == 2
        assert "name the other's folder with --bundle" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{", "not JSON"),
            ("[]", "not a case report"),
            ('{"report": 1}', "not a case report"),
            ('{"kind": "realgrain-case", "version": 9}', "version 9"),
            ('{"kind": "realgrain-case", "version": 2}', "not a whole case report"),
            ("[" * 100_000, "not JSON"),
            ('{"kind": "realgrain-case", "version": 9, "version": 1}', "the key 'version' stands twice"),
        ],
    )
    def test_no_case(self, text, why, picture, verify, tmp_path):
        (tmp_path / "bad.json").write_text(text)
        code, _, err = verify(tmp_path / "bad.json", picture)
        assert code == 2 and why in err and "bad.json" in err

    @pytest.mark.parametrize(
        ("pointer", "value", "code"),
        [
            ("/machine/versions", lambda old: {**old, HIDING: "1"}, 0),
            ("/report/detector/bundle", HIDING, 2),
            ("/report/evidence/trust_list", {"name": "l.pem", "sha256": HIDING, "certificates": 1, "date": "2026-01-01"}, 2),
        ],
    )
    def test_a_report_cannot_rewrite_the_terminal(self, changed, picture, verify, pointer, value, code):
        file = changed(pointer, value)
        found, out, err = verify(file.rename(file.with_name(f"{HIDING}.json")), picture)
        assert found == code
        assert all(line.isprintable() for line in (out + err).split("\n"))
        assert "\\x1b[2J" in out + err and "\nthe same" not in out + err

    def test_names_of_files_are_escaped(self, picture, verify, tmp_path):
        for name, text in ((f"a{HIDING}", "{"), (f"b{HIDING}", "[]"), (f"c{HIDING}", None)):
            if text is not None:
                (tmp_path / name).write_text(text)
            code, _, err = verify(tmp_path / name, picture)
            assert code == 2 and "\\x1b[2J" in err and err.removesuffix("\n").isprintable()

    def test_missing_files(self, made, picture, verify, tmp_path):
        assert verify(tmp_path / "gone.json", picture)[0] == 2
        assert verify(made / "case.json", tmp_path / "gone.jpg")[0] == 2
        with pytest.raises(CaseError, match="cannot be read"):
            read_case(tmp_path)

    def test_settings_are_kept(self, picture, tiny_bundle, verify, tmp_path):
        case = tmp_path / "c.json"
        more = ["--bundle", str(tiny_bundle.folder), "--no-stability", "--no-evidence", "--no-regions", "--profile", "photo", "--max-fpr", "0.3"]
        assert main(["report", str(picture), "--json", str(case), *more]) == 0
        code, out, _ = verify(case, picture)
        assert code == 0, out


class TestNames:
    """Of what is the same by its sha256: how it is called where it lies is shown, and makes no difference."""

    @pytest.fixture
    def trust_list(self, tmp_path) -> Path:
        return Path(shutil.copy(pytest.importorskip("certifi").where(), tmp_path / "list.pem"))

    def test_of_a_bundle(self, changed, picture, verify, content):
        copy = changed("/settings/bundle", "Reuters")
        copy.write_text(copy.read_text().replace(f"--bundle {content['settings']['bundle']}", "--bundle Reuters"))
        code, out, _ = verify(copy, picture)
        assert code == 0
        assert "/settings/bundle" in out and "Reuters" in out

    def test_of_a_trust_list(self, picture, tiny_bundle, verify, tmp_path, trust_list):
        case, more = tmp_path / "c.json", ["--bundle", str(tiny_bundle.folder), "--no-regions", "--no-stability"]
        assert main(["report", str(picture), "--json", str(case), "--trust-list", str(trust_list), *more]) == 0
        assert "names     same" in verify(case, picture, "--trust-list", trust_list)[1]
        forged = json.loads(case.read_bytes())
        forged["report"]["evidence"]["trust_list"]["date"] = "2099-01-01"
        case.write_text(json.dumps(forged))
        code, out, _ = verify(case, picture, "--trust-list", trust_list.rename(tmp_path / "other.pem"))
        assert code == 0
        assert '/report/evidence/trust_list/date: "2099-01-01" in the report' in out
        assert '/report/evidence/trust_list/name: "list.pem" in the report, "other.pem" now' in out

    def test_a_trust_list_that_nothing_was_checked_against_is_not_recorded(self, picture, tiny_bundle, verify, tmp_path, trust_list):
        case, more = tmp_path / "c.json", ["--bundle", str(tiny_bundle.folder), "--no-regions", "--no-stability"]
        assert main(["report", str(picture), "--json", str(case), "--no-evidence", "--trust-list", str(trust_list), *more]) == 0
        made = json.loads(case.read_bytes())
        assert made["settings"]["trust_list"] is None and "trust-list" not in made["command"]
        code, out, _ = verify(case, picture)
        assert code == 0, out


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["PICTURE"], "nothing to write"),
            (["PICTURE", "PICTURE", "-o", "c.html"], "a case report is of one picture"),
            (["PICTURE", ".", "-o", "c.html"], "give either a picture or folders of runs"),
            (["PICTURE", "-o", "c.pdf"], "a case report is an .html file"),
            (["PICTURE", "-o", "c.html", "--resamples", "5"], "for the report of runs"),
            (["PICTURE", "--json", "PICTURE"], "is what this is made from"),
            (["PICTURE", "-o", "c.html", "--json", "./c.html"], "c.html: is named for two outputs"),
            (["gone.jpg", "-o", "c.html", "--json", "c.json"], "gone.jpg: no such file or folder"),
            ([".", "-o", "c.html", "--no-regions"], "for the report of a picture"),
            ([".", "-o", "c.html", "--prior", "0.1"], "for the report of a picture"),
            (["bad.png", "-o", "c.html"], "bad.png: "),
            (["PICTURE", "-o", "c.html", "--fuse", "10", "--no-evidence"], "--no-evidence"),
        ],
    )
    def test_wrong_usage(self, arguments, why, picture, tiny_bundle, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "bad.png").write_bytes(b"no picture")
        shutil.copy(picture, tmp_path / "p.jpg")
        given = ["p.jpg" if one == "PICTURE" else one for one in arguments]
        more = [] if "." in given else ["--bundle", str(tiny_bundle.folder)]
        assert main(["report", *given, *more]) == 2
        assert why in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "p.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [420, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(made, width, dark, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium here to open the page with")
    shot = tmp_path / "shot.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={width},2000", f"--screenshot={shot}"]
    subprocess.run([*command, (made / "case.html").as_uri()], check=True, capture_output=True, timeout=120)
    with Image.open(shot) as image:
        assert image.size == (width, 2000)
        rgb = image.convert("RGB")
        assert len(rgb.getcolors(1 << 24) or ()) > 100  # words and a picture, not a blank page
        assert (sum(rgb.getpixel((1, 1))) < 150) == dark
        margin = rgb.crop((width - 3, 0, width, 2000))  # nothing runs over the right edge
        assert len(margin.getcolors(1 << 24)) == 1
