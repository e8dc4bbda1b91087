"""How soon a proxy answers, and how large its program is."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from app import ask_page, page_request
from contenders import ALL, Contender
from errors import BenchError
from lanes import Bench, blamed
from results import Quantity, Series
from server import Server

LONGEST_SECONDS = 10
START = Quantity("start", "exec to the first answer", "ms")
SIZE = Quantity("size", "size of the program", "MB")


@dataclass(frozen=True)
class Startup:
    """From the call that starts the program until a request with credentials has its 200, asked for without pause."""

    quantities = (START,)

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(4 * bench.rounds):
            for name in contenders:
                bench.progress(f"start {turn + 1}, {ALL[name].title}")
                figures[name].append(self._start(bench, ALL[name]) * 1e3)
        return [Series(name, ALL[name].title, START.name, figures[name]) for name in contenders]

    def _start(self, bench: Bench, contender: Contender) -> float:
        site = bench.site(contender, tls=False)
        command = contender.command(site)
        request = page_request(contender.credentials(bench.material))
        everywhere = os.sched_getaffinity(0)
        log = site.directory / "output.log"
        with log.open("wb") as output:
            # The child inherits the core: `taskset` would be one more program to start.
            os.sched_setaffinity(0, {bench.proxy_core})
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       cwd=site.directory)
            os.sched_setaffinity(0, {bench.load_core})
        server = Server(contender.name, process, log)
        try:
            with blamed(contender, server):
                answered(site.port, request)
            return time.perf_counter() - begun
        finally:
            os.sched_setaffinity(0, everywhere)
            server.stop()


def answered(port: int, request: bytes) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=5) as tcp:
            ask_page(tcp, request)
            return
    raise BenchError(f"no answer within {LONGEST_SECONDS} s")


@dataclass(frozen=True)
class Size:
    """The program file; of ours the static one, as the Dockerfile builds it, when it was built from these sources."""

    quantities = (SIZE,)

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        programs = bench.programs
        static = programs.static_sidegate()
        files = {"relay": programs.relay, "nginx-basic": programs.nginx, "haproxy-jwt": programs.haproxy,
                 "envoy-jwt": programs.envoy, "sidegate-jwt": static or programs.sidegate}
        kind = ", static" if static else ", dynamic"
        return [
            Series(name, ALL[name].title.split(",")[0] + (kind if ALL[name].ours else ""), SIZE.name,
                   [Path(files[name]).stat().st_size / 1e6])
            for name in contenders
        ]
