"""script/bench-passwords: what a remembered password costs, and what a flood of wrong ones costs everybody else."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import secrets
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import app
import machine
import material
import peers
from app import ask_page, page_request
from builds import build
from errors import BenchError
from load import Wrk
from material import Credentials, Material
from ours import passwords, sidegate, tokens
from server import Server, free_port, fresh, serving
from sites import Site

COST = 12
WRONG_PER_SECOND = 50
TOKENS_PER_SECOND = 400
PASSWORDS_PER_SECOND = 200
PER_CENT_PASSWORD, PER_CENT_P99 = 10, 20

ABOUT = f"""\
Two figures, each a ratio of what is measured in turns in one run:

1. The CPU time that a request with a password costs, when its hash is bcrypt with cost {COST} and was checked once, to
   what it costs with {{SHA}}: at {PASSWORDS_PER_SECOND} requests a second over one kept connection, and as fast as
   wrk can.
2. The 99th percentile of the time of requests with a token, {TOKENS_PER_SECOND} a second, while
   {WRONG_PER_SECOND} wrong passwords a second arrive (bcrypt, cost {COST}, the limits on failures off), to what it is
   without them.

sidegate may use every core here: what is asked is whether a hash takes one from the requests.

A figure that is NOT MET is printed as such. The exit status is 1 when nothing could be measured, and with --strict also
when a figure is not met.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="script/bench-passwords", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="visits to each (default 10)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a visit (default 3)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a figure is not met")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        met = run(options.rounds, options.seconds)
    except BenchError as error:
        print(f"bench-passwords: {error}", file=sys.stderr)
        return 1
    return 1 if options.strict and not met else 0


def run(rounds: int, seconds: int) -> bool:
    """Measures and prints. Returns whether every figure is met."""
    for program, package in (("nginx", "nginx-light"), ("wrk", "wrk"), ("openssl", "openssl")):
        if not shutil.which(program, path=peers.SEARCH_PATH):
            raise BenchError(f"{program} is missing (Debian: {package})")
    binary = build()
    programs = peers.Programs(nginx=shutil.which("nginx", path=peers.SEARCH_PATH) or "nginx", haproxy="", envoy="",
                              relay="", sidegate=str(binary), python=sys.executable)
    print(", ".join(machine.describe().values()), f"({rounds} rounds of {seconds} s)")
    with tempfile.TemporaryDirectory(prefix="sidegate-bench-") as name:
        directory = Path(name)
        made = Material(directory, programs, cold_tokens=0)
        (directory / "app").mkdir()
        with app.running(programs, made, machine.cores()[1], directory / "app") as behind:
            password = secrets.token_urlsafe(12)
            hashed = directory / "users-bcrypt-12"
            hashed.write_text(material.bcrypt_line(str(binary), password, COST))
            slow = Credentials(material.basic(material.USER, password))
            sha, bcrypt, flood = (
                Site(fresh(directory, part), free_port(), free_port(), False, behind, made, programs)
                for part in ("sha", "bcrypt", "flood")
            )
            cheap = remembered(sha, bcrypt, hashed, (made.basic, slow), rounds, seconds)
            return flooded(flood, hashed, made, rounds, seconds) and cheap


def remembered(
    sha: Site, bcrypt: Site, hashed: Path, credentials: tuple[Credentials, Credentials], rounds: int, seconds: int
) -> bool:
    """Prints what a remembered bcrypt costs beside {SHA}. Returns whether that is met."""
    met = True
    with running(sha, sidegate(sha, passwords(sha.material.users))) as one, \
            running(bcrypt, sidegate(bcrypt, passwords(hashed))) as other:
        lanes = [(one, sha.port, credentials[0]), (other, bcrypt.port, credentials[1])]
        for title, load in (("200/s", paced), ("wrk", at_full_speed)):
            figures: list[list[float]] = [[], []]
            for turn in range(rounds + 1):
                for i in (0, 1) if turn % 2 else (1, 0):
                    server, port, shown = lanes[i]
                    before = server.cpu_seconds()
                    count = load(port, shown, seconds)
                    if turn:  # the first is for warming up
                        figures[i].append((server.cpu_seconds() - before) / count * 1e6)
            ratio = statistics.median(b / a for a, b in zip(*figures, strict=True))
            print(f"remembered bcrypt to {{SHA}}, {title:5}: {statistics.median(figures[0]):6.1f} µs with {{SHA}}, "
                  f"{statistics.median(figures[1]):6.1f} µs with bcrypt, ratio {ratio:.3f} "
                  f"{verdict(ratio, PER_CENT_PASSWORD)}", flush=True)
            met &= within(ratio, PER_CENT_PASSWORD)
    return met


def flooded(site: Site, hashed: Path, made: Material, rounds: int, seconds: int) -> bool:
    """Prints what wrong passwords do to the times of requests with a token. Returns whether that is met."""
    met = True
    auth = {**tokens(made.rs256), "basic": {"users_file": str(hashed), "failures": {"per_client": 0, "per_user": 0}}}
    with running(site, sidegate(site, auth)) as server:
        quiet: list[tuple[float, float]] = []
        loud: list[tuple[float, float]] = []
        hashing = 0.0
        times(site.port, made.bearer, 1)
        for turn in range(rounds):
            for flood in (False, True) if turn % 2 else (True, False):
                before = server.cpu_seconds()
                with wrong_passwords(site.port) if flood else contextlib.nullcontext():
                    (loud if flood else quiet).append(percentiles(times(site.port, made.bearer, seconds)))
                if flood:
                    hashing += (server.cpu_seconds() - before) / seconds / rounds
                    time.sleep(0.5)  # the last hash ends
        for i, name in enumerate(("p50", "p99")):
            ratio = statistics.median(a[i] / b[i] for a, b in zip(loud, quiet, strict=True))
            print(f"tokens beside {WRONG_PER_SECOND} wrong passwords/s, {name}: "
                  f"{statistics.median(x[i] for x in quiet) * 1e6:.0f} µs without, "
                  f"{statistics.median(x[i] for x in loud) * 1e6:.0f} µs with, ratio {ratio:.3f} "
                  f"{verdict(ratio, PER_CENT_P99) if name == 'p99' else ''}")
            met &= name != "p99" or within(ratio, PER_CENT_P99)
        print(f"sidegate used {hashing:.2f} cores meanwhile")
    return met


def paced(port: int, credentials: Credentials, seconds: int) -> int:
    return len(times(port, credentials, seconds, PASSWORDS_PER_SECOND))


def at_full_speed(port: int, credentials: Credentials, seconds: int) -> int:
    load, origin = Wrk(connections=16), f"http://127.0.0.1:{port}"
    return load.requests(origin, credentials, 0, seconds, machine.cores()[1]).requests


def times(port: int, credentials: Credentials, seconds: int, rate: int = TOKENS_PER_SECOND) -> list[float]:
    """The seconds that each request took, at a steady rate over one connection."""
    request = page_request(credentials)
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        for number in range(rate * seconds):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            sent = time.perf_counter()
            ask_page(connection, request)
            taken.append(time.perf_counter() - sent)
    return taken


@contextlib.contextmanager
def wrong_passwords(port: int) -> Iterator[None]:
    """Sends them from another process for as long as the block lasts."""
    process = multiprocessing.Process(target=send_wrong_passwords, args=(port,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def send_wrong_passwords(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    open_connections: list[socket.socket] = []
    while True:
        wrong = Credentials(material.basic(material.USER, secrets.token_hex(8)))
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(page_request(wrong))
        open_connections.append(connection)
        if len(open_connections) > 4 * WRONG_PER_SECOND:  # by now it has its answer
            open_connections.pop(0).close()
        time.sleep(1 / WRONG_PER_SECOND)


@contextlib.contextmanager
def running(site: Site, command: list[str]) -> Iterator[Server]:
    cores = f"{machine.cores()[0]},{machine.cores()[1]}"
    with serving("sidegate", command, site.port, cores, site.directory) as server:
        yield server


def percentiles(samples: list[float]) -> tuple[float, float]:
    ordered = sorted(samples)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]


def verdict(ratio: float, per_cent: int) -> str:
    return f"({'met' if within(ratio, per_cent) else 'NOT MET'}: within {per_cent} %)"


def within(ratio: float, per_cent: int) -> bool:
    return ratio <= 1 + per_cent / 100


if __name__ == "__main__":
    sys.exit(main())
