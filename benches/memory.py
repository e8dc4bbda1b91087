"""Memory: what a proxy has at rest, and what each connection adds that is held after a request."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from app import ask_page, page_request
from contenders import ALL
from errors import BenchError
from lanes import Bench, Lane, blamed, side_by_side
from results import Quantity, Series

HELD = 2000
# As long as a client of a keep-alive connection may well be silent: what a proxy frees meanwhile, it frees.
SETTLE_SECONDS = 6
IDLE = Quantity("idle", "RSS at idle", "MB")
OWN = Quantity("own", "Anonymous memory at idle", "MB")
CONNECTION = Quantity("connection", "RSS per idle TLS connection", "kB")


@dataclass(frozen=True)
class Memory:
    """Resident memory, of all processes. Each round starts the programs anew: what an allocator got, it keeps."""

    rounds: int = 3
    quantities = (IDLE, OWN, CONNECTION)

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        allow_files()
        idle: dict[str, list[float]] = defaultdict(list)
        own: dict[str, list[float]] = defaultdict(list)
        connection: dict[str, list[float]] = defaultdict(list)
        for turn in range(min(self.rounds, bench.rounds)):
            with side_by_side(bench, contenders, tls=True) as lanes, contextlib.ExitStack() as held:
                before = {}
                for lane in lanes:
                    bench.progress(f"round {turn + 1}, holding {HELD} connections to {lane.contender.title}")
                    time.sleep(0.2)
                    before[lane.contender.name] = lane.server.resident_bytes()
                    own[lane.contender.name].append(lane.server.own_bytes() / 1e6)
                    with blamed(lane.contender, lane.server):
                        held.enter_context(connections(lane, HELD))
                time.sleep(SETTLE_SECONDS)
                for lane in lanes:
                    name, at_rest = lane.contender.name, before[lane.contender.name]
                    idle[name].append(at_rest / 1e6)
                    connection[name].append((lane.server.resident_bytes() - at_rest) / HELD / 1e3)
        return [
            Series(name, ALL[name].title, quantity.name, figures[name])
            for quantity, figures in ((IDLE, idle), (OWN, own), (CONNECTION, connection))
            for name in contenders
        ]


@contextlib.contextmanager
def connections(lane: Lane, count: int) -> Iterator[None]:
    """Held while the block runs. Each has had one answer."""
    context = ssl.create_default_context(cafile=str(lane.site.material.certificate))
    request = page_request(lane.credentials)
    with contextlib.ExitStack() as open_sockets:
        held = []
        for _ in range(count):
            tcp = socket.create_connection(("127.0.0.1", lane.site.port), timeout=5)
            held.append(open_sockets.enter_context(context.wrap_socket(tcp, server_hostname="localhost")))
            ask_page(held[-1], request)
        yield
        for connection in held:
            connection.settimeout(0)
            # What is still open has nothing to say. An end of the connection would be read as b"".
            with contextlib.suppress(ssl.SSLWantReadError):
                raise BenchError(f"a held connection ended: {connection.recv(100)!r}")


def allow_files() -> None:
    """As many as the machine lets us, for us and for the servers that we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
