import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toy

from realgrain.detector.bundle import Bundle
from realgrain.detector.detect import load
from realgrain.learning.data import ManifestError, Sample, read_manifest
from realgrain.learning.learned import LEARNED
from realgrain.measuring import parts, run_manifest, running
from realgrain.measuring.benchmarks import benchmark
from realgrain.measuring.benchmarks.csv import manifest_of
from realgrain.measuring.learned_from import UNKNOWN
from realgrain.measuring.lock import LOCK, LockError, Protocol, read_lock
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.results import Evaluation, Learned
from realgrain.measuring.run_manifest import choose, read_entries
from realgrain.measuring.running import METRICS, SCORES, RunError, read_scores, run
from realgrain.measuring.score import as_table, score
from realgrain.picture.image import open_picture

PROTOCOL = Protocol(conditions=("clean", "hard"), resamples=20, part=10)
FILES = {LOCK, "manifest.csv", SCORES, METRICS}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def samples(toy_manifest) -> list[Sample]:
    return read_manifest(toy_manifest)


@pytest.fixture(scope="module")
def done(tiny_detector, samples, tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "done", tiny_detector, samples, "toy", PROTOCOL)


@pytest.fixture
def copied(toy_manifest, tmp_path) -> list[Sample]:
    """The toy pictures where a test may change them."""
    shutil.copytree(toy_manifest.parent, tmp_path / "copied")
    return read_manifest(tmp_path / "copied" / toy_manifest.name)


class Stopped(Exception):
    pass


def stop_after(rows: int):
    """A ``Watch`` that breaks off the scoring as an error would."""

    def watch(items, total, doing):
        for number, item in enumerate(items):
            if doing == "scoring" and number == rows:
                raise Stopped
            yield item

    return watch


class TestFolder:
    def test_files(self, done):
        assert set(contents(done.folder)) == FILES

    def test_scores_are_those_of_score(self, done, tiny_detector, samples):
        table = pq.read_table(done.folder / SCORES)
        expected = as_table(score(tiny_detector, samples, PROTOCOL.conditions))
        assert table.equals(expected)
        learned = {"pictures": len(samples), "of": len(samples), "by": "sha256"}
        assert running.metadata(table.schema) == {"lock": done.lock.sha256, "learned": learned}

    def test_metrics_are_those_of_evaluate(self, done):
        written = Evaluation.model_validate_json((done.folder / METRICS).read_bytes())
        assert written.lock == done.lock.sha256
        assert written == done.evaluation == evaluate(pq.read_table(done.folder / SCORES), resamples=20, seed=0)

    def test_lock(self, done, tiny_detector, samples):
        lock = read_lock(done.folder)
        assert lock == done.lock
        assert lock.benchmark == "toy"
        assert lock.protocol == PROTOCOL
        assert (lock.bundle.hash, lock.bundle.base_sha256) == (tiny_detector.bundle.hash, tiny_detector.bundle.card.base.sha256)
        assert (lock.runtime.name, lock.runtime.precision) == ("onnxruntime", "f32")
        assert {"numpy", "pillow", "onnxruntime", "pyarrow", "scipy", "imagehash"} <= lock.environment.packages.keys()
        assert {"libjpeg_turbo", "webp"} <= lock.environment.decoders.keys()
        assert lock.manifest.pictures == len(samples)

    def test_manifest(self, done, samples, tiny_detector):
        entries = list(read_entries(done.folder / "manifest.csv"))
        assert [(entry.path, entry.label, entry.generator, entry.source) for entry in entries] == [
            (sample.path, sample.label, sample.generator, sample.source) for sample in samples
        ]
        for entry, sample in list(zip(entries, samples, strict=True))[::7]:
            facts = tiny_detector.detect(sample.file).picture
            found = (entry.sha256, entry.width, entry.height, entry.format, entry.bytes, entry.error)
            assert found == (facts.sha256, facts.width, facts.height, facts.format, facts.bytes, "")

    def test_same_bytes_wherever_the_pictures_and_the_run_are(self, done, tiny_bundle, copied, tmp_path):
        again = run(tmp_path / "elsewhere" / "again", load(tiny_bundle, threads=2), copied, "toy", PROTOCOL)
        assert contents(again.folder) == contents(done.folder)
        assert str(tmp_path).encode() not in b"".join(contents(again.folder).values())

    def test_packed_pictures(self, done, tiny_detector, samples, tmp_path):
        class Packed(Sample):
            def content(self) -> bytes:
                return self.file.read_bytes()

        packed = [Packed(**sample.model_dump()) for sample in samples]
        assert contents(run(tmp_path / "run", tiny_detector, packed, "toy", PROTOCOL).folder) == contents(done.folder)

    def test_a_pack_that_cannot_be_read(self, tiny_detector, samples, tmp_path):
        class Lost(Sample):
            def content(self) -> bytes:
                raise OSError(5, "Input/output error")

        lost = Lost(**samples[0].model_dump())
        found = run(tmp_path / "run", tiny_detector, [lost, *samples[1:]], "toy", PROTOCOL)
        assert found.errors == [f"{lost.path}: cannot be read: Input/output error"]
        assert [row["path"] for row in pq.read_table(found.folder / SCORES).to_pylist() if row["error"]] == [lost.path] * 2

    def test_a_picture_of_several_sets_is_scored_once(self, done, tiny_detector, samples, tmp_path, monkeypatch):
        looked = []
        runtime = type(tiny_detector.runtime)
        look = runtime.look
        monkeypatch.setattr(runtime, "look", lambda *given: looked.append(1) or look(*given))
        shared = [sample.model_copy(update={"set": name}) for name in ("one", "other") for sample in samples]
        found = pq.read_table(run(tmp_path / "run", tiny_detector, shared, "toy", PROTOCOL).folder / SCORES).to_pylist()
        assert len(looked) == len({row["sha256"] for row in found}) * len(PROTOCOL.conditions)
        assert [row["logit"] for row in found] == [row["logit"] for row in pq.read_table(done.folder / SCORES).to_pylist()] * 2

    def test_a_finished_run_is_not_scored_again(self, done, tiny_detector, samples, monkeypatch):
        before = contents(done.folder)
        monkeypatch.setattr(type(tiny_detector), "views", lambda *_: pytest.fail("scored"))
        assert run(done.folder, tiny_detector, samples, "toy", PROTOCOL).evaluation == done.evaluation
        assert contents(done.folder) == before

    def test_a_bad_file_stops_nothing(self, tiny_detector, copied, tmp_path):
        copied[3].file.write_bytes(b"no picture")
        copied[5].file.unlink()
        found = run(tmp_path / "run", tiny_detector, copied, "toy", PROTOCOL)
        assert [error.split(":")[0] for error in found.errors] == [copied[3].path, copied[5].path]
        rows = pq.read_table(found.folder / SCORES).to_pylist()
        assert [row["path"] for row in rows if row["error"]] == [copied[3].path] * 2 + [copied[5].path] * 2
        assert found.evaluation.conditions["clean"].n_failed == 2
        entries = list(read_entries(found.folder / "manifest.csv"))
        assert (entries[3].width, entries[3].format, entries[3].bytes) == (None, "", None)
        assert entries[3].sha256
        assert not entries[5].sha256
        assert str(tmp_path).encode() not in b"".join(contents(found.folder).values())


class TestLearnedFrom:
    """What the detector learned from is told before hours are spent, and kept beside the figures."""

    @pytest.fixture
    def told(self, samples, tmp_path):
        """What a run says before it scores, and what it keeps."""

        def call(detector, samples=samples, **options):
            said = []

            def watch(items, total, doing):
                if doing == "scoring":
                    assert len(said) == 1
                return items

            return said, run(tmp_path / "run", detector, samples, "toy", PROTOCOL, watch=watch, tell=said.append, **options).evaluation.learned

        return call

    @pytest.fixture
    def keeps_none(self, tiny_bundle):
        """A detector whose bundle, as those of before, keeps no hashes."""
        statistics = {name: array for name, array in tiny_bundle.statistics.items() if name != LEARNED}
        return load(replace(tiny_bundle, statistics=statistics), threads=1)

    def test_by_the_hashes_that_the_bundle_keeps_under_any_name_and_in_any_set(self, told, tiny_detector, copied):
        copied[0].file.write_bytes(toy.saved(toy.picture(77, fake=False)))
        copied[1].file.write_bytes(b"no picture")
        other = [sample.model_copy(update={"path": f"other/{place}", "set": name}) for name in "ab" for place, sample in enumerate(copied)]
        said, kept = told(tiny_detector, other)
        assert kept == Learned(pictures=62, of=63, by="sha256")
        assert said[0].startswith("The detector learned from 62 of these 63 pictures; figures on those flatter it")
        assert "first 8 bytes of each file's sha256" in said[0]

    def test_by_its_training_manifest_where_the_bundle_keeps_none(self, told, keeps_none, toy_manifest, samples):
        said, kept = told(keeps_none, samples[:50], manifest=toy_manifest)
        assert kept == Learned(pictures=50, of=50, by="manifest")
        assert "theirs is the very manifest that it learned from" in said[0]

    def test_pictures_that_another_reader_found_beside_its_training_manifest(self, told, keeps_none, toy_manifest):
        found = benchmark("folder").samples(toy_manifest.parent)
        assert told(keeps_none, found, manifest=manifest_of(toy_manifest.parent))[1] == Learned(pictures=64, of=64, by="manifest")

    def test_not_known(self, told, keeps_none, copied, tmp_path):
        (tmp_path / "copied" / "manifest.csv").write_text((tmp_path / "copied" / "manifest.csv").read_text() + "\n")
        said, kept = told(keeps_none, copied, manifest=tmp_path / "copied" / "manifest.csv")
        assert (said, kept) == ([UNKNOWN], None)

    def test_none(self, told, tiny_detector, samples, tmp_path):
        """Nothing of it is shown as a fault."""
        new = [sample.model_copy(update={"file": tmp_path / f"{place}.png"}) for place, sample in enumerate(samples)]
        for place, sample in enumerate(new):
            sample.file.write_bytes(toy.saved(toy.picture(5000 + place, fake=sample.fake)))
        said, kept = told(tiny_detector, new)
        assert kept == Learned(pictures=0, of=64, by="sha256")
        assert said[0].startswith("The detector learned from none of these 64 pictures (compared by")


class TestResume:
    @pytest.mark.parametrize("rows", [0, 45, 126])
    def test_after_an_error(self, done, tiny_detector, samples, tmp_path, rows):
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_after(rows))
        assert len(list((tmp_path / "run" / "scores").glob("*"))) == rows // 20
        assert SCORES not in contents(tmp_path / "run")
        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL)
        assert contents(tmp_path / "run") == contents(done.folder)

    def test_does_only_what_is_missing(self, done, tiny_detector, samples, tmp_path):
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_after(45))
        totals = {}

        def watch(items, total, doing):
            totals[doing] = total
            return items

        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=watch)
        assert totals == {"reading": len(samples), "scoring": 2 * len(samples) - 40}

    @pytest.mark.parametrize("spoil", [lambda part: part.write_bytes(part.read_bytes()[:-9]), lambda part: part.write_bytes(b""), Path.unlink])
    def test_a_torn_part_is_made_again(self, done, tiny_detector, samples, tmp_path, spoil):
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_after(45))
        spoil(min((tmp_path / "run" / "scores").glob("*.parquet")))
        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL)
        assert contents(tmp_path / "run") == contents(done.folder)

    def test_a_kill_costs_no_row_that_was_written_down(self, done, tiny_detector, samples, tmp_path, monkeypatch):
        monkeypatch.setattr(parts, "SECONDS", 0)
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_after(33))  # in the middle of a picture
        names = ["000000000.parquet", *(f"000000010.{row:03}.parquet" for row in range(13))]
        assert sorted(path.name for path in (tmp_path / "run" / "scores").iterdir()) == names
        scored = []

        def watch(items, total, doing):
            scored.append((doing, total))
            return items

        monkeypatch.setattr(parts, "SECONDS", 15)
        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=watch)
        assert scored == [("reading", len(samples)), ("scoring", 2 * len(samples) - 33)]
        assert contents(tmp_path / "run") == contents(done.folder)

    @pytest.mark.parametrize(
        ("torn", "spoil"),
        [(0, Path.unlink), (7, lambda piece: piece.write_bytes(b"")), (12, lambda piece: piece.write_bytes(piece.read_bytes()[:-9]))],
    )
    def test_a_torn_piece_costs_what_came_after_it(self, done, tiny_detector, samples, tmp_path, monkeypatch, torn, spoil):
        monkeypatch.setattr(parts, "SECONDS", 0)
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_after(33))
        spoil(tmp_path / "run" / "scores" / f"000000010.{torn:03}.parquet")
        totals = {}

        def watch(items, total, doing):
            totals[doing] = total
            return items

        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=watch)
        assert totals["scoring"] == 2 * len(samples) - 20 - torn
        assert contents(tmp_path / "run") == contents(done.folder)

    def test_a_lost_part_before_the_one_that_was_under_way(self, done, tiny_detector, samples, tmp_path, monkeypatch):
        monkeypatch.setattr(parts, "SECONDS", 0)
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_after(47))
        (tmp_path / "run" / "scores" / "000000000.parquet").unlink()
        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL)
        assert contents(tmp_path / "run") == contents(done.folder)

    def test_pieces_of_another_run_are_not_used(self, tiny_detector, samples, tmp_path, monkeypatch):
        monkeypatch.setattr(parts, "SECONDS", 0)
        for name, seed in (("run", 0), ("other", 1)):
            with pytest.raises(Stopped):
                run(tmp_path / name, tiny_detector, samples, "toy", PROTOCOL.model_copy(update={"seed": seed}), watch=stop_after(5))
        for piece in (tmp_path / "other" / "scores").iterdir():
            shutil.copy(piece, tmp_path / "run" / "scores")
        totals = {}

        def watch(items, total, doing):
            totals[doing] = total
            return items

        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=watch)
        assert totals["scoring"] == 2 * len(samples)

    def test_reading_that_was_broken_off(self, done, tiny_detector, samples, tmp_path, monkeypatch):
        """Files are hashed again, and what was read of them is not read again, however often it is broken off."""

        def stop_reading(at):
            def watch(items, total, doing):
                for number, item in enumerate(items):
                    if number == at:
                        raise Stopped
                    yield item

            return watch

        for at in (41, 9):
            with pytest.raises(Stopped):
                run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=stop_reading(at))
        assert not (tmp_path / "run" / LOCK).exists()
        seen = []
        monkeypatch.setattr(run_manifest, "open_picture", lambda content, **how: seen.append(how["name"]) or open_picture(content, **how))
        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL)
        assert sorted(seen) == sorted(sample.path for sample in samples[40:])  # the last line may be torn
        assert contents(tmp_path / "run") == contents(done.folder)

    @pytest.mark.parametrize("lost", [[METRICS], [LOCK, "manifest.csv", SCORES, METRICS], ["manifest.csv"]])
    def test_between_files(self, done, tiny_detector, samples, tmp_path, lost):
        shutil.copytree(done.folder, tmp_path / "run")
        for name in lost:
            (tmp_path / "run" / name).unlink()
        (tmp_path / "run" / ".scores.parquet.partial").write_bytes(b"half")
        (tmp_path / "run" / ".busy").touch()
        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL)
        (tmp_path / "run" / ".scores.parquet.partial").unlink(missing_ok=True)
        assert contents(tmp_path / "run") == contents(done.folder)

    @pytest.mark.slow
    def test_after_kill_9(self, start_run, tmp_path):
        assert start_run(tmp_path / "whole").wait(120) == 0
        random.seed(time.time_ns())  # other moments each time, on purpose: none may matter
        killed = 0
        for whole in sorted(random.sample(range(16), 4)):
            process = start_run(tmp_path / "killed")
            while process.poll() is None and len(list((tmp_path / "killed").glob("scores/" + "[0-9]" * 9 + ".parquet"))) < whole:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert killed
        assert start_run(tmp_path / "killed").wait(120) == 0
        assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from realgrain.detector.detect import load
from realgrain.learning.data import read_manifest
from realgrain.measuring.lock import Protocol
from realgrain.measuring import parts
from realgrain.measuring.running import run
parts.SECONDS = 0.02
protocol = Protocol(conditions=("clean", "web", "hard", "jpeg-95", "jpeg-90", "jpeg-80", "webp-80", "half"), resamples=20, part=4)
run(Path(sys.argv[2]), load(sys.argv[3], threads=1), read_manifest(Path(sys.argv[4])), "toy", protocol)
"""


@pytest.fixture
def start_run(tiny_bundle, toy_manifest, session_home):
    """Start a run in a process of its own."""
    started = []

    def start(folder: Path) -> subprocess.Popen:
        arguments = [Path(running.__file__).parents[2], folder, tiny_bundle.folder, toy_manifest]
        started.append(subprocess.Popen([sys.executable, "-c", RUN, *map(str, arguments)]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


class TestRefuses:
    def check(self, folder: Path, words: list[str], *arguments, **changes):
        before = contents(folder)
        with pytest.raises(LockError) as error:
            run(folder, *arguments, **changes)
        for word in [str(folder), *words]:
            assert word in str(error.value)
        assert contents(folder) == before

    @pytest.fixture
    def begun(self, tiny_detector, copied, tmp_path) -> Path:
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, copied, "toy", PROTOCOL, watch=stop_after(45))
        return tmp_path / "run"

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"conditions": ("clean",)}, "protocol.conditions was clean hard, is clean"),
            ({"seed": 1}, "protocol.seed was 0, is 1"),
            ({"limit": 3}, "protocol.limit was none, is 3"),
            ({"split": "train"}, "protocol.split was empty, is train"),
            ({"resamples": 30}, "protocol.resamples was 20, is 30"),
        ],
    )
    def test_another_protocol(self, begun, tiny_detector, copied, change, word):
        self.check(begun, [word], tiny_detector, copied, "toy", PROTOCOL.model_copy(update=change))

    def test_another_benchmark(self, begun, tiny_detector, copied):
        self.check(begun, ["benchmark was toy, is other"], tiny_detector, copied, "other", PROTOCOL)

    def test_another_bundle(self, begun, tiny_bundle, copied):
        card = tiny_bundle.card.model_copy(update={"name": "other"})
        detector = load(Bundle(tiny_bundle.folder, card, tiny_bundle.head, {}, "f" * 64), threads=1)  # nothing is scored with it
        words = ["bundle.name was tiny, is other", f"bundle.hash was {tiny_bundle.hash[:12]}…, is ffffffffffff…"]
        self.check(begun, words, detector, copied, "toy", PROTOCOL)

    def test_other_versions(self, begun, tiny_detector, copied, monkeypatch):
        other = running.environment().model_copy(update={"decoders": {"webp": "0.1"}})
        monkeypatch.setattr(running, "environment", lambda: other)
        self.check(begun, ["environment.decoders.webp was ", "is 0.1"], tiny_detector, copied, "toy", PROTOCOL)

    def test_changed_pictures(self, begun, tiny_detector, copied):
        copied[0].file.write_bytes(toy.saved(toy.picture(999, fake=False)))
        copied[9].file.write_bytes(b"no picture")
        self.check(begun, [f"{copied[0].path} has changed; {copied[9].path} has changed"], tiny_detector, copied, "toy", PROTOCOL)

    def test_other_labels(self, begun, tiny_detector, copied):
        flipped = [copied[0].model_copy(update={"label": "fake"}), *copied[1:]]
        self.check(begun, [f"{copied[0].path} has changed"], tiny_detector, flipped, "toy", PROTOCOL)

    def test_more_and_fewer_pictures(self, begun, tiny_detector, copied):
        added = copied[0].model_copy(update={"path": "new.png"})
        self.check(begun, ["new.png is new"], tiny_detector, [*copied, added], "toy", PROTOCOL)
        self.check(begun, [f"{copied[0].path} is gone", "and 5 more"], tiny_detector, copied[10:], "toy", PROTOCOL)

    def test_another_order(self, begun, tiny_detector, copied):
        self.check(begun, ["manifest.sha256 was"], tiny_detector, copied[::-1], "toy", PROTOCOL)

    def test_a_folder_of_something_else(self, tiny_detector, copied, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.tex").write_text("precious")
        with pytest.raises(LockError, match=r"thesis\.tex"):
            run(tmp_path / "run", tiny_detector, copied, "toy", PROTOCOL)

    def test_scores_of_another_lock(self, done, tiny_detector, copied, tmp_path):
        with pytest.raises(Stopped):
            run(tmp_path / "run", tiny_detector, copied, "other", PROTOCOL, watch=stop_after(45))
        shutil.copy(done.folder / SCORES, tmp_path / "run" / SCORES)
        with pytest.raises(LockError, match="made under another"):
            run(tmp_path / "run", tiny_detector, copied, "other", PROTOCOL)

    def test_an_unfinished_run_has_no_scores(self, begun):
        with pytest.raises(LockError, match="not finished"):
            read_scores(begun, read_lock(begun))

    def test_a_lock_that_is_none(self, begun, tiny_detector, copied):
        (begun / LOCK).write_text(json.dumps({"version": 1}))
        with pytest.raises(LockError, match="benchmark"):
            run(begun, tiny_detector, copied, "toy", PROTOCOL)

    def test_two_at_once(self, tiny_detector, samples, tmp_path):
        def watch(items, total, doing):
            with pytest.raises(RunError, match="another process"):
                run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL)
            return items

        run(tmp_path / "run", tiny_detector, samples, "toy", PROTOCOL, watch=watch)

    def test_a_picture_that_changes_on_the_way(self, tiny_detector, copied, tmp_path):
        def watch(items, total, doing):
            if doing == "scoring":
                copied[30].file.write_bytes(toy.saved(toy.picture(999, fake=False)))
            return items

        with pytest.raises(RunError, match=copied[30].path):
            run(tmp_path / "run", tiny_detector, copied, "toy", PROTOCOL, watch=watch)

    def test_unknown_condition(self, tiny_detector, samples, tmp_path):
        with pytest.raises(ValueError, match="fax"):
            run(tmp_path / "run", tiny_detector, samples, "toy", Protocol(conditions=("fax",)))
        assert not (tmp_path / "run").exists()

    def test_clusters_by_a_column_that_is_not_there(self, tiny_detector, samples, tmp_path):
        """Is said before hours are spent."""
        with pytest.raises(ValueError, match=r"no column 'camera'.*source"):
            run(tmp_path / "run", tiny_detector, samples, "toy", Protocol(conditions=("clean",), clusters="camera"))
        assert not (tmp_path / "run").exists()


class TestChoice:
    def test_limit(self, samples):
        chosen = choose(samples, limit=3)
        assert len(chosen) == 3 * (len(toy.REAL) + len(toy.FAKE))
        assert [sample for sample in samples if sample in chosen] == chosen
        assert {sample.path for sample in choose(samples[::-1], limit=3)} == {sample.path for sample in chosen}
        assert {sample.path for sample in choose(samples, limit=2)} < {sample.path for sample in chosen}

    def test_of_each_set(self, samples):
        sets = [sample.model_copy(update={"set": name}) for name in ("a", "b") for sample in samples]
        assert len(choose(sets, limit=1)) == 2 * (len(toy.REAL) + len(toy.FAKE))

    def test_split(self, samples):
        mixed = [sample.model_copy(update={"split": "test"}) if number % 2 else sample for number, sample in enumerate(samples)]
        assert choose(mixed, "test") == mixed[1::2]
        with pytest.raises(ManifestError, match=r"no pictures in split 'val'; there are test, train"):
            choose(mixed, "val")

    def test_twice(self, samples):
        with pytest.raises(ManifestError, match=f"{samples[2].path}: occurs twice"):
            choose([*samples, samples[2]])
        choose([*samples, samples[2].model_copy(update={"set": "other"})])

    def test_nothing(self):
        with pytest.raises(ManifestError, match="no pictures"):
            choose([])
