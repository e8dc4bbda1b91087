"""What a run says on the terminal: for each row its contenders, and a verdict for each bound."""

from __future__ import annotations

import statistics

from results import OURS, Bound, Measured, Result, Run, Verdict

QUIET = 0.05
BOLD, GREEN, RED, PLAIN = "\033[1m", "\033[32m", "\033[31m", "\033[0m"


def header(run: Run) -> str:
    about, of = run.about, run.about["machine"]
    return "\n".join([
        f"{of['cpu']}, {of['cores']} cores, {of['memory']}; {of['kernel']}; {of['system']}",
        ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        f"{about['rounds']} rounds of {about['seconds']} s each; load average at the start {of['load_average']}",
    ])


def table(result: Result, colour: bool) -> str:
    """One row of the benchmark, as a table of its contenders."""
    bold, plain = (BOLD, PLAIN) if colour else ("", "")
    lines = ["", f"{bold}{result.name}: {result.title}{plain}, {result.work}"]
    for quantity in result.quantities:
        ours = subject(result, quantity.name)
        lines.append(f"  {f'{quantity.title}, {quantity.unit}':34}{'median':>10}{'min–max':>17}{'sidegate ÷ it':>17}")
        for series in result.of(quantity.name):
            figure = Measured.of(series.figures)
            ratio = result.ratio(ours, series.contender, quantity.name)
            line = (f"    {series.title:32}{number(figure.median):>10}{spread(figure):>17}"
                    f"{'' if not ratio or series.contender == ours else f'{ratio.median:.2f}':>17}")
            lines.append(f"{bold}{line}{plain}" if series.contender == ours else line)
    for verdict in result.verdicts():
        tint = (GREEN if verdict.met else RED) if colour else ""
        lines.append(f"  {tint}{outcome(verdict)}{plain}: {expectation(result, verdict.bound)}; "
                     f"measured {measured(verdict)}{'' if verdict.sure else ', not in every round'}")
    return "\n".join(lines)


def summary(run: Run, colour: bool) -> str:
    """What a run comes to, in its last lines."""
    verdicts = [verdict for result in run.results for verdict in result.verdicts()]
    missed = [f"{result.name}: {expectation(result, verdict.bound)}; measured {measured(verdict)}"
              for result in run.results for verdict in result.verdicts() if not verdict.met]
    tint, plain = (RED if missed else GREEN, PLAIN) if colour else ("", "")
    return "\n".join([
        f"\n{tint}{len(verdicts) - len(missed)} of {len(verdicts)} bounds are met{plain}",
        *(f"  NOT MET  {miss}" for miss in missed),
        disturbance(run),
    ])


def subject(result: Result, quantity: str) -> str:
    """The contender that is judged."""
    return next((bound.subject for bound in result.bounds if bound.quantity == quantity), OURS)


def outcome(verdict: Verdict) -> str:
    return "met" if verdict.met else "NOT MET"


def expectation(result: Result, bound: Bound) -> str:
    """A bound in words."""
    quantity = result.quantity(bound.quantity)
    what = "" if len(result.quantities) == 1 else f"{quantity.title} "
    if not bound.reference:
        return f"{what}≤ {bound.at_most:g} {quantity.unit}"
    reference = result.find(bound.reference, bound.quantity)
    goal = f" (goal {bound.goal:.2f})" if bound.goal else ""
    return f"{what}≤ {bound.at_most:.2f} × {reference.title if reference else bound.reference}{goal}"


def measured(verdict: Verdict) -> str:
    of = verdict.measured
    if verdict.bound.reference:
        return f"{of.median:.2f} ({of.low:.2f}–{of.high:.2f})"
    return f"{number(of.median)} ({spread(of)})"


def spread(of: Measured) -> str:
    return f"{number(of.low)}–{number(of.high)}"


def number(value: float) -> str:
    """Three digits are what such a figure is good for."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def disturbance(run: Run) -> str:
    """How quiet the machine was: other work makes figures higher, and ratios less sure."""
    shares = run.about["disturbances"]
    if not shares:
        return ""
    middle, worst = statistics.median(shares), max(shares)
    remark = "" if middle < QUIET else ". NOT A QUIET MACHINE: repeat this before believing it"
    return f"Other work took {middle:.0%} of the two cores (median of the visits, at worst {worst:.0%}){remark}"
