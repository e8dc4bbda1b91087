"""What sidegate holds at a time: from the kernel, and from its own metrics."""

from __future__ import annotations

import asyncio
import csv
import os
import time
import urllib.request
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Series:
    """A quantity that must not grow: by no more than `share` of its level, or `floor` where that is more."""

    name: str
    title: str
    unit: str
    floor: float
    share: float = 0.01


# The floor is what an allocator's steps and the rhythm of the traffic make of nothing. Half a megabyte in twenty minutes of
# 200 requests a second is two bytes for each request.
SERIES = [
    Series("rss", "resident memory", "MB", 0.5),
    Series("descriptors", "open descriptors", "", 3),
    Series("tasks", "tasks", "", 3),
    Series("threads", "threads", "", 0.5),
    Series("in_flight", "requests in flight", "", 2),
]


@dataclass(frozen=True)
class Sample:
    """One look."""

    time: float
    requests: float
    rss: float
    descriptors: float
    tasks: float
    threads: float
    in_flight: float

    @classmethod
    def take(cls, pid: int, admin: int, start: float) -> Self:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(
            time=round(time.monotonic() - start, 1),
            requests=metric(lines, "sidegate_requests_total"),
            rss=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            tasks=metric(lines, "sidegate_tasks"),
            threads=int(status["Threads"]),
            in_flight=metric(lines, "sidegate_requests_in_flight"),
        )


def metric(lines: list[str], name: str) -> float:
    """The sum over all labels; 0 where nothing has been counted yet."""
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


async def watch(pid: int, admin: int, seconds: float, every: float, file: Path) -> list[Sample]:
    """Looks every so many seconds, and writes down what it sees."""
    start, samples = time.monotonic(), []
    with file.open("w", newline="") as output:
        table = csv.DictWriter(output, [field.name for field in fields(Sample)])
        table.writeheader()
        for number in range(int(seconds / every) + 1):
            await asyncio.sleep(max(0, start + number * every - time.monotonic()))
            samples.append(await asyncio.to_thread(Sample.take, pid, admin, start))
            table.writerow(asdict(samples[-1]))
            output.flush()
    return samples


def read(file: Path) -> list[Sample]:
    with file.open(newline="") as lines:
        return [Sample(**{name: float(value) for name, value in row.items()}) for row in csv.DictReader(lines)]
