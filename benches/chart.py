"""The chart of a run, as an SVG for a light page and one for a dark page."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

from panels import Bar, Panel, panels, told
from results import Run

WIDTH, MARGIN, GUTTER = 900, 12, 36
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2
LABEL, FIGURE = 164, 58
SCALE = COLUMN - LABEL - FIGURE
BAR, STEP = 13, 19
TITLE, FOOT, BETWEEN = 44, 16, 20
HEADER, LINE = 92, 125
# How wide a letter may be, in whatever font there is, and how many verdicts fit beside one another.
GLYPH, ABREAST = 7.5, 2
# What is longer than so many times the bound is cut off there; its figure says how long it is.
LONGEST = 8
SANS = 'system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif'


@dataclass(frozen=True)
class Theme:
    """The colours of a page. `ours` and `missed` differ in lightness too."""

    text: str
    soft: str
    ours: str
    also: str
    peer: str
    limit: str
    bound: str
    line: str


LIGHT = Theme(text="#1f2328", soft="#59636e", ours="#0b6b4f", also="#7fb8a4", peer="#c3cad2", limit="#e4e8ec",
              bound="#b3261e", line="#8c959f")
DARK = Theme(text="#e6edf3", soft="#9da7b1", ours="#3fb68b", also="#24694f", peer="#4d5661", limit="#2d343c",
             bound="#ff8a80", line="#7d8590")


def write(run: Run, folder: Path) -> None:
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        (folder / f"performance-{name}.svg").write_text(chart(run, theme))


def chart(run: Run, theme: Theme) -> str:
    drawn = panels(run)
    columns: tuple[list[str], list[str]] = ([], [])
    heights = [float(HEADER), float(HEADER)]
    for panel in drawn:
        # The shorter column takes the next one, so that the eye goes from left to right.
        side = heights.index(min(heights))
        columns[side].append(drawing(panel, MARGIN + side * (COLUMN + GUTTER), heights[side], theme))
        heights[side] += height(panel) + BETWEEN
    foot = max(heights)
    small = footer(run)
    total = foot + 18 * len(small) + 6
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total:.0f}" role="img" '
        'aria-labelledby="title desc">',
        "<title id=\"title\">What sidegate costs beside nginx, HAProxy, Envoy and a raw TCP relay</title>",
        f'<desc id="desc">{escape(" — ".join(told(panel) for panel in drawn))}</desc>',
        style(theme),
        *legend(run),
        *columns[0],
        *columns[1],
        f'<path class="rule" d="M{MARGIN} {foot - 6:.1f}H{WIDTH - MARGIN}"/>',
        *(text("s", MARGIN, foot + 14 + 18 * line, words) for line, words in enumerate(small)),
        "</svg>\n",
    ])


def style(theme: Theme) -> str:
    return f"""<style>
text {{ font: 12px {SANS}; fill: {theme.text} }}
.h {{ font-size: 20px; font-weight: 600 }}
.t {{ font-size: 14px; font-weight: 600 }}
.s {{ font-size: 11.5px; fill: {theme.soft} }}
.b {{ font-weight: 600 }}
.f {{ font-variant-numeric: tabular-nums }}
.met {{ font-size: 11.5px; fill: {theme.ours} }}
.not {{ font-size: 11.5px; fill: {theme.bound} }}
.ours {{ fill: {theme.ours} }}
.missed {{ fill: {theme.ours} }}
.also {{ fill: {theme.also} }}
.peer {{ fill: {theme.peer} }}
.limit {{ fill: {theme.limit}; stroke: {theme.line}; stroke-width: .75; stroke-dasharray: 2 2 }}
.spread {{ fill: none; stroke: {theme.text}; stroke-opacity: .55 }}
.bound {{ fill: none; stroke: {theme.bound}; stroke-width: 1.6; stroke-dasharray: 4 2.5 }}
.rule {{ fill: none; stroke: {theme.line}; stroke-opacity: .4 }}
</style>"""


def legend(run: Run) -> list[str]:
    verdicts = [verdict for result in run.results for verdict in result.verdicts()]
    met = sum(verdict.met for verdict in verdicts)
    parts, x = [], float(MARGIN)
    for kind, words in (("ours", "sidegate"), ("also", "sidegate, other credentials"), ("peer", "peers"),
                        ("limit", "raw TCP relay: the limit")):
        parts += [f'<rect class="{kind}" x="{x:.1f}" y="55" width="18" height="11" rx="2"/>',
                  text("s", x + 24, 65, words)]
        x += 24 + 6.1 * len(words) + 22
    parts += [f'<path class="bound" d="M{x + 5:.1f} 53v15"/>', text("s", x + 14, 65, "our bound")]
    x += 14 + 6.1 * 9 + 22
    parts += [f'<path class="spread" d="M{x:.1f} 60.5h16M{x:.1f} 57.5v6m16-6v6"/>',
              text("s", x + 22, 65, "lowest and highest round")]
    return [
        text("h", MARGIN, 28, "What sidegate costs beside its peers"),
        text("s", WIDTH - MARGIN, 28, f"shorter is better · {met} of {len(verdicts)} bounds met", anchor="end"),
        *parts,
    ]


def height(panel: Panel) -> float:
    return TITLE + STEP * len(panel.bars) + FOOT * -(-len(panel.verdicts) // ABREAST)


def drawing(panel: Panel, x: float, y: float, theme: Theme) -> str:
    bounds = [bar.bound for bar in panel.bars if bar.bound] + ([panel.bound] if panel.bound else [])
    longest = max(bar.figure.high for bar in panel.bars)
    if bounds:
        longest = max(min(longest, LONGEST * max(bounds)), *bounds)
    unit = SCALE / longest
    origin, top = x + LABEL, y + TITLE - 8
    parts = [text("t", x, y + 12, panel.title), text("s", x, y + 28, panel.note)]
    for index, bar in enumerate(panel.bars):
        parts += bar_drawing(bar, panel.bound, x, origin, top + index * STEP, unit)
    if panel.bound:
        at = origin + panel.bound * unit
        parts.append(f'<path class="bound" d="M{at:.1f} {top - 3:.1f}v{STEP * len(panel.bars):.1f}"/>')
    below = top + STEP * len(panel.bars) + 12
    for index, (verdict, name) in enumerate(zip(panel.verdicts, panel.names, strict=True)):
        line, place = divmod(index, ABREAST)
        parts.append(text("met" if verdict.met else "not", x + place * COLUMN / ABREAST, below + line * FOOT,
                          f"{'✓' if verdict.met else '✗'} {name}"))
    return "\n".join(parts)


def bar_drawing(bar: Bar, common: float | None, x: float, origin: float, y: float, unit: float) -> list[str]:
    """`common` is the bound of the whole panel, whose line the figure has to keep clear of."""
    long, low, high = (min(edge * unit, SCALE) for edge in (bar.figure.median, bar.figure.low, bar.figure.high))
    middle = y + BAR / 2
    strong = " b" if bar.kind in ("ours", "missed") else ""
    words = bar.text
    if bar.bound:
        words += f" {'✓' if bar.kind == 'ours' else '✗'}"
    parts = [
        text(f"l{strong}", x, y + 10.5, bar.label),
        *(f'<rect class="{bar.kind}" x="{origin + begin:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>'
          for begin, width in pieces(bar.figure.median * unit)),
    ]
    if high - low > 2 and long < SCALE:
        parts.append(f'<path class="spread" d="M{origin + low:.1f} {middle:.1f}H{origin + high:.1f}'
                     f'M{origin + low:.1f} {middle - 3:.1f}v6M{origin + high:.1f} {middle - 3:.1f}v6"/>')
    if bar.bound:
        parts.append(f'<path class="bound" d="M{origin + bar.bound * unit:.1f} {y - 2:.1f}v{BAR + 4}"/>')
    end = max(long, high) + 6
    line = (bar.bound or common or 0) * unit
    if end - 4 < line < end + GLYPH * len(words):
        end = line + 6
    parts.append(text(f"f{strong}", origin + end, y + 10.5, words))
    return parts


def pieces(length: float) -> list[tuple[float, float]]:
    """A bar, from where and how long; one that is cut off frays, so that nobody takes it for its length."""
    if length <= SCALE + 1:
        return [(0, max(length, 1))]
    return [(0, SCALE - 18), (SCALE - 15, 6), (SCALE - 6, 3)]


def footer(run: Run) -> list[str]:
    about, versions = run.about, run.about["versions"]
    of = about["machine"]
    machine = (f"{about['date'][:10]} · {of['cpu']}, {of['cores']} shared cores, one of them for the proxy · "
               f"{of['kernel']} · {of['system']} · {about['rounds']} rounds of {about['seconds']} s")
    programs = " · ".join(f"{name} {version}" for name, version in versions.items())
    return [line.strip(" ·") for words in (machine, programs) for line in wrap(words, LINE)]


def text(kind: str, x: float, y: float, words: str, anchor: str = "") -> str:
    at = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{at}>{escape(words)}</text>'
