"""The table of a run for the documentation, so that nobody types a figure."""

from __future__ import annotations

from pathlib import Path

from report import expectation, measured, number, outcome, spread, subject
from results import Measured, Result, Run, Verdict


def write(run: Run, runs: list[Run], file: Path) -> None:
    file.write_text(document(run, runs))


def document(run: Run, runs: list[Run]) -> str:
    """The table of `runs`, which are taken together in `run`."""
    about, of = run.about, run.about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join([
        "<!-- Written by script/bench --markdown. Do not edit. -->",
        f"{about['date'][:10]}: {of['cpu']}, {of['cores']} shared cores, {of['kernel']}, {of['system']}; {versions}.",
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} of {about['rounds']} rounds of {about['seconds']} s: the median of each run, "
        "then that of all rounds with the lowest and highest.",
        "",
        f"| Work | At most | {' | '.join(f'Run {one}' for one in range(1, len(runs) + 1))} | All rounds | |",
        "|---" * (len(runs) + 4) + "|",
        *(line for row, result in enumerate(run.results) for line in verdicts(result, [each.results[row] for each in runs])),
        *(line for result in run.results for line in figures(result)),
        "",
    ])


def verdicts(result: Result, alone: list[Result]) -> list[str]:
    """A line for each bound of a row: what each run alone measured, and what all of them did."""
    each_run = zip(*(row.verdicts() for row in alone), strict=True)
    return [
        f"| {result.title} | {expectation(result, verdict.bound)} | "
        f"{' | '.join(median(one) for one in each)} | {measured(verdict)} | {judged(verdict)} |"
        for verdict, each in zip(result.verdicts(), each_run, strict=True)
    ]


def median(verdict: Verdict) -> str:
    of = verdict.measured.median
    return f"{of:.2f}" if verdict.bound.reference else number(of)


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
