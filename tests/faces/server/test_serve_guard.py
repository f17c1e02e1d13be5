"""The guarded decoder: same views as here, and whatever a picture does to it, the next one is served."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import serving
from hostile import build_hostile_with_codes, encoded

import realgrain
from realgrain.detector.seen import look, prepare
from realgrain.faces.server.guard import Broken, Guard, _Worker, memory_for
from realgrain.faces.server.problems import Problem
from realgrain.faces.server.worker import Task
from realgrain.picture.errors import PictureError
from realgrain.picture.image import Limits
from realgrain.picture.views import View, ViewSpec

VIEWS = ViewSpec((View("crop"), View("resize")))
LIMITS = Limits(max_pixels=4_000_000)


def guarded(talk, *, memory: int | None = None, **options):
    """Run a conversation with a guard."""
    task = Task(views=VIEWS, smallest_side=64, limits=LIMITS, trust_list=None, memory=memory or memory_for(LIMITS.max_pixels, LIMITS.max_bytes))
    return serving.guarded(task, talk, **options)


def worker_of(guard: Guard):
    return guard._workers[0]._process


class TestSame:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_views_and_evidence_are_those_made_here(self, kind):
        data = encoded(kind, (333, 251))
        seen, _ = guarded(lambda guard: guard.see(data, "a", evidence=True, stability=True))
        picture, evidence = look(data, "a", limits=LIMITS, evidence=True, trust_list=None)
        here = prepare(picture, evidence, VIEWS, 64)
        assert seen.picture == picture and seen.evidence == evidence
        assert seen.views.tobytes() == here.views.tobytes()
        assert seen.borders == here.borders
        assert list(seen.again) == list(here.again)
        assert all(np.array_equal(seen.again[name], here.again[name]) for name in here.again)

    def test_refusals_are_those_made_here(self, tmp_path):
        files = {name: (path, codes) for name, (path, codes) in build_hostile_with_codes(tmp_path).items() if len(path.name) < 200 and path.is_file()}

        async def talk(guard):
            found = {}
            for name, (path, _) in files.items():
                with pytest.raises(PictureError) as caught:
                    await guard.see(path.read_bytes(), name, evidence=True, stability=False)
                found[name] = caught.value.code
            return found

        found, lost = guarded(talk)
        assert lost == []
        assert {name: code for name, code in found.items() if code not in files[name][1]} == {}


class TestBroken:
    def test_one_that_hangs_is_killed_and_replaced(self):
        async def talk(guard):
            process = worker_of(guard)
            os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(Broken) as caught:
                await guard.see(encoded("PNG"), "a", evidence=False, stability=False)
            assert process.returncode == -signal.SIGKILL
            return caught.value.code, await guard.see(encoded("PNG"), "a", evidence=False, stability=False)

        (code, seen), lost = guarded(talk, seconds=2)
        assert code == "decoder_hung" and seen.picture.width == 64 and lost == ["decoder_hung"]

    def test_one_that_crashes_is_replaced(self):
        async def talk(guard):
            process = worker_of(guard)
            os.kill(process.pid, signal.SIGSTOP)
            asking = asyncio.create_task(guard.see(encoded("PNG"), "a", evidence=False, stability=False))
            await asyncio.sleep(0.1)
            os.kill(process.pid, signal.SIGSEGV)
            os.kill(process.pid, signal.SIGCONT)
            with pytest.raises(Broken, match=r"SIGSEGV|SIGKILL") as caught:
                await asking
            return caught.value.code, await guard.see(encoded("PNG"), "a", evidence=False, stability=False)

        (code, seen), lost = guarded(talk)
        assert code == "decoder_crashed" and seen.picture.width == 64 and lost == ["decoder_crashed"]

    def test_one_that_is_given_up_in_the_middle_of_its_answer_is_replaced(self, monkeypatch):
        """Reading stops where nobody takes what comes, and whoever waited for the end of the process then waited for ever."""

        async def talk(guard):
            pipe = worker_of(guard)._transport.get_pipe_transport(1)
            with monkeypatch.context() as patch:
                patch.setattr(_Worker, "_read", lambda _: asyncio.sleep(60))
                asking = asyncio.create_task(guard.see(encoded("PNG"), "a", evidence=False, stability=True))
                while pipe.is_reading():
                    await asyncio.sleep(0.02)
                asking.cancel()
                await asyncio.wait([asking], timeout=10)
            return asking.cancelled(), await guard.see(encoded("PNG"), "a", evidence=False, stability=False)

        (ended, seen), lost = guarded(talk)
        assert ended and seen.picture.width == 64 and lost == []

    def test_one_that_died_between_pictures_costs_none(self):
        async def talk(guard):
            process = worker_of(guard)
            process.kill()
            await process.wait()
            return await guard.see(encoded("PNG"), "a", evidence=False, stability=False)

        seen, lost = guarded(talk)
        assert seen.picture.width == 64 and lost == []

    def test_one_that_starts_too_late_answers_nobody(self, monkeypatch):
        """What a late worker says when it is ready must not be taken for the next picture's answer."""

        async def talk(guard):
            process = worker_of(guard)
            process.kill()
            await process.wait()
            monkeypatch.setattr("realgrain.faces.server.guard.STARTING", 0.01)
            with pytest.raises(Problem) as caught:
                await guard.see(encoded("PNG"), "a", evidence=False, stability=False)
            monkeypatch.undo()
            await asyncio.sleep(3)
            return caught.value, await guard.see(encoded("PNG"), "a", evidence=False, stability=False)

        (problem, seen), lost = guarded(talk)
        assert (problem.status, problem.code) == (503, "busy")
        assert seen.picture.width == 64 and lost == []

    def test_an_answer_that_is_none_is_a_crash(self, monkeypatch):
        async def talk(guard):
            async def lie(*_):
                return {"picture": {"name": 3}, "evidence": None, "again": []}, b"\x80\x04pickle"

            monkeypatch.setattr(guard._workers[0], "ask", lie)
            with pytest.raises(Broken) as caught:
                await guard.see(encoded("PNG"), "a", evidence=False, stability=False)
            return caught.value.code

        assert guarded(talk)[0] == "decoder_crashed"

    def test_memory_has_an_end(self):
        """A picture within the limit of pixels, in a worker that was given less than it takes."""
        data = encoded("PNG", (2000, 1900))

        async def talk(guard):
            with pytest.raises((PictureError, Broken)) as caught:
                await guard.see(data, "a", evidence=False, stability=True)
            return caught.value.code

        code, _ = guarded(talk, memory=16 * 2**20)
        assert code in ("too_many_pixels", "decoder_crashed")

    def test_it_ends_with_its_server_also_when_it_hangs(self):
        code = (
            "import asyncio, os, signal, sys; sys.path.insert(0, sys.argv[1]); from test_serve_guard import *\n"
            "async def talk(guard):\n    pid = worker_of(guard).pid; os.kill(pid, signal.SIGSTOP)\n"
            "    print(pid, flush=True); os.kill(os.getpid(), 9)\n"
            "guarded(talk)"
        )
        here = Path(__file__)
        path = os.pathsep.join([str(here.parents[2] / "picture"), str(Path(realgrain.__file__).parents[1])])
        options = {"env": {**os.environ, "PYTHONPATH": path}, "capture_output": True, "text": True, "timeout": 60}
        found = subprocess.run([sys.executable, "-c", code, str(here.parent)], check=False, **options)
        pid = int(found.stdout)
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
                return
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        raise AssertionError("the worker outlived its server")

    def test_it_may_write_no_file_and_sees_no_secrets(self, monkeypatch):
        monkeypatch.setenv("SOME_SECRET", "x")

        async def talk(guard):
            pid = worker_of(guard).pid
            lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
            return Path(f"/proc/{pid}/environ").read_bytes(), {line[:26].strip(): line[26:].split()[0] for line in lines}

        (environ, limits), _ = guarded(talk)
        assert b"SOME_SECRET" not in environ
        assert limits["Max file size"] == "0" and limits["Max core file size"] == "0"
        assert int(limits["Max address space"]) < memory_for(LIMITS.max_pixels, LIMITS.max_bytes) + 2**31


class TestLine:
    def test_it_has_an_end(self):
        async def talk(guard):
            data = encoded("PNG", (300, 300))
            asked = [guard.see(data, "a", evidence=False, stability=False) for _ in range(8)]
            return await asyncio.gather(*asked, return_exceptions=True)

        found, _ = guarded(talk, waiting=2)
        busy = [one for one in found if isinstance(one, Problem)]
        assert len(busy) == 5 and {one.status for one in busy} == {503}
        assert sum(not isinstance(one, Exception) for one in found) == 3

    def test_what_waits_behind_it_counts(self):
        async def talk(guard):
            found = [await asyncio.gather(guard.see(encoded("PNG"), "a", evidence=False, stability=False), return_exceptions=True)]
            behind[0] = 2
            found += [await asyncio.gather(guard.see(encoded("PNG"), "a", evidence=False, stability=False), return_exceptions=True)]
            return [*found, [await guard.see(encoded("PNG"), "a", evidence=False, stability=False, patient=True)]]

        behind = [3]
        (refused,), (one,), (patient,) = guarded(talk, waiting=2, behind=lambda: behind[0])[0]
        assert isinstance(refused, Problem) and (refused.status, refused.code) == (503, "busy")
        assert not isinstance(one, Exception) and patient is not None

    def test_the_patient_wait(self):
        async def talk(guard):
            asked = [guard.see(encoded("PNG"), "a", evidence=False, stability=False, patient=True) for _ in range(8)]
            return await asyncio.gather(*asked)

        assert len(guarded(talk, waiting=1)[0]) == 8
