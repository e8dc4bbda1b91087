"""Latency: p50 and p99 at one connection, and at half of what the slowest contender can do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lanes import Bench, Lane, blamed, in_turn, side_by_side
from load import Paced, Wrk
from results import Quantity, Series

CONNECTIONS = 64
QUANTITIES = {
    ("one", 50): Quantity("one-p50", "p50, one connection", "µs"),
    ("one", 99): Quantity("one-p99", "p99, one connection", "µs"),
    ("half", 50): Quantity("half-p50", "p50, half load", "µs"),
    ("half", 99): Quantity("half-p99", "p99, half load", "µs"),
}


@dataclass(frozen=True)
class Latency:
    """One connection asks again when it has its answer. At half load each of 64 asks by a clock of its own, answered or
    not: an answer that is late by less than its connection's interval delays no other request, and hides none."""

    quantities = tuple(QUANTITIES.values())

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        figures: dict[tuple[str, str], list[float]] = defaultdict(list)
        with side_by_side(bench, contenders, tls=False) as lanes:
            rate = self._half_load(bench, lanes)
            for turn in range(bench.rounds):
                for lane in in_turn(lanes, turn):
                    for load, paced in (("one", Paced(1)), ("half", Paced(CONNECTIONS, rate))):
                        bench.progress(f"round {turn + 1} of {bench.rounds}, {lane.contender.title}, {load}")
                        with blamed(lane.contender, lane.server):
                            times = sorted(paced.times(lane.origin, lane.credentials, bench.seconds, bench.load_core,
                                                       lane.site.directory / "times"))
                        for share in (50, 99):
                            figures[lane.contender.name, QUANTITIES[load, share].name].append(
                                times[len(times) * share // 100])
        return [
            Series(lane.contender.name, lane.contender.title, quantity.name,
                   figures[lane.contender.name, quantity.name], [{"requests_per_second": rate}])
            for quantity in self.quantities
            for lane in lanes
        ]

    def _half_load(self, bench: Bench, lanes: list[Lane]) -> int:
        able = []
        for lane in lanes:
            bench.progress(f"how much can {lane.contender.title} do")
            answers = Wrk(CONNECTIONS).requests(lane.origin, lane.credentials, 0, bench.seconds, bench.load_core)
            able.append(answers.requests // bench.seconds)
        # One rate for all: at half of what the fastest can do, the slowest would be late with everything.
        return min(able) // 2
