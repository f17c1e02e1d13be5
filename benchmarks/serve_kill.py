"""Kills realgrain's server while jobs are queued, again and again, and looks whether each ends once and each webhook comes, under one id.

python benchmarks/serve_kill.py --jobs 200 -o results/benchmarks/serve_kill.json
"""

import argparse
import contextlib
import json
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from serving import Server, add_detector, conclude, detector, picture, scratch  # pyrefly: ignore[missing-import] – next to this script


class Receiver:
    """Takes webhooks, and refuses each third one the first time, so that some must come again."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []  # job, delivery
        self._seen: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                delivery = self.headers["Webhook-Id"]
                refused = len(outer._seen) % 3 == 0 and delivery not in outer._seen
                outer._seen.add(delivery)
                if not refused:
                    outer.got.append((body["data"]["id"], delivery))
                self.send_response(503 if refused else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def accept(url: str, jobs: int, host: str, data: bytes) -> list[str]:
    """Send jobs of one picture each, and keep those that were accepted."""
    accepted = []
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
        for number in range(jobs):
            headers = {"Webhook-URL": f"http://{host}/", "Idempotency-Key": str(number)}
            answer = http.post("/v1/batch", params={"stability": False}, files=[("files", (f"{number}.png", data))], headers=headers)
            answer.raise_for_status()
            accepted.append(answer.json()["id"])
    return accepted


def states(url: str, jobs: list[str]) -> dict[str, dict[str, Any]]:
    """How the jobs stand."""
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
        return {job: http.get(f"/v1/jobs/{job}").json() for job in jobs}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Accept, kill, restart, and look."""
    moods, hooks = random.Random(options.seed), Receiver()
    data = picture(np.random.default_rng(options.seed), "PNG", options.side)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        bundle, judged_by = detector(options, folder)
        server = Server(folder / "data", "--private-host", hooks.host, "--jobs-waiting", str(options.jobs + 1), bundle=bundle)
        stack.enter_context(server)
        jobs = accept(server.url, options.jobs, hooks.host, data)
        left = []
        for _ in range(options.kills):
            left.append(sum(one["state"] != "done" for one in states(server.url, jobs).values()))
            time.sleep(moods.uniform(0, options.pause))
            server.kill()
            server.start()
        begun = time.monotonic()
        while time.monotonic() < begun + options.wait:
            found = states(server.url, jobs)
            told = {job for job, _ in list(hooks.got)}
            if all(one["state"] == "done" for one in found.values()) and told >= set(jobs):
                break
            time.sleep(1)
        results = {}
        with httpx2.Client(base_url=server.url, timeout=120, trust_env=False) as http:
            for job in jobs:
                results[job] = http.get(f"/v1/jobs/{job}/results").text.splitlines()
        server.stop()
        uploads = len(list((folder / "data" / "uploads").iterdir()))
    ids, problems = dict[str, set[str]](), Counter[str]()
    for job, delivery in hooks.got:
        ids.setdefault(job, set()).add(delivery)
    report = {
        "detector": judged_by,
        "jobs": len(jobs),
        "kills": options.kills,
        "not_ended_at_each_kill": left,
        "ended": sum(one["state"] == "done" for one in found.values()),
        "with_one_report": sum(len(lines) == 1 and '"report"' in lines[0] for lines in results.values()),
        "told": sum(job in ids for job in jobs),
        "told_under_several_ids": sum(len(of) > 1 for of in ids.values()),
        "told_more_than_once": len(hooks.got) - len(ids),
        "uploads_left": uploads,
    }
    for lines in results.values():
        problems.update(json.loads(line)["problem"]["code"] for line in lines if '"problem"' in line)
    report["problems"] = dict(problems)
    whole = report["jobs"] == report["ended"] == report["with_one_report"] == report["told"]
    # Where nothing was queued at any kill, nothing was shown.
    return {**report, "passed": whole and sum(left) > 0 and not report["told_under_several_ids"] and not uploads}


def main() -> None:
    """Measures, writes the report and prints it."""
    parser = argparse.ArgumentParser(description="Kill realgrain's server while jobs are queued.")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/serve_kill.json"))
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--pause", type=float, default=3, help="seconds, at most, from a start to the next kill (default: 3)")
    parser.add_argument("--wait", type=float, default=900, help="seconds for all to end after the last start (default: 900)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=160, help="of the pictures: larger ones keep jobs in line for longer (default: 160)")
    add_detector(parser)
    options = parser.parse_args()
    conclude(measure(options), options.output)


if __name__ == "__main__":
    main()
