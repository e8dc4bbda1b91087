"""What was measured and what was expected: figures, bounds, verdicts. Plain data, which JSON keeps and gives back."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from errors import BenchError

OURS = "sidegate-jwt"


@dataclass(frozen=True)
class Quantity:
    """What is measured of each contender. A row may measure several."""

    name: str
    title: str
    unit: str


@dataclass(frozen=True)
class Bound:
    """`subject` may have at most `at_most` times what `reference` has, or `at_most` itself where there is none.

    `goal` is what we would like better, and nobody is judged by.
    """

    at_most: float
    reference: str | None = None
    subject: str = OURS
    quantity: str = "cpu"
    goal: float | None = None


@dataclass(frozen=True)
class Series:
    """A contender's figures of one quantity, one for each round, and what each is made of."""

    contender: str
    title: str
    quantity: str
    figures: list[float]
    rounds: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """Something with a spread. Which one is judged is the median."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(figures: list[float]) -> Measured:
        return Measured(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True)
class Verdict:
    """A bound beside what was measured."""

    bound: Bound
    measured: Measured

    @property
    def met(self) -> bool:
        return self.measured.median <= self.bound.at_most

    @property
    def sure(self) -> bool:
        """Whether every round says the same."""
        return not self.measured.low <= self.bound.at_most < self.measured.high


@dataclass(frozen=True)
class Result:
    """A row as measured."""

    name: str
    title: str
    work: str
    quantities: list[Quantity]
    series: list[Series]
    bounds: list[Bound]

    def of(self, quantity: str) -> list[Series]:
        return [series for series in self.series if series.quantity == quantity]

    def same(self, series: Series) -> Series:
        """This row's series of the same contender and quantity."""
        found = self.find(series.contender, series.quantity)
        if not found:
            raise BenchError(f"{self.name}: {series.contender} is not in every run")
        return found

    def find(self, contender: str, quantity: str) -> Series | None:
        return next((series for series in self.of(quantity) if series.contender == contender), None)

    def quantity(self, name: str) -> Quantity:
        return next(quantity for quantity in self.quantities if quantity.name == name)

    def ratio(self, subject: str, reference: str, quantity: str) -> Measured | None:
        """Over the rounds' own ratios: what moves the whole machine from round to round falls out of it."""
        above, below = self.find(subject, quantity), self.find(reference, quantity)
        if not above or not below:
            return None
        return Measured.of([a / b for a, b in zip(above.figures, below.figures, strict=True)])

    def verdicts(self) -> list[Verdict]:
        return [Verdict(bound, measured) for bound in self.bounds if (measured := self._judged(bound))]

    def _judged(self, bound: Bound) -> Measured | None:
        if bound.reference:
            return self.ratio(bound.subject, bound.reference, bound.quantity)
        series = self.find(bound.subject, bound.quantity)
        return Measured.of(series.figures) if series else None


@dataclass(frozen=True)
class Run:
    """A whole run: its rows, and the machine, versions and settings that they are true of."""

    about: dict[str, Any]
    results: list[Result]

    def write(self, file: Path) -> None:
        rows = [
            {**asdict(result), "verdicts": [
                {**asdict(verdict), "met": verdict.met, "sure": verdict.sure} for verdict in result.verdicts()
            ]}
            for result in self.results
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**self.about, "rows": rows}, indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def read(file: Path) -> Run:
        about = json.loads(file.read_text())
        return Run(results=[result(row) for row in about.pop("rows")], about=about)

    @staticmethod
    def pooled(runs: list[Run]) -> Run:
        """Several runs of the same rows as one that has the rounds of all."""
        first = runs[0]
        same = ("versions", "seconds")
        if any(run.about[key] != first.about[key] for run in runs for key in same) or any(
               run.about["machine"]["cpu"] != first.about["machine"]["cpu"] for run in runs):
            raise BenchError("these runs differ in programs, machine or seconds: they cannot be taken together")
        if any([row.name for row in run.results] != [row.name for row in first.results] for run in runs):
            raise BenchError("these runs have different rows: they cannot be taken together")
        rounds = " + ".join(str(run.about["rounds"]) for run in runs)
        disturbances = [share for run in runs for share in run.about["disturbances"]]
        about = {**first.about, "rounds": rounds, "disturbances": disturbances}
        together = zip(*(run.results for run in runs), strict=True)
        return Run(about, [replace(rows[0], series=[
            replace(series, figures=[figure for row in rows for figure in row.same(series).figures],
                    rounds=[each for row in rows for each in row.same(series).rounds])
            for series in rows[0].series
        ]) for rows in together])


def result(row: dict[str, Any]) -> Result:
    return Result(
        name=row["name"],
        title=row["title"],
        work=row["work"],
        quantities=[Quantity(**quantity) for quantity in row["quantities"]],
        series=[Series(**series) for series in row["series"]],
        bounds=[Bound(**bound) for bound in row["bounds"]],
    )
