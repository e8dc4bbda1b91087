"""Records the profile that script/build gives the compiler: which code runs, and how often.

A program that counts is built and does the work of some rows of the benchmark; what it has counted is merged into
.cargo/sidegate.profdata. What it has not run at all the compiler makes small, and puts out of the way.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import signal
import sys
import tempfile
import tomllib
from pathlib import Path

import app
import machine
import peers
import preflight
from bench import COLD_TOKENS_PER_SECOND
from builds import PROFILE, REPOSITORY, TARGET
from contenders import ALL
from cpu import Cpu
from errors import BenchError
from lanes import Bench, Lane, lane
from material import Material
from rows import ROWS

# Where the program that counts is built, and what it counts into.
BUILT = TARGET / "instrumented"
COUNTS = BUILT / "counts"
# The work that a pod does all day. Not that of hashing passwords: its loops would be all that looks hot.
TRAINED = ("h1", "tls", "h2", "handshake", "cold", "download", "upload", "log")
# What is rare and heavy stays as fast as it is: left out, it is compiled as without a profile.
HEAVY = ("argon2", "bcrypt", "blake2", "blowfish", "brotli", "crc32fast", "flate2", "md5", "miniz_oxide", "sha2", "sha_crypt",
         "simd_adler32", "zstd")
# So many requests without credentials: a refusal is not what never happens.
REFUSALS = 5_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/profile", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, help="how long each kind of work is done (default 2)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        merge = merger()
        with tempfile.TemporaryDirectory(prefix="sidegate-profile-") as name:
            programs = peers.prepare(instrumented)
            shutil.rmtree(COUNTS, ignore_errors=True)
            train(programs, Path(name), options.seconds)
            merged = Path(name) / PROFILE.name
            peers.run(str(merge), "merge", f"--no-function={left_out()}", f"--output={merged}", str(COUNTS))
            shutil.copyfile(merged, PROFILE)
    except (BenchError, OSError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    print(f"written: {PROFILE.relative_to(REPOSITORY)}, {PROFILE.stat().st_size // 1000} kB")
    return 0


def merger() -> Path:
    """The tool that belongs to the compiler; another one's may not know its format."""
    tool = Path(peers.output("rustc", "--print", "sysroot")) / "lib/rustlib" / host_triple() / "bin/llvm-profdata"
    if not tool.exists():
        peers.run("rustup", "component", "add", "llvm-tools")
    return tool


def left_out() -> str:
    """A pattern for the names of functions that the profile is not to know: as the compiler writes them, with their crate's
    name at the start, and its length before it."""
    once = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["profile"]["release"]["package"]
    crates = [*HEAVY, *(name.replace("-", "_") for name in once)]
    return "|".join(rf"_ZN{len(crate)}{crate}[0-9]|_\$LT\${crate}\.\." for crate in crates)


def host_triple() -> str:
    found = re.search(r"^host: (\S+)$", peers.output("rustc", "--verbose", "--version"), re.MULTILINE)
    if not found:
        raise BenchError("rustc does not say which machine it is for")
    return found[1]


def instrumented() -> Path:
    """The program that counts. With an explicit target: else what runs during the build would count, too."""
    host = host_triple()
    peers.run("env", f"CARGO_ENCODED_RUSTFLAGS=-Cprofile-generate={COUNTS}", "cargo", "build", "--release", "--locked",
              "--bin", "sidegate", "--target", host, "--target-dir", str(BUILT), cwd=REPOSITORY)
    return BUILT / host / "release/sidegate"


def train(programs: peers.Programs, directory: Path, seconds: int) -> None:
    proxy_core, load_core = machine.cores()
    made = Material(directory, programs, COLD_TOKENS_PER_SECOND * (1 + seconds))
    (directory / "app").mkdir()
    with app.running(programs, made, load_core, directory / "app") as behind:
        bench = Bench(programs, made, behind, directory, proxy_core, load_core, 1, seconds, lambda _: None)
        for row in ROWS:
            if row.name not in TRAINED or not isinstance(row.method, Cpu):
                continue
            for contender in (ALL[name] for name in row.contenders if ALL[name].ours):
                print(f"{row.title}: {contender.title}", flush=True)
                with lane(bench, contender, row.method.tls) as ours:
                    row.method.load.requests(ours.origin, ours.credentials, 0, seconds, load_core)
                    refuse(ours)


def refuse(lane: Lane) -> None:
    certificate = lane.site.material.certificate if lane.site.tls else None
    with contextlib.closing(preflight.connection(lane.site.port, certificate)) as client:
        for _ in range(REFUSALS):
            client.request("GET", app.PAGE)
            answer = client.getresponse()
            answer.read()
            preflight.expect("without credentials", answer.status, 401)


if __name__ == "__main__":
    sys.exit(main())
