"""The machine under a run: a figure without it means nothing."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from errors import BenchError


def cores() -> tuple[int, int]:
    """A core for the proxy, and one for the load and the app."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for the load generator and the app")
    return usable[0], usable[1]


def describe() -> dict[str, str]:
    return {
        "cpu": first(r"model name\s*: (.*)", "/proc/cpuinfo"),
        "cores": str(os.cpu_count()),
        "memory": first(r"MemTotal:\s*(.*)", "/proc/meminfo"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "system": first(r'PRETTY_NAME="(.*)"', "/etc/os-release"),
        "load_average": f"{os.getloadavg()[0]:.2f}",
    }


def first(pattern: str, file: str) -> str:
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def busy_seconds(core: int) -> float:
    """How long a core has worked since the start of the machine, for whomever (a stolen core worked for strangers)."""
    fields = first(rf"\bcpu{core} (.*)", "/proc/stat").split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
