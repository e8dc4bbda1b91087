"""The guard that noise cannot move: instructions per request, counted by valgrind, against a budget.

A path is one kind of request on one warm connection. Each is run twice, with N and with 2N requests, and costs
(I(2N) - I(N)) / N: what starting, handshakes and ending cost falls out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jwt
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

import callgrind
import material
import sequence
from builds import IMAGE, REPOSITORY, build, is_current
from callgrind import Callgrind
from errors import BenchError

BUDGET = REPOSITORY / "benches/instructions.json"

# What a change may cost, or save, until somebody has to say so.
TOLERANCE = 0.03

# Functions that a profile lists.
SHOWN = 40

# What the token takes in HTTP/2; of five tokens made by chance one does.
TOKEN_BYTES = 485

HELP = f"""
Unless --binary or $SIDEGATE names one, the binary is target/image/sidegate, which script/image-test leaves there, if no source is
newer, else the one that script/build makes. The one of the image is linked statically, and costs 0.2 % less.

A profile needs a binary with its symbols, made from the same optimised code:

  CARGO_TARGET_DIR=target/symbols RUSTFLAGS="-Cstrip=none -Cdebuginfo=line-tables-only" script/build
  script/instructions-test --binary target/symbols/profiled/sidegate --profile http1-jwt

and leaves a file for callgrind_annotate or KCachegrind in target/instructions. The budget is {BUDGET.relative_to(REPOSITORY)}.
"""


@dataclass(frozen=True)
class Kind:
    """A kind of request. With HTTP/2, `streams` of them are sent at once."""

    title: str
    requests: int
    basic: bool = False
    tls: bool = False
    streams: int = 1


PATHS = {
    "http1-jwt": Kind("HTTP/1.1, remembered JWT", 1000),
    "http1-basic": Kind("HTTP/1.1, remembered Basic {SHA}", 1000, basic=True),
    "http1-tls-jwt": Kind("HTTP/1.1 over TLS 1.3, remembered JWT", 1000, tls=True),
    "http2-tls-jwt": Kind("HTTP/2 over TLS 1.3, 8 streams at once, remembered JWT", 1000, tls=True, streams=8),
}


def main() -> int:
    arguments = parse()
    if not shutil.which("valgrind"):
        print("SKIPPED: instructions-test: valgrind is not installed (script/setup)")
        return 1 if os.environ.get("CI") == "true" else 0
    try:
        binary = arguments.binary or find_binary()
        print(f"sidegate: {binary}")
        with tempfile.TemporaryDirectory(prefix="sidegate-instructions-") as directory:
            made = material.Essentials(Path(directory))
            made.bearer = material.Credentials(bearer(Path(directory)))
            if arguments.profile:
                return profile(binary, arguments.profile, made, Path(directory))
            names = arguments.only or list(PATHS)
            costs = {name: cost(binary, name, made, Path(directory), arguments.repeat) for name in names}
    except (BenchError, OSError) as error:
        print(f"FAILED: {error}\n0 passed, 1 failed")
        return 1
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    if arguments.update:
        budget |= {name: round(instructions / 100) * 100 for name, instructions in costs.items()}
        BUDGET.write_text(json.dumps({name: budget[name] for name in PATHS if name in budget}, indent=2) + "\n")
        print(f"written: {BUDGET.relative_to(REPOSITORY)}")
        return 0
    held = [verdict(name, instructions, budget.get(name)) for name, instructions in costs.items()]
    print(f"{held.count(True)} passed, {held.count(False)} failed")
    return 0 if all(held) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/instructions-test", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=HELP,
        description="Instructions per request under valgrind, against a budget that noise cannot move.",
    )
    parser.add_argument("--update", action="store_true", help="write what is measured as the new budget")
    parser.add_argument("--only", action="append", choices=PATHS, help="measure this path; may be repeated")
    parser.add_argument("--binary", type=Path, default=os.environ.get("SIDEGATE"), help="the sidegate to measure")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="measure N times, and show the spread")
    parser.add_argument("--profile", choices=PATHS, help="show which functions the instructions of this path are in")
    return parser.parse_args()


def find_binary() -> Path:
    """The program of these sources; the one of the image, if that is current."""
    if is_current(IMAGE):
        return IMAGE
    return build()


def cost(binary: Path, name: str, made: material.Essentials, directory: Path, repeat: int) -> float:
    """The instructions of one request."""
    requests = PATHS[name].requests
    each = []
    for _ in range(repeat):
        fewer, more = (run(binary, name, times * requests, made, directory).instructions() for times in (1, 2))
        each.append((more - fewer) / requests)
    middle = statistics.median(each)
    print(f"{name}: {middle:,.0f} instructions per request ({PATHS[name].title})")
    if repeat > 1:
        figures = sorted(each)
        print(f"  {repeat} times: {', '.join(f'{figure:,.0f}' for figure in figures)}; from the least to the most "
              f"{(figures[-1] / figures[0] - 1):.2%}")
    return middle


def verdict(name: str, instructions: float, budget: float | None) -> bool:
    if budget is None:
        print(f"FAILED  {name}: no budget; script/instructions-test --only {name} --update")
        return False
    change = instructions / budget - 1
    said = f"{name}: {instructions:,.0f} of {budget:,.0f}, {change:+.1%}"
    if abs(change) <= TOLERANCE:
        print(f"ok      {said}")
        return True
    if change > 0:
        print(f"FAILED  {said}: if it is worth that, say so in the commit: script/instructions-test --only {name} --update")
    else:
        # A gain that is not written down can be lost again, and nobody would know.
        print(f"FAILED  {said}: a gain; keep it: script/instructions-test --only {name} --update")
    return False


def run(binary: Path, name: str, requests: int, made: material.Essentials, directory: Path) -> Callgrind:
    path = PATHS[name]
    profile = Path(tempfile.mkdtemp(dir=directory)) / "callgrind"
    certificate = made.certificate if path.tls else None
    authorization = made.basic.first if path.basic else made.bearer.first
    with sequence.app(path.streams) as app:
        config = directory / "sidegate.yaml"
        config.write_text(configuration(app.port, path, made))
        with callgrind.running(binary, config, profile) as server:
            app.proxy = server.pid
            if path.streams > 1:
                sequence.http2(server.port, certificate, authorization, requests, path.streams)
            else:
                sequence.http1(server.port, certificate, authorization, requests)
    return server


def bearer(directory: Path) -> str:
    """A token that has the same length in each run, as it is and in HTTP/2: HPACK's Huffman code has some letters shorter
    than others, and both decoding and the allocator's work follow the length."""
    key = (directory / "rs256.key").read_text()
    claims = {"iss": material.ISSUER, "aud": material.AUDIENCE, "sub": material.USER, "email": "alice@example.com",
              "groups": ["staff", "orders"], "exp": int(time.time()) + material.TOKEN_SECONDS}
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    for number in itertools.count(10000):
        token = "Bearer " + jwt.encode(claims | {"jti": str(number)}, key, "RS256", {"kid": "bench"})
        if len(encoder.encode(token.encode())) == TOKEN_BYTES:
            return token
    raise AssertionError("endless")


def configuration(app: int, path: Kind, made: material.Essentials) -> str:
    tls = f"tls: {{ certificate: {made.certificate}, key: {made.key} }}" if path.tls else "plaintext: true"
    # The token's key comes from a file, and nothing is fetched, refreshed or ended by time while this runs.
    return f"""
listen: {{ address: "127.0.0.1:0", {tls} }}
upstream: {{ address: "http://127.0.0.1:{app}", keep_alive: 1h, response_timeout: 1h }}
admin: {{ address: "127.0.0.1:0" }}
workers: 1
log: {{ access: off }}
shutdown: {{ delay: 0s, grace: 10s }}
auth:
  basic: {{ users_file: {made.users} }}
  jwt: [{{ issuer: "{material.ISSUER}", audiences: [{material.AUDIENCE}], keys: {{ pem_file: {made.rs256.public_key} }} }}]
rules: [{{ allow: authenticated }}]
"""


def profile(binary: Path, name: str, made: material.Essentials, directory: Path) -> int:
    """Shows where the instructions of a request are: the difference of the two runs, function by function."""
    requests = PATHS[name].requests
    runs = [run(binary, name, times * requests, made, directory).profiles() for times in (1, 2)]
    for title, options in (("of its own", []), ("with what it calls", ["--inclusive=yes"])):
        fewer, more = (annotated(profiles, options) for profiles in runs)
        each = {function: (count - fewer[function]) / requests for function, count in more.items()}
        print(f"\nInstructions per request, {title}:")
        for function, count in sorted(each.items(), key=lambda item: -item[1])[:SHOWN]:
            print(f"{count:12,.0f}  {function[:180]}")
    kept = REPOSITORY / "target/instructions" / name
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for profile in runs[1]:
        shutil.copy(profile, kept)
    print(f"\nThe profiles of the threads, with start and end, are in {kept.relative_to(REPOSITORY)}")
    return 0


def annotated(profiles: list[Path], options: list[str]) -> Counter[str]:
    """What callgrind_annotate says about each function, of all threads together."""
    counts: Counter[str] = Counter()
    for profile in profiles:
        command = ["callgrind_annotate", "--threshold=100", "--auto=no", *options, str(profile)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # One function is listed once for each file whose code was inlined into it.
        for count, function in re.findall(r"^ *([\d,]+) \([^)]*\)  [^:\n]*:(.*?)(?: \[[^]\n]*\])?$", text, re.M):
            counts[function] += int(count.replace(",", ""))
    return counts


if __name__ == "__main__":
    sys.exit(main())
