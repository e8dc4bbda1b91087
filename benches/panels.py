"""What is drawn of a run: which figures stand together, and what our bound is among them."""

from __future__ import annotations

from dataclasses import dataclass

from report import measured, number, outcome, subject
from results import Bound, Measured, Result, Run, Verdict

# Rows that compare sidegate with itself share a panel of ratios; latency is its ratio to the relay.
OWN = ("basic", "log", "rules", "users", "keys", "tokens")
RATIOS = ("latency",)


@dataclass(frozen=True)
class Bar:
    """A figure, and the bound that is for this bar alone."""

    label: str
    kind: str
    figure: Measured
    text: str
    bound: float | None = None


@dataclass(frozen=True)
class Panel:
    """Bars of one unit. `bound` is for all of them; `verdicts` says what became of it."""

    title: str
    note: str
    bars: list[Bar]
    verdicts: list[Verdict]
    names: list[str]
    bound: float | None = None


def panels(run: Run) -> list[Panel]:
    compared = [result for result in run.results if result.name not in OWN + RATIOS]
    drawn = [panel(result, quantity.name) for result in compared for quantity in result.quantities]
    own = [ratio_bar(result, bound, result.title) for result in run.results if result.name in OWN
           for bound in result.bounds]
    if own:
        drawn.append(Panel("What it costs sidegate", "CPU per request, times that of one, or of what it adds to", own,
                           [], []))
    for result in run.results:
        if result.name in RATIOS:
            bars = [ratio_bar(result, bound, result.quantity(bound.quantity).title) for bound in result.bounds]
            drawn.append(Panel(result.title, "times that of the raw TCP relay", bars, [], []))
    return drawn


def panel(result: Result, quantity: str) -> Panel:
    of = result.quantity(quantity)
    ours = subject(result, quantity)
    order = {"ours": 0, "also": 1}
    series = sorted(result.of(quantity), key=lambda each: order.get(kind(each.contender, ours), 2))
    bars = [
        Bar(each.title, kind(each.contender, ours), figure := Measured.of(each.figures), number(figure.median))
        for each in series
    ]
    verdicts = [verdict for verdict in result.verdicts() if verdict.bound.quantity == quantity]
    several = len(result.quantities) > 1
    return Panel(
        title=of.title if several else result.title,
        note=of.unit if several else f"{of.title}, {of.unit}",
        bars=bars,
        verdicts=verdicts,
        names=[short(result, verdict) for verdict in verdicts],
        bound=min((absolute(result, verdict.bound) for verdict in verdicts), default=None),
    )


def ratio_bar(result: Result, bound: Bound, label: str) -> Bar:
    verdict = next(verdict for verdict in result.verdicts() if verdict.bound == bound)
    return Bar(label, "ours" if verdict.met else "missed", verdict.measured, f"{verdict.measured.median:.2f}",
               bound.at_most)


def kind(contender: str, ours: str) -> str:
    if contender == ours:
        return "ours"
    if contender.startswith("sidegate"):
        return "also"
    return "limit" if contender == "relay" else "peer"


def absolute(result: Result, bound: Bound) -> float:
    """Where a bound lies on the scale of its quantity."""
    reference = result.find(bound.reference, bound.quantity) if bound.reference else None
    return bound.at_most * (Measured.of(reference.figures).median if reference else 1)


def short(result: Result, verdict: Verdict) -> str:
    """A bound and its outcome in a few words: `0.58 × nginx (≤ 0.60)`."""
    bound = verdict.bound
    if not bound.reference:
        return f"{number(verdict.measured.median)} (≤ {bound.at_most:g})"
    reference = result.find(bound.reference, bound.quantity)
    name = reference.title.split(",")[0].replace("raw TCP ", "") if reference else bound.reference
    return f"{verdict.measured.median:.2f} × {name} (≤ {bound.at_most:.2f})"


def told(panel: Panel) -> str:
    """A panel for who does not see it."""
    bars = ", ".join(f"{bar.label} {bar.text}" + (f" (at most {bar.bound:g})" if bar.bound else "")
                     for bar in panel.bars)
    verdicts = "; ".join(f"{outcome(verdict)} {measured(verdict)}" for verdict in panel.verdicts)
    return f"{panel.title}, {panel.note}: {bars}" + (f". Bounds: {verdicts}" if verdicts else "")
