"""The soak: mixed traffic for half an hour, and what sidegate holds meanwhile. Nothing may grow after the warm-up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chart
import issuer
import material
import samples
import traffic
from builds import PROGRAM, REPOSITORY
from errors import BenchError
from issuer import Issuer
from samples import SERIES, Sample
from server import free_port, fresh, serving
from slope import WARM_UP, Drift, drift

KEPT = REPOSITORY / "target/soak"
PYTHON = REPOSITORY / "target/venv/bin/python"

# Seconds between two rotations of the issuer's keys. A key signs from the next rotation on, when `refresh` has long passed.
ROTATION = 15

# Of a thousand visits so many may go wrong: on a busy machine a limit of time is met now and then.
WRONG = 1


def main() -> int:
    arguments = parse()
    try:
        if arguments.judge:
            return judge(samples.read(arguments.judge), arguments.svg)
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="sidegate-soak-") as directory:
            taken, site = asyncio.run(soak(arguments.binary, arguments.minutes, Path(directory)))
        return max(judge(taken, arguments.svg), answers(site))
    except (BenchError, ValueError) as error:
        print(f"FAILED: {error}")
        return 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--binary", type=Path, default=os.environ.get("SIDEGATE", PROGRAM),
                        help="the sidegate to run (target/profiled/sidegate)")
    parser.add_argument("--svg", type=Path, default=KEPT / "soak.svg", help="where to draw it (target/soak/soak.svg)")
    parser.add_argument("--judge", type=Path, metavar="CSV", help="judge and draw an earlier run again: target/soak/samples.csv")
    return parser.parse_args()


async def soak(binary: Path, minutes: float, directory: Path) -> tuple[list[Sample], traffic.Site]:
    seconds = minutes * 60
    made, keys = material.Essentials(directory), Issuer()
    passwords = {"alice": "wonderland", "bob": "looking-glass"}
    users = directory / "users"
    # The least work: on two busy cores a dearer hash would be refused as one too many at once, as it should be.
    hashed = [run(binary, "hash-password", "--cost", "4", "--user", user, stdin=word) for user, word in passwords.items()]
    users.write_text("".join(hashed))
    port, admin, app = free_port(), free_port(), free_port()
    with contextlib.ExitStack() as running:
        keys_url = running.enter_context(issuer.serving(keys))
        running.enter_context(serving("the app", gunicorn(app), app, "0-1", fresh(directory, "app")))
        config = directory / "sidegate.yaml"
        config.write_text(configuration(port, admin, app, keys_url, made, users))
        # The access log is written, and nobody keeps it: it would be some hundred megabytes.
        serve = ["sh", "-c", 'echo $$ >pid; exec "$0" "$@" >/dev/null', str(binary.resolve()), "serve", "--config", str(config)]
        running.enter_context(serving("sidegate", serve, port, "0-1", fresh(directory, "sidegate")))
        pid = int((directory / "sidegate/pid").read_text())
        site = traffic.Site(port, trusting(made, "http/1.1"), trusting(made, "h2"), keys, passwords)
        visitors = [asyncio.create_task(traffic.visitor(site, kind)) for kind, n in traffic.VISITORS.items() for _ in range(n)]
        rotating = asyncio.create_task(rotate(keys))
        progress = asyncio.create_task(tell(site, seconds))
        try:
            every = min(5.0, max(0.5, seconds / 360))
            taken = await samples.watch(pid, admin, seconds, every, KEPT / "samples.csv")
        finally:
            for task in [*visitors, rotating, progress]:
                task.cancel()
            await asyncio.gather(*visitors, rotating, progress, return_exceptions=True)
    print(f"{keys.fetched} fetches of keys")
    return taken, site


async def rotate(keys: Issuer) -> None:
    while True:
        await asyncio.sleep(ROTATION)
        keys.rotate()


async def tell(site: traffic.Site, seconds: float) -> None:
    """Says once in a while that it is still at work."""
    start = time.monotonic()
    while True:
        await asyncio.sleep(60)
        print(f"{(time.monotonic() - start) / 60:.0f} of {seconds / 60:g} minutes: {site.visits.total():,} visits, "
              f"{site.wrong.total()} went wrong", flush=True)


def gunicorn(port: int) -> list[str]:
    # As docs/flask.md has it, and with a thread for each WebSocket.
    return [str(PYTHON), "-B", "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "40", "--keep-alive", "2",
            "--chdir", str(REPOSITORY / "benches/soak"), "--error-logfile", "-", "app:app"]


def configuration(port: int, admin: int, app: int, keys_url: str, made: material.Essentials, users: Path) -> str:
    return f"""
listen:
  address: 127.0.0.1:{port}
  tls: {{ certificate: {made.certificate}, key: {made.key} }}
upstream: http://127.0.0.1:{app}
auth:
  basic: {{ users_file: {users} }}
  jwt:
    - issuer: {issuer.NAME}
      audiences: [{issuer.AUDIENCE}]
      leeway: 5s
      keys: {{ url: "{keys_url}", refresh: 3s, min_refetch: 1s }}
rules:
  - {{ path: /admin/**, allow: {{ groups: [admin] }} }}
  - {{ allow: authenticated }}
limits: {{ client_idle_timeout: 20s, header_timeout: 3s, handshake_timeout: 3s }}
admin: {{ address: 127.0.0.1:{admin} }}
"""


def trusting(made: material.Essentials, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(made.certificate))
    context.set_alpn_protocols([protocol])
    return context


def run(*command: str | Path, stdin: str) -> str:
    done = subprocess.run(list(map(str, command)), check=False, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def judge(taken: list[Sample], svg: Path) -> int:
    """Prints what has grown, draws it, and says whether something has."""
    times = [sample.time for sample in taken]
    drifts = {s.name: drift(times, [getattr(sample, s.name) for sample in taken], s.share, s.floor) for s in SERIES}
    requests, minutes = taken[-1].requests - taken[0].requests, (times[-1] - times[0]) / 60
    print(f"\nAfter {WARM_UP * minutes:.1f} of {minutes:.1f} minutes, over the rest ({requests:,.0f} requests in all):\n")
    print(f"{'':20} {'level':>9} {'growth':>9} {'99 % bounds':>18} {'allowed':>9}")
    for series in SERIES:
        print(row(series.title, drifts[series.name]))
    heading = f"{minutes:.0f} minutes of mixed traffic, {requests:,.0f} requests"
    svg.write_text(chart.draw(taken, drifts, heading))
    flat = all(drift.verdict == "flat" for drift in drifts.values())
    print(f"\n{'Nothing grows.' if flat else 'FAILED: not everything is flat; run for longer where it is unclear.'} Drawn: {svg}")
    return 0 if flat else 1


def row(title: str, it: Drift) -> str:
    bounds = f"{it.low:+.2f} to {it.high:+.2f}"
    return f"{title:20} {it.level:9.1f} {it.grown:+9.2f} {bounds:>18} {it.allowed:9.2f}  {it.verdict}"


def answers(site: traffic.Site) -> int:
    """Prints who came, and what was not as it should be; says whether that was too much."""
    print("\nVisits: " + ", ".join(f"{kind} {site.visits[kind]:,}" for kind in traffic.VISITORS))
    for what, times in site.wrong.most_common(20):
        print(f"  {times} × {what}")
    never = [kind for kind in traffic.VISITORS if not site.visits[kind]]
    too_many = site.wrong.total() * 1000 > WRONG * site.visits.total()
    if never or too_many:
        print(f"FAILED: {'no visit of ' + ', '.join(never) if never else f'{site.wrong.total()} visits went wrong'}")
    return 1 if never or too_many else 0


if __name__ == "__main__":
    sys.exit(main())
