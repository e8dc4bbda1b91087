"""The load generators: what each is told, and what its output says about the answers that it got."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import app
from errors import BenchError
from material import Credentials

SCRIPT = Path(__file__).with_name("wrk.lua")
# What an answer may have beside its body.
HEAD_BYTES = 1000
AB_MOST = 1_000_000


@dataclass(frozen=True)
class Answers:
    """How many there were, how far the credentials were read that are shown in turn, and how long half of them took and
    all but one in a hundred, in µs, where the load generator says so."""

    requests: int
    position: int = 0
    p50: int = 0
    p99: int = 0


@dataclass(frozen=True)
class Wrk:
    """HTTP/1.1 with keep-alive. Each connection asks again when it has its answer, or `pause` ms later on average.

    Its percentiles are corrected: to each answer that took more than twice the mean interval between two requests of a
    connection wrk adds those that would have been asked for meanwhile."""

    connections: int
    path: str = app.PAGE
    answer_bytes: int = len(app.BODY)
    upload_bytes: int = 0
    pause: int = 0

    def requests(
        self, origin: str, credentials: Credentials | None, position: int, seconds: int, core: int
    ) -> Answers:
        """The answers got in `seconds`. One that is not a 200, or not as long as it should be, is an error."""
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(SCRIPT)]
        file = credentials.file if credentials else None
        if credentials and not file:
            command += ["-H", f"Authorization: {credentials.first}"]
        again = "repeat" if credentials and credentials.cycle else "once"
        command += [origin + self.path, "--", str(file or "-"), str(position), again, str(self.upload_bytes),
                    str(self.pause)]
        return self._answers(run(command, core, seconds))

    def _answers(self, output: str) -> Answers:
        told = json.loads(output.splitlines()[-1])
        count = told["requests"]
        errors = {name: told[name] for name in ("connect", "read", "write", "status", "timeout") if told[name]}
        if errors or not count:
            raise BenchError(f"{count} answers, errors: {errors}\n{output}")
        if told["exhausted"]:
            raise BenchError("there were too few tokens, so that some would have been shown twice")
        # An answer that is on its way at the end is in the bytes and not in the count.
        most = (count + self.connections) * (self.answer_bytes + HEAD_BYTES)
        if not count * self.answer_bytes < told["bytes"] < most:
            raise BenchError(f"{count} answers of {self.answer_bytes} bytes cannot be {told['bytes']} bytes")
        return Answers(count, told["position"], told["p50"], told["p99"])


@dataclass(frozen=True)
class Ab:
    """A connection for each request. wrk would resume TLS sessions, and h2load never gives up a connection; this does
    a full handshake each time."""

    connections: int

    def requests(
        self, origin: str, credentials: Credentials | None, position: int, seconds: int, core: int
    ) -> Answers:
        """As `Wrk.requests`."""
        # The order matters: `-t` would set the number of requests too.
        command = ["ab", "-q", f"-c{self.connections}", f"-t{seconds}", f"-n{AB_MOST}", "-s5"]
        if credentials:
            command += ["-H", f"Authorization: {credentials.first}"]
        output = run([*command, origin + app.PAGE], core, seconds)
        count = number(r"Complete requests: +(\d+)", output)
        failed = number(r"Failed requests: +(\d+)", output) + number(r"Non-2xx responses: +(\d+)", output, absent=0)
        length = number(r"Document Length: +(\d+)", output)
        if failed or not count or length != len(app.BODY):
            raise BenchError(f"{failed} of {count} answers of {length} bytes failed\n{output}")
        return Answers(count, position)


@dataclass(frozen=True)
class H2load:
    """HTTP/2 with several streams on each connection."""

    connections: int
    streams: int

    def requests(
        self, origin: str, credentials: Credentials | None, position: int, seconds: int, core: int
    ) -> Answers:
        """As `Wrk.requests`."""
        command = ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{seconds}"]
        if credentials:
            command += ["-H", f"authorization: {credentials.first}"]
        output = run([*command, origin + app.PAGE], core, seconds)
        if "Application protocol: h2" not in output:
            raise BenchError(f"HTTP/2 was not negotiated\n{output}")
        return Answers(h2load_count(output, self.connections * self.streams), position)


@dataclass(frozen=True)
class Single:
    """HTTP/1.1 over one connection, one request after the other. The percentiles are of the times as they were."""

    def requests(
        self, origin: str, credentials: Credentials | None, position: int, seconds: int, core: int
    ) -> Answers:
        """As `Wrk.requests`."""
        with tempfile.NamedTemporaryFile() as log:
            command = ["h2load", "--h1", "-t1", "-c1", f"-D{seconds}", f"--log-file={log.name}"]
            if credentials:
                command += ["-H", f"authorization: {credentials.first}"]
            count = h2load_count(run([*command, origin + app.PAGE], core, seconds), 1)
            times = sorted(int(line.split("\t")[2]) for line in Path(log.name).read_text().splitlines())
        return Answers(count, position, times[len(times) // 2], times[len(times) * 99 // 100])


Load = Wrk | Ab | H2load | Single


def h2load_count(output: str, under_way: int) -> int:
    # A run ends by the clock, with requests under way: those are started, but neither done nor failed.
    count = number(r"(\d+) succeeded", output)
    failures = number(r"(\d+) failed", output) + number(r"(\d+) errored", output) + number(r"(\d+) timeout", output)
    ok = number(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", output, absent=0)
    if failures or not count or ok < count:
        raise BenchError(f"{failures} of {count + failures} requests failed, {ok} answers were 2xx\n{output}")
    data = number(r"\((\d+)\) data", output)
    if not count <= data / len(app.BODY) <= count + under_way:
        raise BenchError(f"{count} answers of {len(app.BODY)} bytes cannot be {data} bytes\n{output}")
    return count


def run(command: list[str], core: int, seconds: int) -> str:
    command = ["taskset", "-c", str(core), *command]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 30)
    except subprocess.TimeoutExpired as stuck:
        raise BenchError(f"{' '.join(command)} did not end within {seconds + 30} s") from stuck
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def number(pattern: str, output: str, absent: int | None = None) -> int:
    found = re.search(pattern, output)
    if found:
        return int(found[1])
    if absent is None:
        raise BenchError(f"no {pattern!r} in the load generator's output\n{output}")
    return absent
