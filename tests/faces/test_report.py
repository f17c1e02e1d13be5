import base64
import csv
import io
import json
import re
import shutil

import pyarrow.parquet as pq
import pytest
import toy
from pages import Page
from PIL import Image

from realgrain.faces.cli import main
from realgrain.measuring.benchmarks.published import published
from realgrain.measuring.finished import read_run
from realgrain.measuring.peers import MOST, PAPERS, peers
from realgrain.measuring.report_words import estimate, summary
from realgrain.measuring.running import METRICS, SCORES
from realgrain.measuring.worst import SHOWN, worst


def opened(uri: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))
    image.load()
    return image


@pytest.fixture(scope="module")
def page(done, tree, tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("page") / "new" / "report.html"
    assert main(["report", str(done), "-o", str(file), "--pictures", str(tree)]) == 0
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]
    return file.read_text()


class TestPage:
    def test_loads_nothing(self, page):
        found = Page(page)
        assert found.loads and all(of.startswith("data:image/") for of in found.loads)
        assert not found.tags & {"script", "link", "iframe", "object", "embed", "form", "a", "base", "video", "audio"}
        assert "url(" not in page and "@import" not in page
        assert "default-src 'none'" in page

    def test_is_whole(self, page):
        assert Page(page).open == []

    def test_fits_phones_and_both_papers(self, page):
        assert '<meta name="viewport" content="width=device-width' in page
        assert "@media (prefers-color-scheme: dark) {" in page
        style = page[page.index("<style>") : page.index("</style>")]
        assert style.count("{") == style.count("}")
        assert page.count('<source media="(prefers-color-scheme: dark)"') == page.count('<img class="plot"')

    def test_plots_open_and_differ_by_paper(self, page):
        pairs = re.findall(r'srcset="(data:image/png[^"]*)">\s*<img class="plot" src="([^"]*)"', page)
        assert len(pairs) == 5  # groups, ROC, reliability, JPEG quality, deliveries
        for dark, light in pairs:
            assert sum(opened(dark).convert("RGB").getpixel((0, 0))) < 150 < 700 < sum(opened(light).convert("RGB").getpixel((0, 0)))

    def test_thumbnails(self, page, done, tree):
        found = Page(page)
        thumbnails = [uri for uri in found.loads if uri.startswith("data:image/jpeg")]
        assert len(thumbnails) == 2 * SHOWN
        assert all(max(opened(uri).size) <= 176 for uri in thumbnails)
        assert all(found.alts)
        assert "made without --pictures" not in page
        for mistakes in worst(read_run(done), tree).values():
            for one in mistakes:
                assert one.path in found.text and f"logit {one.logit:.2f}" in found.text

    def test_says_what_was_found(self, page, done):
        run, text = read_run(done), Page(page).text
        for sentence in summary(run):
            assert sentence in text
        assert f"AUC {run.result.metrics['auc'].value:.3f}" in text
        for check in run.audit.checks:
            assert check.name in text
        assert run.lock.sha256 in text and run.lock.manifest.sha256 in text
        for name in run.evaluation.conditions:
            assert name in text

    def test_worst_beside_each_mean(self, page, done):
        table = page[page.index("Means over sets (mAcc)") : page.index("Worst errors, ")]
        for of in read_run(done).evaluation.conditions.values():
            for metric in ("accuracy_at_half", "balanced_accuracy_at_half", "ap"):
                worst = [getattr(of, f"over_{kind}")[metric] for kind in ("sets", "generators", "real_sources")]
                cells = "".join(rf"<td[^>]*>{re.escape(mean.worst or '(unnamed)')} {mean.worst_value:.3f}</td>" for mean in worst)
                assert re.search(rf">{re.escape(estimate(worst[0]))}</td>{cells}", table)
            third = of.macc["mean_of_real_and_generators_at_half"]
            worst = of.over_generators["fake_accuracy_at_half"], of.over_real_sources["real_accuracy_at_half"]
            cells = "".join(rf"<td[^>]*>{re.escape(mean.worst or '(unnamed)')} {mean.worst_value:.3f}</td>" for mean in worst)
            assert re.search(rf">{re.escape(estimate(third))}</td><td[^>]*>–</td>{cells}", table)

    def test_published_figures(self, page):
        text = Page(page).text
        assert "MPFT" in text and "98.2" in text
        assert "No figure of PiN-CLIP on this benchmark is known." in text
        assert "This run lacks 6 of 8 sets" in text
        assert "2 of 2 sets have not the published number of pictures: glide, wukong." in text

    def test_published_figures_of_single_sets(self, page, done):
        parts = read_run(done).evaluation.conditions["clean"].sets
        (theirs,) = [figure.value for figure in published("genimage") if (figure.method, figure.set) == ("ResNet-50", "glide")]
        cells = [("ours", 100 * parts["glide"].metrics["accuracy_at_half"].value), ("ResNet-50", theirs)]
        row = "".join(f'<td class="number" data-t="{title}">{value:.1f}</td>' for title, value in cells)
        assert f'<th scope="row">glide</th>{row}' in page
        assert '<th scope="row">Midjourney</th>' not in page
        assert "Published on single sets: accuracy in percent, and this run" in Page(page).text

    def test_same_again(self, page, done, tree, tmp_path):
        assert main(["report", str(done), "-o", str(tmp_path / "r.html"), "--pictures", str(tree)]) == 0
        assert Page((tmp_path / "r.html").read_text()).loads == Page(page).loads


class TestCommand:
    def test_without_pictures(self, done, tmp_path):
        assert main(["report", str(done), "-o", str(tmp_path / "r.html")]) == 0
        text = (tmp_path / "r.html").read_text()
        assert "made without --pictures ROOT" in text
        assert "data:image/jpeg" not in text
        assert "logit " in Page(text).text

    def test_changed_and_missing_pictures_are_not_shown(self, done, tree, tmp_path):
        shutil.copytree(tree, tmp_path / "tree")
        worsts = [one for mistakes in worst(read_run(done), None).values() for one in mistakes]
        gone, changed = worsts[0].path, worsts[-1].path
        (tmp_path / "tree" / gone).unlink()
        (tmp_path / "tree" / changed).write_bytes(toy.saved(toy.picture(5, fake=True)))
        assert main(["report", str(done), "-o", str(tmp_path / "r.html"), "--pictures", str(tmp_path / "tree")]) == 0
        found = Page((tmp_path / "r.html").read_text())
        assert "is not in that folder" in found.text and "has changed since the run" in found.text
        assert sum(uri.startswith("data:image/jpeg") for uri in found.loads) == 2 * SHOWN - 2

    def test_several_runs(self, done, tree, tiny_bundle, tmp_path):
        other = tmp_path / "other"
        arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "0", "--limit", "3"]
        assert main(["bench", "run", "genimage", str(tree), "-o", str(other), *arguments]) == 0
        assert main(["report", str(done), str(other), "-o", str(tmp_path / "r.html"), "--resamples", "20"]) == 0
        found = Page((tmp_path / "r.html").read_text())
        assert found.open == []
        assert "2 runs side by side" in found.text
        assert "A: tiny on GenImage against B: tiny on GenImage" in found.text
        assert "+0.000 (+0.000 to +0.000)" in found.text
        assert "only A has the conditions web, hard, jpeg-60, jpeg-30, jpeg96-aligned" in found.text
        assert "this is a first look" in found.text

    def test_notes_call_each_run_by_its_letter_on_the_page(self, done, tree, tiny_bundle, tmp_path):
        other = tmp_path / "other"
        arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "0", "--limit", "3"]
        assert main(["bench", "run", "genimage", str(tree), "-o", str(other), *arguments]) == 0
        assert main(["report", str(other), str(other), str(done), "-o", str(tmp_path / "r.html"), "--resamples", "5"]) == 0
        text = (tmp_path / "r.html").read_text()
        assert [f"{b} − {a}</th>" in text for a, b in ("AB", "BC")] == [True, True]
        assert "only C has the conditions web, hard" in text and "only A" not in text and "only B" not in text

    def test_runs_that_share_nothing(self, done, toy_manifest, tiny_bundle, tmp_path):
        other = tmp_path / "other"
        arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "0", "--limit", "2"]
        assert main(["bench", "run", "csv", str(toy_manifest), "-o", str(other), *arguments]) == 0
        assert main(["report", str(done), str(other), "-o", str(tmp_path / "r.html")]) == 0
        text = Page((tmp_path / "r.html").read_text()).text
        assert "They cannot be paired: nothing to compare" in text

    def test_without_audit(self, done, tmp_path):
        shutil.copytree(done, tmp_path / "run")
        (tmp_path / "run" / "audit.json").unlink()
        assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 0
        assert "There is none in the run&#39;s folder" in (tmp_path / "r.html").read_text().replace("'s folder", "&#39;s folder")

    def test_hostile_names(self, toy_manifest, tiny_bundle, tmp_path):
        shutil.copytree(toy_manifest.parent, tmp_path / "toy")
        file = tmp_path / "toy" / "manifest.csv"
        rows = list(csv.DictReader(io.StringIO(toy_manifest.read_text())))
        for row in rows:
            row["generator"] = row["generator"].replace("gan", "<script>alert(1)</script>").replace("diffusion", "$\\frac{$ \u202e\x1b[31m")
            row["source"] = row["source"].replace("camera-a", '"><img src=https://x.example/y>')
        evil = 'fake/gan-a/"onerror=alert(1) <b>.png'
        (tmp_path / "toy" / "fake" / "gan-a" / "00.png").rename(tmp_path / "toy" / evil)
        rows = [{**row, "path": evil if row["path"] == "fake/gan-a/00.png" else row["path"]} for row in rows]
        toy.write_manifest(file, rows)
        run = tmp_path / "run"
        assert main(["bench", "run", "csv", str(file), "-o", str(run), "--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "0"]) == 0
        assert main(["report", str(run), "-o", str(tmp_path / "r.html"), "--pictures", str(file)]) == 0
        text = (tmp_path / "r.html").read_text()
        found = Page(text)
        assert found.open == []
        assert "script" not in found.tags and "b" not in found.tags
        assert all(of.startswith("data:image/") for of in found.loads)
        assert "\x1b" not in text and "\u202e" not in text
        assert "<script>alert(1)</script>" in found.text

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["gone", "-o", "r.html"], "gone: no such file or folder"),
            ([".", "-o", "r.html"], "not the folder of a run"),
            (["-o", "r.html"], "no runs"),
            ([".", "-o", "r.pdf"], "a report of runs is an .html file"),
            ([".", "-o", "r.html", "--pictures", "a", "--pictures", "b"], "2 folders of pictures for 1 runs"),
        ],
    )
    def test_wrong_usage(self, arguments, words, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["report", *arguments]) == 2
        assert words in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("file", [SCORES, METRICS, "audit.json"])
    def test_broken_run(self, done, file, tmp_path, capsys):
        shutil.copytree(done, tmp_path / "run")
        (tmp_path / "run" / file).write_text("{}")
        assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 2
        assert file in capsys.readouterr().err
        assert not (tmp_path / "r.html").exists()

    def test_figures_of_another_run(self, done, tmp_path, capsys):
        shutil.copytree(done, tmp_path / "run")
        content = json.loads((done / METRICS).read_text())
        (tmp_path / "run" / METRICS).write_text(json.dumps({**content, "lock": "0" * 64}))
        assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 2
        assert f"{METRICS}: made under another lock.json" in capsys.readouterr().err

    @pytest.mark.parametrize(("name", "value"), [("label", "photo"), ("logit", float("nan"))])
    def test_scores_that_are_none(self, done, name, value, tmp_path, capsys):
        shutil.copytree(done, tmp_path / "run")
        table = pq.read_table(done / SCORES)
        column = table.schema.get_field_index(name)
        changed = table.set_column(column, table.schema.field(column), [[value, *table[name].to_pylist()[1:]]])
        pq.write_table(changed, tmp_path / "run" / SCORES)
        assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 2
        assert f"{tmp_path / 'run' / SCORES}: " in capsys.readouterr().err

    @pytest.mark.parametrize("file", ["lock.json", METRICS, "audit.json"])
    def test_what_is_wrong_with_a_file_is_one_line(self, done, file, tmp_path, capsys):
        shutil.copytree(done, tmp_path / "run")
        (tmp_path / "run" / file).write_text('{"version": "x"}')
        assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"realgrain: {tmp_path / 'run' / file}: not the ") and err.count("\n") == 1 and "pydantic" not in err

    def test_pictures_of_another_benchmark(self, done, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        assert main(["report", str(done), "-o", str(tmp_path / "r.html"), "--pictures", str(tmp_path / "empty")]) in {0, 2}
        assert main(["report", str(done), "-o", str(tmp_path / "s.html"), "--pictures", str(tmp_path / "gone")]) == 2
        assert not (tmp_path / "s.html").exists()


class TestRun:
    def test_prints_audit_and_published(self, done, tree, tiny_bundle, tmp_path, capsys):
        arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "0"]
        for _ in range(2):
            assert main(["bench", "run", "genimage", str(tree), "-o", str(tmp_path / "run"), *arguments]) == 0
        out = capsys.readouterr().out
        assert out.count("Audit of the pictures, in full in ") == 2
        assert "Published on GenImage" in out and "MPFT" in out and "Published on single sets: accuracy" in out

    def test_audit_repeats(self, done, tree, tiny_bundle, tmp_path):
        shutil.copytree(done, tmp_path / "run")
        before = (tmp_path / "run" / "audit.json").read_bytes()
        (tmp_path / "run" / "audit.json").unlink()
        protocol = read_run(done).lock.protocol
        arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "20", "--conditions", *protocol.conditions]
        assert main(["bench", "run", "genimage", str(tree), "-o", str(tmp_path / "run"), *arguments]) == 0
        assert (tmp_path / "run" / "audit.json").read_bytes() == before

    def test_verify_does_not_mind(self, done, tree, tiny_bundle, capsys):
        assert main(["bench", "verify", str(done), str(tree), "--bundle", str(tiny_bundle.folder), "--offline", "--count", "1"]) == 0

    def test_audit_of_another_run_is_no_audit(self, done, tmp_path):
        shutil.copytree(done, tmp_path / "run")
        file = tmp_path / "run" / "audit.json"
        written = json.loads(file.read_text())
        file.write_text(json.dumps({**written, "lock": "0" * 64}))
        assert read_run(tmp_path / "run").audit is None


class TestPeers:
    def test_ours_is_the_mean_over_sets(self, done):
        run = read_run(done)
        found = peers(run.lock, run.evaluation)
        clean = run.evaluation.conditions["clean"]
        for peer in found.peers:
            of = run.evaluation.conditions["clean" if peer.condition == "clean" else "jpeg96-aligned"]
            mean = sum(part.metrics[f"{peer.main.metric}_at_half"].value for part in of.sets.values()) / len(of.sets)
            assert peer.main.ours == pytest.approx(100 * mean)
        (mpft,) = [peer for peer in found.peers if peer.method == "MPFT"]
        (figure,) = [of for of in published("genimage") if of.method == "MPFT" and not of.set]
        assert mpft.main.theirs == figure.value and figure.convention in mpft.differs
        assert clean.over_sets["accuracy_at_half"].value == pytest.approx(mpft.main.ours / 100)

    def test_best_first_and_not_all(self, done):
        run = read_run(done)
        found = peers(run.lock, run.evaluation)
        main_figures = [peer.main.theirs for peer in found.peers if peer.condition == "clean" and peer.method not in PAPERS]
        assert main_figures == sorted(main_figures, reverse=True)
        assert len([peer for peer in found.peers if peer.method not in PAPERS]) <= MOST
        assert found.more > 0

    def test_papers_are_always_there(self, done):
        run = read_run(done)
        for name, papers in (("aigcdetect", {"PiN-CLIP"}), ("universalfakedetect", {"MPFT"}), ("aigibench", {"PiN-CLIP"})):
            found = peers(run.lock.model_copy(update={"benchmark": name}), run.evaluation)
            assert papers <= {peer.method for peer in found.peers}
            assert all(peer.method != paper or peer.source for peer in found.peers for paper in papers)

    def test_means_of_sets_that_are_missing_have_no_figure_of_ours(self, done):
        run = read_run(done)
        found = peers(run.lock.model_copy(update={"benchmark": "forensynths"}), run.evaluation)
        eight = [peer for peer in found.peers if "their mean: eight" in peer.differs]
        assert eight and all(peer.main is None or peer.main.ours is None for peer in eight)

    def test_none(self, done):
        run = read_run(done)
        assert peers(run.lock.model_copy(update={"benchmark": "csv"}), run.evaluation) is None
