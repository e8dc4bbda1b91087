"""Whether a program that was built before is still that of these sources."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Whatever the compiler is told, besides the sources themselves.
SETTINGS = ("Cargo.toml", "Cargo.lock", ".cargo/config.toml", "Dockerfile", "rust-toolchain.toml")
# What script/image-test leaves: the program of the image, linked statically.
IMAGE = REPOSITORY / "target/image/sidegate"


def is_current(program: Path) -> bool:
    """Whether it is there, and younger than all that it is made of."""
    sources = [*(REPOSITORY / name for name in SETTINGS), *(REPOSITORY / "src").rglob("*.*")]
    return program.exists() and program.stat().st_mtime > max(source.stat().st_mtime for source in sources)
