"""Latency: p50 and p99 at one connection, and at half of what the slowest contender can do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lanes import Bench, Lane, blamed, in_turn, side_by_side
from load import Single, Wrk
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
    """One connection asks again when it has its answer. At half load each of 64 pauses for a random time in between. wrk's
    timers go by whole milliseconds, so that some `64 / pause` requests are sent together, and the last of those waits for
    the others; clocks that were started together would send all 64 at once."""

    quantities = tuple(QUANTITIES.values())

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]:
        figures: dict[tuple[str, str], list[float]] = defaultdict(list)
        made: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
        with side_by_side(bench, contenders, tls=False) as lanes:
            pause = self._pause(bench, lanes)
            for turn in range(bench.rounds):
                for lane in in_turn(lanes, turn):
                    for load, generator in (("one", Single()), ("half", Wrk(CONNECTIONS, pause=pause))):
                        bench.progress(f"round {turn + 1} of {bench.rounds}, {lane.contender.title}, {load}")
                        with blamed(lane.contender, lane.server):
                            answers = generator.requests(lane.origin, lane.credentials, 0, bench.seconds,
                                                         bench.load_core)
                        for share, time in ((50, answers.p50), (99, answers.p99)):
                            series = lane.contender.name, QUANTITIES[load, share].name
                            figures[series].append(time)
                            made[series].append({"pause_ms": pause if load == "half" else 0,
                                                 "requests_per_second": answers.requests / bench.seconds})
        return [
            Series(lane.contender.name, lane.contender.title, quantity.name,
                   figures[lane.contender.name, quantity.name], made[lane.contender.name, quantity.name])
            for quantity in self.quantities
            for lane in lanes
        ]

    def _pause(self, bench: Bench, lanes: list[Lane]) -> int:
        """The pause, in ms and on average, with which 64 connections ask for half of what the slowest can do. It is one for
        all: at half of what the fastest can do, the slowest would be late with everything."""
        able = []
        for lane in lanes:
            bench.progress(f"how much can {lane.contender.title} do")
            answers = Wrk(CONNECTIONS).requests(lane.origin, lane.credentials, 0, bench.seconds, bench.load_core)
            able.append(answers.requests / bench.seconds)
        return max(1, round(1000 * CONNECTIONS / (min(able) / 2)))
