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
    """The CPU time that the whole proxy spends on an answer, or (`per`) on a thousandth of something of that size.

    `steady` are metrics of sidegate's that the visits may not change: who says that a token was remembered proves it.
    """

    load: Load
    tls: bool
    steady: tuple[str, ...] = ()
    quantity: Quantity = MICROSECONDS
    scale: float = 1e6

    @property
    def quantities(self) -> list[Quantity]:
        return [self.quantity]

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        samples: dict[str, list[dict[str, float]]] = defaultdict(list)
        with side_by_side(bench, contenders, self.tls) as lanes:
            for lane in lanes:
                bench.progress(f"warming up {lane.contender.title}")
                self._warm_up(bench, lane)
            before = {metric: self._metric(lanes, metric) for metric in self.steady}
            for turn in range(bench.rounds):
                for lane in in_turn(lanes, turn):
                    bench.progress(f"round {turn + 1} of {bench.rounds}, {lane.contender.title}")
                    samples[lane.contender.name].append(self._visit(bench, lane, bench.seconds))
            for metric, value in before.items():
                if self._metric(lanes, metric) != value:
                    raise BenchError(f"{metric} should not have moved: {value} before, and now "
                                     f"{self._metric(lanes, metric)}")
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

    def _metric(self, lanes: list[Lane], name: str) -> list[float]:
        return [lane.metric(name) for lane in lanes if lane.contender.ours]


def other_seconds(bench: Bench, lane: Lane) -> float:
    """What our two cores have done so far beside the proxy, the app and the load generators."""
    generators = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = lane.server.cpu_seconds() + bench.app.server.cpu_seconds() + generators.ru_utime + generators.ru_stime
    return busy_seconds(bench.proxy_core) + busy_seconds(bench.load_core) - ours
