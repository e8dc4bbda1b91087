"""What the test scripts that are written in Python have in common."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command, stdin=None, **options):
    """The command's standard output; the script ends when it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def skip(reason):
    """Ends the script: quietly on a desk, as a failure where everything must run."""
    print(f"SKIPPED: {Path(sys.argv[0]).name}: {reason}")
    sys.exit(1 if os.environ.get("CI") == "true" else 0)


def need(tool, package):
    """The tool's path; installs its Debian package where root lacks it."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if not shutil.which(tool, path=path) and os.geteuid() == 0 and shutil.which("apt-get"):
        # RUNLEVEL=1: what comes with a service does not start it.
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        run("apt-get", "-qq", "update")
        run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", package, env=environment)
    return shutil.which(tool, path=path) or skip(f"needs {tool} (Debian: {package})")


def enter_venv(name, *packages):
    """Continues in the virtual environment target/NAME, which has the packages."""
    venv = ROOT / "target" / name
    if Path(sys.prefix) == venv:
        return
    wanted, ready = "\n".join(packages), venv / "packages"
    if not ready.exists() or ready.read_text() != wanted:
        run(sys.executable, "-m", "venv", "--clear", venv)
        run(venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        ready.write_text(wanted)
    os.execv(venv / "bin/python", [venv / "bin/python", "-B", *sys.argv])


def sidegate():
    """The binary: $SIDEGATE, or a debug build."""
    if "SIDEGATE" not in os.environ:
        subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=ROOT, check=True)
    return os.environ.get("SIDEGATE", ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug/sidegate")
