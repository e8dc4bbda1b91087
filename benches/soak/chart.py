"""The samples as a picture: one panel for each series, the warm-up shaded, the slope drawn. Readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from samples import SERIES, Sample, Series
from slope import WARM_UP, Drift

WIDTH, LEFT, RIGHT, TOP, PANEL, GAP, FOOT = 900, 70, 190, 56, 84, 30, 34

# Points of a line: more than there are pixels to tell apart would only make the file larger.
POINTS = 400

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 } .quiet { fill: #59636e } .right { text-anchor: end } .middle { text-anchor: middle }
.paper { fill: #ffffff } .warm { fill: #f0f2f4 } .axis { stroke: #8c959f } .line { fill: none; stroke: #0969da; stroke-width: 1.5 }
.slope { stroke: #0b6b4f; stroke-width: 2 } .flat { fill: #0b6b4f; font-weight: 600 } .bad { fill: #b3261e; font-weight: 600 }
.bad-slope { stroke: #b3261e; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .quiet { fill: #9198a1 } .paper { fill: #0d1117 } .warm { fill: #1a2029 } .axis { stroke: #59636e }
.line { stroke: #58a6ff } .slope { stroke: #4fc3a1 } .flat { fill: #4fc3a1 } .bad { fill: #ff8a80 } .bad-slope { stroke: #ff8a80 }
}"""


def draw(samples: Sequence[Sample], drifts: dict[str, Drift], heading: str) -> str:
    height = TOP + len(SERIES) * (PANEL + GAP) + FOOT
    minutes = samples[-1].time / 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(heading)}: {escape("; ".join(said(series, drifts[series.name]) for series in SERIES))}</title>',
        f"<style>{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="8"/>',
        f'<text class="title" x="{LEFT}" y="30">{escape(heading)}</text>',
    ]
    for number, series in enumerate(SERIES):
        parts += panel(samples, series, drifts[series.name], TOP + number * (PANEL + GAP))
    bottom = TOP + len(SERIES) * (PANEL + GAP) - GAP
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 60, 120) if minutes / step <= 8)
    for tick in range(int(minutes / step) + 1):
        at = LEFT + tick * step / minutes * (WIDTH - LEFT - RIGHT)
        parts.append(f'<text class="quiet middle" x="{at:.1f}" y="{bottom + 20}">{tick * step:g}{" min" if not tick else ""}</text>')
    return "\n".join([*parts, "</svg>", ""])


def panel(samples: Sequence[Sample], series: Series, drift: Drift, top: int) -> list[str]:
    times, values = [sample.time for sample in samples], [getattr(sample, series.name) for sample in samples]
    most = max([*values, drift.level + drift.allowed]) * 1.1 or 1
    width = WIDTH - LEFT - RIGHT

    def x(time: float) -> float:
        return LEFT + (time - times[0]) / (times[-1] - times[0]) * width

    def y(value: float) -> float:
        return top + PANEL - value / most * PANEL

    thin = max(1, len(samples) // POINTS)
    line = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in list(zip(times, values, strict=True))[::thin])
    start, flat = LEFT + WARM_UP * width, drift.verdict == "flat"
    return [
        f'<rect class="warm" x="{LEFT}" y="{top}" width="{WARM_UP * width:.1f}" height="{PANEL}"/>',
        f'<text class="quiet" x="{LEFT + 6}" y="{top + PANEL - 8}">warm-up</text>' if series is SERIES[0] else "",
        f'<path class="axis" fill="none" d="M{LEFT} {top}V{top + PANEL}H{LEFT + width}"/>',
        f'<text class="quiet right" x="{LEFT - 6}" y="{y(drift.level) + 4:.1f}">{number(drift.level)}</text>',
        f'<text class="quiet right" x="{LEFT - 6}" y="{top + PANEL + 4}">0</text>',
        f'<polyline class="line" points="{line}"/>',
        f'<path class="{"slope" if flat else "bad-slope"}" d="M{start:.1f} {y(drift.level - drift.grown / 2):.1f}'
        f'L{LEFT + width} {y(drift.level + drift.grown / 2):.1f}"/>',
        f'<text x="{LEFT + width + 12}" y="{top + 20}">{escape(series.title)}{f", {series.unit}" if series.unit else ""}</text>',
        f'<text class="{"flat" if flat else "bad"}" x="{LEFT + width + 12}" y="{top + 40}">{drift.verdict}</text>',
        f'<text class="quiet" x="{LEFT + width + 12}" y="{top + 60}">{escape(bounds(drift))}</text>',
    ]


def said(series: Series, drift: Drift) -> str:
    return f"{series.title} {number(drift.level)} {series.unit}".rstrip() + f", {drift.verdict} ({bounds(drift)})"


def bounds(drift: Drift) -> str:
    return f"{drift.grown:+.2f} ({drift.low:+.2f} to {drift.high:+.2f})"


def number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
