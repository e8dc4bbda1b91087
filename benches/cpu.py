"""CPU time per request: every round visits every contender, and takes the time of all its threads and its answers."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from dataclasses import dataclass

from errors import BenchError
from lanes import Bench, Lane, blamed, in_turn, side_by_side
from load import Load
from machine import busy_seconds
from material import MANY_TOKENS
from results import Quantity, Series

WARM_UP_SECONDS = 1
MICROSECONDS = Quantity("cpu", "CPU per request", "µs")


@dataclass(frozen=True)
class Cpu:
    """The CPU time that the whole proxy spends on an answer; `scale` makes of its seconds what `quantity` says.

    `steady` are metrics of sidegate's that the visits may not change: who says that a token was remembered proves it.
    `tolerance` is by how much they still may, as a share of the answers: what was asked for as a visit to warm up ended
    may not have been done, and what is remembered for minutes may end.
    """

    load: Load
    tls: bool
    steady: tuple[str, ...] = ()
    tolerance: float = 0
    quantity: Quantity = MICROSECONDS
    scale: float = 1e6

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        return (self.quantity,)

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        samples: dict[str, list[dict[str, float]]] = defaultdict(list)
        with side_by_side(bench, contenders, self.tls) as lanes:
            for lane in lanes:
                bench.progress(f"warming up {lane.contender.title}")
                self._warm_up(bench, lane)
            before = [metrics(lane, self.steady) for lane in lanes]
            for turn in range(bench.rounds):
                for lane in in_turn(lanes, turn):
                    bench.progress(f"round {turn + 1} of {bench.rounds}, {lane.contender.title}")
                    samples[lane.contender.name].append(self._visit(bench, lane, bench.seconds))
            for lane, known in zip(lanes, before, strict=True):
                self._expect_steady(lane, known, sum(sample["requests"] for sample in samples[lane.contender.name]))
        return [
            Series(lane.contender.name, lane.contender.title, self.quantity.name,
                   [sample["cpu_seconds"] / sample["requests"] * self.scale for sample in samples[lane.contender.name]],
                   samples[lane.contender.name])
            for lane in lanes
        ]

    def _warm_up(self, bench: Bench, lane: Lane) -> None:
        answers = self._visit(bench, lane, WARM_UP_SECONDS)["requests"]
        # What is shown again and again must have been seen once.
        while lane.contender.ours and lane.credentials and lane.credentials.cycle and answers < MANY_TOKENS:
            answers += self._visit(bench, lane, WARM_UP_SECONDS)["requests"]

    def _visit(self, bench: Bench, lane: Lane, seconds: int) -> dict[str, float]:
        cpu, other, clock = lane.server.cpu_seconds(), other_seconds(bench, lane), time.monotonic()
        with blamed(lane.contender, lane.server):
            answers = self.load.requests(lane.origin, lane.credentials, lane.position, seconds, bench.load_core)
        lane.position = answers.position
        # Work that is not ours empties caches and breaks the rhythm. It is a share of the two cores.
        disturbance = max(0.0, other_seconds(bench, lane) - other) / (time.monotonic() - clock) / 2
        bench.disturbances.append(disturbance)
        return {"requests": answers.requests, "cpu_seconds": lane.server.cpu_seconds() - cpu,
                "disturbance": disturbance}

    def _expect_steady(self, lane: Lane, before: dict[str, float], answers: float) -> None:
        for metric, value in metrics(lane, self.steady).items():
            if value - before[metric] > self.tolerance * answers:
                raise BenchError(f"{lane.contender.name}: {metric} should not have moved, and went from "
                                 f"{before[metric]:.0f} to {value:.0f} in {answers:.0f} answers")


def metrics(lane: Lane, names: tuple[str, ...]) -> dict[str, float]:
    return {name: lane.metric(name) for name in names if lane.contender.ours}


def other_seconds(bench: Bench, lane: Lane) -> float:
    """What our two cores have done so far beside the proxy, the app and the load generators."""
    generators = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = lane.server.cpu_seconds() + bench.app.server.cpu_seconds() + generators.ru_utime + generators.ru_stime
    return busy_seconds(bench.proxy_core) + busy_seconds(bench.load_core) - ours
