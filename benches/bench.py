"""script/bench: the CPU time of sidegate per request beside its peers, in one run on one machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import app
import machine
import material
import peers
from errors import BenchError
from measure import Bench, measure
from report import Result, disturbance, document, table
from rows import ROWS

REPOSITORY = Path(__file__).resolve().parent.parent
FAILED, USAGE = 1, 64

ABOUT = """\
The CPU time that sidegate spends on a request, beside nginx, HAProxy, Envoy and a raw TCP relay, in one run.

Each proxy has one worker on one core; the load generator and the app (nginx) share another one. A round visits every
contender in turn; what counts is the CPU time of all the proxy's threads and processes, divided by the answers, every
one of which must be a 200. Medians are over the rounds, and a ratio is the median of the rounds' ratios. Peers that
are missing are installed (apt-get as root, pip into target/bench-venv); sidegate and the relay are built.
"""

EXAMPLES = f"""\
rows:
{chr(10).join(f"  {row.name:6}{row.title}" for row in ROWS)}

examples:
  script/bench                    the whole table; JSON in target/bench.json
  script/bench --quick            a look, not a figure: two rounds of one second
  script/bench --only h1 --rounds 9 --strict
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
        results = run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return FAILED
    verdicts = [verdict for result in results for verdict in result.verdicts()]
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
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is not met")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 1
    return options


def run(options: argparse.Namespace) -> list[Result]:
    programs = peers.prepare(REPOSITORY)
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    proxy_core, load_core = machine.cores()
    about: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.describe(),
        "versions": programs.versions(REPOSITORY),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    print(header(about), flush=True)

    results = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sidegate-bench-") as name, progress_line() as progress:
        directory = Path(name)
        made = material.make(directory)
        (directory / "app").mkdir()
        with app.running(programs, made, load_core, directory / "app") as behind:
            bench = Bench(programs, made, behind, directory, proxy_core, load_core, options.rounds, options.seconds)
            for row in rows:
                results.append(Result(row, measure(bench, row, progress)))
                progress("")
                print("\n" + table(results[-1], colour=sys.stdout.isatty()), flush=True)

    about["measured_seconds"] = round(time.monotonic() - started)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document(results, about), indent=2) + "\n")
    print(f"\n{disturbance(results)}\nMeasured in {about['measured_seconds']} s. Each round is in {options.json}")
    return results


def header(about: dict[str, Any]) -> str:
    of = about["machine"]
    return "\n".join([
        f"{of['cpu']}, {of['cores']} cores, {of['memory']}; {of['kernel']}; {of['system']}",
        *(f"  {name:9} {version}" for name, version in about["versions"].items()),
        f"{about['rounds']} rounds of {about['seconds']} s each; load average at the start {of['load_average']}",
    ])


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
