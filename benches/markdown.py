"""The table of a run for the documentation, so that nobody types a figure."""

from __future__ import annotations

from pathlib import Path

from report import expectation, measured, number, outcome, spread, subject
from results import Measured, Result, Run, Verdict


def write(run: Run, file: Path) -> None:
    file.write_text(document(run))


def document(run: Run) -> str:
    about, of = run.about, run.about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join([
        "<!-- Written by script/bench --markdown. Do not edit. -->",
        f"{about['date'][:10]}: {of['cpu']}, {of['cores']} shared cores, {of['kernel']}, {of['system']}; {versions}.",
        f"{about['rounds']} rounds of {about['seconds']} s each: the median, in brackets the lowest and highest round.",
        "",
        "| Work | At most | Measured | |",
        "|---|---|---|---|",
        *(f"| {result.title} | {expectation(result, verdict.bound)} | {measured(verdict)} | {judged(verdict)} |"
          for result in run.results for verdict in result.verdicts()),
        *(line for result in run.results for line in figures(result)),
        "",
    ])


def judged(verdict: Verdict) -> str:
    words = outcome(verdict) if verdict.met else f"**{outcome(verdict)}**"
    return words if verdict.sure else f"{words}, not in every round"


def figures(result: Result) -> list[str]:
    """A row's contenders, with a column for each quantity."""
    contenders = list(dict.fromkeys((series.contender, series.title) for series in result.series))
    ours = subject(result, result.quantities[0].name)
    lines = [
        "",
        f"**{result.title}**: {result.work}",
        "",
        "| | " + " | ".join(f"{quantity.title}, {quantity.unit}" for quantity in result.quantities) + " |",
        "|---" * (len(result.quantities) + 1) + "|",
    ]
    for contender, title in contenders:
        strong = "**" if contender == ours else ""
        found = (result.find(contender, quantity.name) for quantity in result.quantities)
        cells = (figure(Measured.of(series.figures), strong) if series else "" for series in found)
        lines.append(f"| {strong}{title}{strong} | " + " | ".join(cells) + " |")
    return lines


def figure(of: Measured, strong: str) -> str:
    median = f"{strong}{number(of.median)}{strong}"
    return median if of.low == of.high else f"{median} ({spread(of)})"
