"""The method: every round visits every contender, in turn first, and takes its CPU time and its answers."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import preflight
from app import App
from contenders import ALL, Contender, Site
from errors import BenchError
from load import Load
from machine import busy_seconds
from material import Material
from peers import Programs
from rows import Row
from server import Server, free_port, serving

WARM_UP_SECONDS = 1


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


@dataclass(frozen=True)
class Sample:
    """One visit: the answers, and the CPU time that the whole proxy spent on them."""

    requests: int
    cpu_seconds: float
    other_seconds: float
    seconds: float

    @property
    def microseconds(self) -> float:
        return self.cpu_seconds / self.requests * 1e6

    @property
    def disturbance(self) -> float:
        """The share of the two cores that went to work that is not ours, which empties caches and breaks the rhythm."""
        return max(0.0, self.other_seconds) / self.seconds / 2


@dataclass(frozen=True)
class Lane:
    """A contender that runs, and what has been measured of it."""

    contender: Contender
    server: Server
    url: str
    authorization: str | None
    tls: str | None
    samples: list[Sample] = field(default_factory=list)

    def visit(self, bench: Bench, load: Load, seconds: int) -> Sample:
        cpu, other, clock = self.server.cpu_seconds(), self._other_seconds(bench), time.monotonic()
        try:
            requests = load.requests(self.url, self.authorization, seconds, bench.load_core)
        except BenchError as error:
            raise BenchError(f"{self.contender.name}: {error}\n{self.server.log_tail()}") from error
        return Sample(
            requests=requests,
            cpu_seconds=self.server.cpu_seconds() - cpu,
            other_seconds=self._other_seconds(bench) - other,
            seconds=time.monotonic() - clock,
        )

    def _other_seconds(self, bench: Bench) -> float:
        """What our two cores have done so far beside the proxy, the app and the load generators."""
        generators = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = self.server.cpu_seconds() + bench.app.server.cpu_seconds() + generators.ru_utime + generators.ru_stime
        return busy_seconds(bench.proxy_core) + busy_seconds(bench.load_core) - ours

    @property
    def figures(self) -> list[float]:
        return [sample.microseconds for sample in self.samples]


def measure(bench: Bench, row: Row, progress: Callable[[str], None]) -> list[Lane]:
    """Runs a row's contenders side by side, and returns them in the row's order."""
    with contextlib.ExitStack() as running:
        lanes = [running.enter_context(lane(bench, row, ALL[name])) for name in row.contenders]
        for each in lanes:
            progress(f"{row.name}: warming up {each.contender.name}")
            each.visit(bench, row.load, WARM_UP_SECONDS)
        for turn in range(bench.rounds):
            # Whoever is first in a round differs, so that no one always follows the same neighbour.
            first = turn % len(lanes)
            for each in lanes[first:] + lanes[:first]:
                progress(f"{row.name}: round {turn + 1} of {bench.rounds}, {each.contender.name}")
                each.samples.append(each.visit(bench, row.load, bench.seconds))
    return lanes


@contextlib.contextmanager
def lane(bench: Bench, row: Row, contender: Contender) -> Iterator[Lane]:
    """Sets a contender up, and checks that it does what it is measured for."""
    directory = bench.directory / f"{row.name}-{contender.name}"
    directory.mkdir()
    port = free_port()
    command = contender.command(Site(directory, port, row.tls, bench.app, bench.material, bench.programs))
    authorization = contender.authorization(bench.material)
    with serving(contender.name, command, port, bench.proxy_core, directory) as server:
        try:
            tls = preflight.check(contender, port, bench.material.certificate if row.tls else None, authorization)
        except (OSError, BenchError) as error:
            raise BenchError(f"{contender.name}: {error}\n{server.log_tail()}") from error
        url = f"{'https' if row.tls else 'http'}://127.0.0.1:{port}/"
        yield Lane(contender, server, url, authorization, tls)


def ratio(subject: Lane, reference: Lane) -> float:
    """The median of the rounds' ratios: what moves the whole machine from round to round falls out of it."""
    return statistics.median(a / b for a, b in zip(subject.figures, reference.figures, strict=True))
