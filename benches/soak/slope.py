"""Does a series grow? A slope that outliers do not move, with its bounds, against what may be.

The slope is Theil and Sen's: the median of the slopes between all pairs of points. Its bounds are Sen's, from the
distribution of Kendall's rank statistic, so nothing is assumed about how the values scatter. They do assume that the
points are independent, which samples some seconds apart are not: so the points are medians of stretches of the run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

# The share of a run before which nothing is judged: pools, caches and the allocator fill.
WARM_UP = 1 / 3

# Points that the rest of the run is made into.
POINTS = 24

# Two-sided 99 %: there are several series, and a run that is called bad must be bad.
CONFIDENCE = statistics.NormalDist().inv_cdf(0.995)


@dataclass(frozen=True)
class Drift:
    """How much a series has grown over the judged part of the run; in truth it is between `low` and `high`."""

    level: float
    grown: float
    low: float
    high: float
    allowed: float

    @property
    def verdict(self) -> str:
        if self.high <= self.allowed:
            return "flat"
        return "grows" if self.low > self.allowed else "unclear"


def drift(times: Sequence[float], values: Sequence[float], share: float, floor: float) -> Drift:
    """The growth after the warm-up, of which `share` of the level is allowed, or `floor` where that is more."""
    points = medians(judged(times, values), POINTS)
    seconds = points[-1][0] - points[0][0]
    slopes = sorted((b - a) / (after - before) for (before, a), (after, b) in combinations(points, 2))
    spread = CONFIDENCE * math.sqrt(len(points) * (len(points) - 1) * (2 * len(points) + 5) / 18)
    first = max(0, math.floor((len(slopes) - spread) / 2))
    last = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    level = statistics.median(value for _, value in points)
    return Drift(
        level=level,
        grown=statistics.median(slopes) * seconds,
        low=slopes[first] * seconds,
        high=slopes[last] * seconds,
        allowed=max(share * abs(level), floor),
    )


def judged(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    start = times[0] + (times[-1] - times[0]) * WARM_UP
    return [(time, value) for time, value in zip(times, values, strict=True) if time >= start]


def medians(samples: Sequence[tuple[float, float]], points: int) -> list[tuple[float, float]]:
    """As many stretches of equally many samples, each as its median time and value."""
    if len(samples) < 2 * points:
        raise ValueError(f"{len(samples)} samples are too few to judge: it takes {2 * points}")
    edges = [len(samples) * i // points for i in range(points + 1)]
    stretches = [samples[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    return [tuple(map(statistics.median, zip(*stretch, strict=True))) for stretch in stretches]
