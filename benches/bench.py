"""script/bench: what sidegate costs beside its peers, in one run on one machine."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import app
import chart
import machine
import markdown
import peers
import report
from builds import REPOSITORY
from errors import BenchError
from lanes import Bench
from material import Material
from results import Result, Run
from rows import ROWS, Row

FAILED, USAGE = 1, 64
# More than anybody verifies on one core, so that no token is shown twice.
COLD_TOKENS_PER_SECOND = 20_000

ABOUT = """\
What sidegate costs beside nginx, HAProxy, Envoy and a raw TCP relay: CPU time per request, memory, latency, start.

Each proxy has one worker on one core; the load generator and the app (nginx) share another one. A round visits every
contender in turn. CPU is that of all the proxy's threads and processes, divided by the answers, every one of which
must be a 200 of the right length. Medians are over the rounds, and a ratio is the median of the rounds' ratios; what
follows it in brackets is the lowest and the highest of them. Peers that are missing are installed (apt-get as root,
pip into target/bench-venv); sidegate and the relay are built.
"""

EXAMPLES = f"""\
rows:
{chr(10).join(f"  {row.name:10} {row.title}" for row in ROWS)}

examples:
  script/bench                    the whole table, about a quarter of an hour; JSON in target/bench.json
  script/bench --quick            a look, not a figure: two rounds of one second
  script/bench --only h1 --only tls --rounds 9 --strict
  script/bench --from target/bench.json --chart                   nothing is measured
  script/bench --from 1.json 2.json 3.json --chart --markdown docs/performance-table.md    three runs together
"""


class Parser(argparse.ArgumentParser):
    """Bad usage ends with 64, as sidegate's own commands do."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"bench: {message}. See script/bench --help\n")


def main() -> int:
    options = parse(sys.argv[1:])
    # A polite kill must unwind too, or servers and files stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))
    try:
        runs = [Run.read(file) for file in options.source] if options.source else [measure(options)]
        run = Run.pooled(runs)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return FAILED
    if options.source:
        print(report.header(run), *(report.table(result, sys.stdout.isatty()) for result in run.results), sep="\n")
    print(report.summary(run, sys.stdout.isatty()))
    if options.chart:
        chart.write(run, REPOSITORY / "docs")
    if options.markdown:
        markdown.write(run, runs, options.markdown)
    verdicts = [verdict for result in run.results for verdict in result.verdicts()]
    return FAILED if options.strict and not all(verdict.met for verdict in verdicts) else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="script/bench", description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="ROW", action="append", choices=[row.name for row in ROWS],
                        help="measure this row; may be repeated")
    parser.add_argument("--rounds", type=positive, default=5, help="visits to each contender (default 5)")
    parser.add_argument("--seconds", type=positive, default=2, help="length of a visit (default 2)")
    parser.add_argument("--quick", action="store_true", help="short for --rounds 2 --seconds 1")
    parser.add_argument("--json", type=Path, metavar="FILE", default=REPOSITORY / "target/bench.json",
                        help="where the figures go (default target/bench.json)")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", nargs="+",
                        help="show what earlier runs have written, their rounds together, and measure nothing")
    parser.add_argument("--chart", action="store_true", help="draw docs/performance-light.svg and -dark.svg")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables for the documentation")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bound is not met")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 1
    return options


def measure(options: argparse.Namespace) -> Run:
    programs = peers.prepare()
    proxy_core, load_core = machine.cores()
    run = Run(results=[], about={
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.describe(),
        "versions": programs.versions(),
        "rounds": options.rounds,
        "seconds": options.seconds,
    })
    print(report.header(run), flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sidegate-bench-") as name, progress_line() as progress:
        directory = Path(name)
        material = Material(directory, programs, COLD_TOKENS_PER_SECOND * (1 + options.rounds * options.seconds))
        (directory / "app").mkdir()
        with app.running(programs, material, load_core, directory / "app") as behind:
            bench = Bench(programs, material, behind, directory, proxy_core, load_core, options.rounds,
                          options.seconds, progress)
            for row in ROWS:
                if not options.only or row.name in options.only:
                    run.results.append(measure_row(bench, row))
                    progress("")
                    print(report.table(run.results[-1], sys.stdout.isatty()), flush=True)
            run.about["disturbances"] = [round(share, 3) for share in bench.disturbances]
    run.about["measured_seconds"] = round(time.monotonic() - started)
    run.write(options.json)
    print(f"\nMeasured in {run.about['measured_seconds']} s. Each round is in {options.json}")
    return run


def measure_row(bench: Bench, row: Row) -> Result:
    return Result(row.name, row.title, row.work, list(row.method.quantities),
                  row.method.measure(bench, row.contenders), list(row.bounds))


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is going on; nothing when nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return

    def show(text: str) -> None:
        print(f"\r\033[K{text[:os.get_terminal_size(2).columns - 1]}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
