"""What a run says: a table for the eye, JSON for whatever reads it next."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from measure import Lane, ratio
from rows import Row, Target

LIMIT = "relay"
OURS = "sidegate-jwt"
QUIET = 0.05
BOLD, GREEN, RED, PLAIN = "\033[1m", "\033[32m", "\033[31m", "\033[0m"


@dataclass(frozen=True)
class Verdict:
    """A target beside what was measured. `ratio` is None when one of the two did not run."""

    target: Target
    ratio: float | None

    @property
    def met(self) -> bool | None:
        return None if self.ratio is None else self.target.met(self.ratio)

    def __str__(self) -> str:
        outcome = {None: "not measured", True: "met", False: "NOT MET"}[self.met]
        return f"{outcome}: {self.target}" + ("" if self.ratio is None else f" (measured {self.ratio:.2f})")


@dataclass(frozen=True)
class Result:
    """A row as measured."""

    row: Row
    lanes: list[Lane]

    def verdicts(self) -> list[Verdict]:
        return [Verdict(target, self.ratio(target.subject, target.reference)) for target in self.row.targets]

    def ratio(self, subject: str, reference: str) -> float | None:
        lanes = {lane.contender.name: lane for lane in self.lanes}
        if subject not in lanes or reference not in lanes:
            return None
        return ratio(lanes[subject], lanes[reference])


def table(result: Result, colour: bool) -> str:
    """One row of the benchmark, as a table of its contenders."""
    bold, plain = (BOLD, PLAIN) if colour else ("", "")
    lines = [
        f"{bold}{result.row.name}: {result.row.title}{plain}",
        f"  {'':32}{'µs CPU/request':>15}{'min–max':>16}{'× relay':>9}{'× sidegate':>12}",
    ]
    for lane in result.lanes:
        name = lane.contender.name
        spread = f"{min(lane.figures):.1f}–{max(lane.figures):.1f}"
        line = (
            f"  {lane.contender.title:32}{statistics.median(lane.figures):>15.1f}{spread:>16}"
            f"{times(result.ratio(name, LIMIT)):>9}{times(result.ratio(name, OURS)):>12}"
        )
        lines.append(f"{bold}{line}{plain}" if name == OURS else line)
    for verdict in result.verdicts():
        tint = {None: "", True: GREEN, False: RED}[verdict.met] if colour else ""
        lines.append(f"  {tint}{verdict}{plain}")
    return "\n".join(lines)


def document(results: list[Result], about: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, each round of it."""
    return {**about, "rows": [row_document(result) for result in results]}


def row_document(result: Result) -> dict[str, Any]:
    return {
        "name": result.row.name,
        "title": result.row.title,
        "load": {"generator": type(result.row.load).__name__.lower(), **asdict(result.row.load)},
        "contenders": [lane_document(result, lane) for lane in result.lanes],
        "verdicts": [
            {**asdict(verdict.target), "ratio": verdict.ratio, "met": verdict.met} for verdict in result.verdicts()
        ],
    }


def lane_document(result: Result, lane: Lane) -> dict[str, Any]:
    return {
        "name": lane.contender.name,
        "title": lane.contender.title,
        "tls": lane.tls,
        "cpu_microseconds_per_request": {
            "median": statistics.median(lane.figures),
            "min": min(lane.figures),
            "max": max(lane.figures),
        },
        "times_relay": result.ratio(lane.contender.name, LIMIT),
        "times_sidegate": result.ratio(lane.contender.name, OURS),
        "rounds": [asdict(sample) for sample in lane.samples],
    }


def disturbance(results: list[Result]) -> str:
    """How quiet the machine was: other work makes figures higher, and ratios less sure."""
    shares = [sample.disturbance for result in results for lane in result.lanes for sample in lane.samples]
    middle, worst = statistics.median(shares), max(shares)
    remark = "" if middle < QUIET else ". NOT A QUIET MACHINE: repeat this before believing it"
    return f"Other work took {middle:.0%} of the two cores (median of the visits, at worst {worst:.0%}){remark}"


def times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"
