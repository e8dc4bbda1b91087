"""One run of sidegate under callgrind: what it executed, from its start to its end.

Callgrind counts the instructions of the process itself and not the kernel's; so a busy machine changes nothing but how
long it takes. The main thread is left out: it starts the others and waits, and while it starts, aws-lc gathers entropy
from the jitter of the clock, in loops that take half a million instructions more or less.

What may still differ between two machines:

- the code that glibc (memcpy) and aws-lc (AES, SHA, P-256) choose by the processor. Valgrind presents one of its own,
  the same on every machine that has AVX2, and without AVX-512 and SHA-NI: the figures for TLS are not those of the
  real processor, but they are the same everywhere;
- glibc, where it is linked dynamically, and the compiler, which rust-toolchain.toml pins.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from errors import BenchError

# Valgrind runs code some fifty times slower, and the machine may be busy.
START_SECONDS = 60
STOP_SECONDS = 60


class Callgrind:
    """A sidegate that runs under callgrind. `port` is where it listens; the rest is there when it has ended."""

    def __init__(self, pid: int, port: int, profile: Path) -> None:
        self.pid = pid
        self.port = port
        self._profile = profile

    def profiles(self) -> list[Path]:
        """The files of all threads but the first."""
        return sorted(self._profile.parent.glob(f"{self._profile.name}-*"))[1:]

    def instructions(self) -> int:
        return sum(total(profile) for profile in self.profiles())


@contextlib.contextmanager
def running(binary: Path, config: Path, profile: Path) -> Iterator[Callgrind]:
    """Serves `config` until the block ends; the profile is complete after it."""
    command = ["setpriv", "--pdeathsig", "KILL", "valgrind", "--tool=callgrind", "--quiet", "--separate-threads=yes",
               f"--callgrind-out-file={profile}", str(binary), "serve", "--config", str(config)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    port: list[int] = []
    listening = threading.Event()

    def read() -> None:
        for line in process.stderr or ():
            lines.append(line)
            if found := re.search(r"sidegate is listening on https?://[\d.]+:(\d+)", line):
                port.append(int(found[1]))
                listening.set()
        listening.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        listening.wait(START_SECONDS)
        if not port:
            raise BenchError(f"sidegate did not start under valgrind\n{''.join(lines[-20:])}")
        yield Callgrind(process.pid, port[0], profile)
        process.terminate()
        if process.wait(STOP_SECONDS) != 0:
            raise BenchError(f"sidegate ended with {process.returncode} under valgrind\n{''.join(lines[-20:])}")
    finally:
        # It has ended already unless something went wrong; then its profile is of no use either.
        process.kill()
        process.wait()
        reader.join()


def total(profile: Path) -> int:
    found = re.search(r"^totals: (\d+)", profile.read_text(), re.M)
    if not found:
        raise BenchError(f"{profile} has no totals: did the process end by itself?")
    return int(found[1])
