"""A server process: started on one core, stopped by its id, and the CPU time that it and its workers have used."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from errors import BenchError

START_SECONDS = 15
STOP_SECONDS = 3


class Server:
    """A running server and its children."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    def cpu_seconds(self) -> float:
        """User and system time of every thread of every process of the server.

        The process clock is the sum of what /proc/PID/task/*/schedstat says, and keeps the share of threads that
        have ended since, which the files lose.
        """
        return sum(time.clock_gettime(process_clock(pid)) for pid in self._family())

    def resident_bytes(self) -> int:
        """Of all its processes; what they share counts in each."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._family())
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def own_bytes(self) -> int:
        """Anonymous pages of all its processes: what is in no file, but for memory that they share by name."""
        rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._family())
        return sum(int(rollup.partition("Anonymous:")[2].split()[0]) for rollup in rollups) * 1024

    def wait_for(self, port: int) -> None:
        """Returns when the server accepts connections."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with {self._process.returncode} at its start\n{self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise BenchError(f"{self.name} did not listen on port {port} within {START_SECONDS} s\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        family = self._family()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def _family(self) -> list[int]:
        return [self._process.pid, *children(self._process.pid)]


@contextlib.contextmanager
def serving(
    name: str, command: list[str], port: int, core: int | str, directory: Path, log_reader: int | None = None
) -> Iterator[Server]:
    """Runs `command` on `core`, or on several (`0,1`), until the block ends.

    Its output goes to a file in `directory`; with `log_reader` what it says on stdout goes through a pipe to a program
    on that core, which throws it away.
    """
    # Should this script be killed outright, the kernel stops the servers in its place.
    command = ["taskset", "-c", str(core), "setpriv", "--pdeathsig", "TERM", *command]
    log = directory / "output.log"
    with log.open("wb") as output, contextlib.ExitStack() as reading:
        stdout = output if log_reader is None else reading.enter_context(thrown_away(log_reader))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=output, cwd=directory)
        server = Server(name, process, log)
        try:
            server.wait_for(port)
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def thrown_away(core: int) -> Iterator[IO[bytes]]:
    """A pipe that is always read."""
    command = ["taskset", "-c", str(core), "cat"]
    # It ends when nobody can write any more: the server has ended, and we have closed our end.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        assert reader.stdin
        yield reader.stdin


def fresh(directory: Path, name: str) -> Path:
    """A folder of its own for a server."""
    (directory / name).mkdir()
    return directory / name


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_clock(pid: int) -> int:
    """The id of the CPU clock of another process, as clock_getcpuclockid(3) makes it on Linux."""
    return ~pid << 3 | 2


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has ended between the listing and now.
            # The name in parentheses may hold spaces; what follows it does not.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
