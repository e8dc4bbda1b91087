"""The load generators: what each is told, and what its output says about the answers that it got."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from errors import BenchError


@dataclass(frozen=True)
class Wrk:
    """HTTP/1.1 with keep-alive."""

    connections: int

    def requests(self, url: str, authorization: str | None, seconds: int, core: int) -> int:
        """The answers got in `seconds`. One that is not a 200 is an error, not part of a figure."""
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "5s"]
        if authorization:
            command += ["-H", f"Authorization: {authorization}"]
        return wrk_count(run([*command, url], core, seconds))


@dataclass(frozen=True)
class H2load:
    """HTTP/2 with several streams on each connection."""

    connections: int
    streams: int

    def requests(self, url: str, authorization: str | None, seconds: int, core: int) -> int:
        """As `Wrk.requests`."""
        command = ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{seconds}"]
        if authorization:
            command += ["-H", f"authorization: {authorization}"]
        return h2load_count(run([*command, url], core, seconds))


Load = Wrk | H2load


def wrk_count(output: str) -> int:
    count = number(r"(\d+) requests in ", output)
    refused = number(r"Non-2xx or 3xx responses: (\d+)", output, absent=0)
    errors = re.search(r"Socket errors: (.*)", output)
    if refused or errors or not count:
        raise BenchError(f"{refused} of {count} answers were refusals, socket errors: {errors and errors[1]}\n{output}")
    return count


def h2load_count(output: str) -> int:
    # A run ends by the clock, with requests under way: those are started, but neither done nor failed.
    count = number(r"(\d+) succeeded", output)
    failures = number(r"(\d+) failed", output) + number(r"(\d+) errored", output) + number(r"(\d+) timeout", output)
    ok = number(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", output, absent=0)
    if failures or not count or ok < count:
        raise BenchError(f"{failures} of {count + failures} requests failed, {ok} answers were 2xx\n{output}")
    if "Application protocol: h2" not in output:
        raise BenchError(f"HTTP/2 was not negotiated\n{output}")
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
