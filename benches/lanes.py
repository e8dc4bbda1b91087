"""Contenders that run side by side, each checked to do what it is measured for."""

from __future__ import annotations

import contextlib
import http.client
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import preflight
from app import App
from contenders import ALL, Contender
from errors import BenchError
from material import Credentials, Material
from peers import Programs
from server import Server, free_port, serving
from sites import Site

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """What all rows of a run share."""

    programs: Programs
    material: Material
    app: App
    directory: Path
    proxy_core: int
    load_core: int
    rounds: int
    seconds: int
    progress: Progress
    disturbances: list[float] = field(default_factory=list)
    _sites: Iterator[int] = field(default_factory=itertools.count)

    def site(self, contender: Contender, tls: bool) -> Site:
        directory = self.directory / f"{next(self._sites)}-{contender.name}"
        directory.mkdir()
        return Site(directory, free_port(), free_port(), tls, self.app, self.material, self.programs)


@dataclass
class Lane:
    """A contender that runs. `position` is how far the credentials were read that it is shown in turn."""

    contender: Contender
    server: Server
    site: Site
    credentials: Credentials | None
    position: int = 0

    @property
    def origin(self) -> str:
        return f"{'https' if self.site.tls else 'http'}://127.0.0.1:{self.site.port}"

    def metric(self, name: str) -> float:
        """A metric of sidegate's, with its labels as they are written; 0 when it is not there yet."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.site.admin_port, timeout=5)) as client:
            client.request("GET", "/metrics")
            lines = client.getresponse().read().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " ")), 0.0)


@contextlib.contextmanager
def side_by_side(bench: Bench, contenders: tuple[str, ...], tls: bool) -> Iterator[list[Lane]]:
    with contextlib.ExitStack() as running:
        yield [running.enter_context(lane(bench, ALL[name], tls)) for name in contenders]


@contextlib.contextmanager
def lane(bench: Bench, contender: Contender, tls: bool) -> Iterator[Lane]:
    """Sets a contender up and asks it once."""
    bench.progress(f"starting {contender.title}")
    site = bench.site(contender, tls)
    command = contender.command(site)
    credentials = contender.credentials(bench.material)
    reader = bench.load_core if contender.writes_log else None
    with serving(contender.name, command, site.port, bench.proxy_core, site.directory, reader) as server:
        with blamed(contender, server):
            preflight.check(contender, site.port, bench.material.certificate if tls else None, credentials)
        yield Lane(contender, server, site, credentials)


@contextlib.contextmanager
def blamed(contender: Contender, server: Server) -> Iterator[None]:
    """An error in the block is told with the contender's name and what it has said."""
    try:
        yield
    except (OSError, BenchError) as error:
        raise BenchError(f"{contender.name}: {error}\n{server.log_tail()}") from error


def in_turn(lanes: list[Lane], turn: int) -> list[Lane]:
    """Whoever is first in a round differs, so that no one always follows the same neighbour."""
    first = turn % len(lanes)
    return lanes[first:] + lanes[:first]
