"""Where a contender is set up: its ports, its files, and what is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app import App
from material import Material
from peers import Programs


@dataclass(frozen=True)
class Site:
    """What a contender is set up with. `admin_port` is sidegate's, for its metrics."""

    directory: Path
    port: int
    admin_port: int
    tls: bool
    app: App
    material: Material
    programs: Programs

    def write(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text)
        return name
