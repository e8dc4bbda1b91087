"""Builds the program that is measured, and tells whether one that was built before is still that of these sources."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from errors import BenchError

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = (REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
# What the compiler is told of what runs often.
PROFILE = REPOSITORY / ".cargo/sidegate.profdata"
# Whatever the compiler is told, besides the sources themselves.
SETTINGS = ("Cargo.toml", "Cargo.lock", ".cargo/config.toml", ".cargo/sidegate.profdata", "Dockerfile", "rust-toolchain.toml")
# What script/build makes.
PROGRAM = TARGET / "profiled/sidegate"
# What script/image-test leaves: the program of the image, linked statically.
IMAGE = REPOSITORY / "target/image/sidegate"


def is_current(program: Path) -> bool:
    """Whether it is there, and younger than all that it is made of."""
    sources = [*(REPOSITORY / name for name in SETTINGS), *(REPOSITORY / "src").rglob("*.*")]
    return program.exists() and program.stat().st_mtime > max(source.stat().st_mtime for source in sources)


def build() -> Path:
    """Has script/build make the program, if need be."""
    if subprocess.run([REPOSITORY / "script/build", "--quiet"], check=False).returncode != 0:
        raise BenchError("script/build failed")
    return PROGRAM
