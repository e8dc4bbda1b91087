"""The table as data: each row is a kind of work, who does it, and what is expected of sidegate there."""

from __future__ import annotations

from dataclasses import dataclass

from load import H2load, Load, Wrk


@dataclass(frozen=True)
class Target:
    """`subject` should cost at most (or, with `strictly`, less than) `times` what `reference` costs."""

    subject: str
    times: float
    reference: str
    strictly: bool = False

    def met(self, ratio: float) -> bool:
        return ratio < self.times if self.strictly else ratio <= self.times

    def __str__(self) -> str:
        if self.strictly and self.times == 1:
            return f"{self.subject} below {self.reference}"
        return f"{self.subject} {'<' if self.strictly else '≤'} {self.times:.2f} × {self.reference}"


@dataclass(frozen=True)
class Row:
    """One kind of work. `contenders` names entries of `contenders.ALL`, in the order of the table."""

    name: str
    title: str
    tls: bool
    load: Load
    contenders: tuple[str, ...]
    targets: tuple[Target, ...] = ()


EVERYONE = ("relay", "nginx", "nginx-basic", "haproxy-jwt", "envoy-jwt", "sidegate-jwt", "sidegate-basic")

ROWS = (
    Row(
        name="h1",
        title="HTTP/1.1, 64 keep-alive connections",
        tls=False,
        load=Wrk(connections=64),
        contenders=EVERYONE,
        targets=(
            Target("sidegate-jwt", 1.6, "relay"),
            Target("sidegate-jwt", 1, "nginx-basic", strictly=True),
        ),
    ),
    Row(
        name="tls",
        title="HTTP/1.1 over TLS 1.3 (P-256), 64 keep-alive connections",
        tls=True,
        load=Wrk(connections=64),
        contenders=EVERYONE,
        targets=(
            Target("sidegate-jwt", 1, "nginx", strictly=True),
            Target("sidegate-basic", 1, "nginx-basic", strictly=True),
        ),
    ),
    Row(
        name="h2",
        title="HTTP/2 over TLS 1.3 (P-256), 32 connections × 10 streams",
        tls=True,
        load=H2load(connections=32, streams=10),
        contenders=EVERYONE,
    ),
)
