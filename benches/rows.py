"""The table as data: each row is a kind of work, who does it, and what is expected of sidegate there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app import LARGE, LARGE_BYTES, UPLOAD
from cpu import Cpu
from lanes import Bench
from latency import Latency
from load import Ab, H2load, Wrk
from memory import Memory
from results import Bound, Quantity, Series
from startup import Size, Startup

TOKEN_HITS, TOKEN_MISSES = (f'sidegate_token_cache_total{{result="{result}"}}' for result in ("hit", "miss"))
PASSWORD_MISSES = 'sidegate_password_cache_total{result="miss"}'
LINES_LOST = "sidegate_access_log_lines_lost_total"


class Method(Protocol):
    """How a row is measured."""

    @property
    def quantities(self) -> tuple[Quantity, ...]: ...

    def measure(self, bench: Bench, contenders: tuple[str, ...]) -> list[Series]: ...


@dataclass(frozen=True)
class Row:
    """One kind of work. `contenders` names entries of `contenders.ALL`, in the order of the table."""

    name: str
    title: str
    work: str
    method: Method
    contenders: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()


KEPT = Wrk(connections=64)
EVERYONE = ("relay", "nginx", "nginx-basic", "haproxy-jwt", "envoy-jwt", "sidegate-basic", "sidegate-jwt")
# The nginx that sidegate is held against is the one that asks for a password as well: one that lets everybody in does
# other work. What that one costs is shown where it is a question of microseconds.
GUARDED = ("relay", "nginx-basic", "haproxy-jwt", "envoy-jwt", "sidegate-jwt")
# Per answer of 10 MB, and so a hundred times that per gigabyte.
PER_GIGABYTE = Quantity("cpu", "CPU per GB", "ms")
GIGABYTE = 1e3 * 1e9 / LARGE_BYTES

ROWS = (
    Row(
        "h1", "HTTP/1.1, JWT warm", "64 keep-alive connections, small answers",
        Cpu(KEPT, tls=False, steady=(TOKEN_MISSES,)), EVERYONE,
        (Bound(1.40, "relay", goal=1.25), Bound(0.90, "nginx-basic"), Bound(0.27, "envoy-jwt"),
         Bound(0.25, "haproxy-jwt")),
    ),
    Row(
        "tls", "HTTP/1.1 over TLS 1.3", "64 keep-alive connections, P-256; the relay leaves TLS to the app",
        Cpu(KEPT, tls=True, steady=(TOKEN_MISSES,)), EVERYONE, (Bound(0.70, "nginx-basic"),),
    ),
    Row(
        "h2", "HTTP/2 over TLS 1.3", "32 connections × 10 streams",
        Cpu(H2load(32, 10), tls=True, steady=(TOKEN_MISSES,)), EVERYONE,
        (Bound(0.60, "nginx-basic"), Bound(0.30, "envoy-jwt")),
    ),
    Row(
        "handshake", "New TLS connection per request", "a full TLS 1.3 handshake each time, 16 at once",
        Cpu(Ab(16), tls=True, steady=(TOKEN_MISSES,)), GUARDED, (Bound(0.60, "nginx-basic"),),
    ),
    Row(
        "cold", "JWT ES256, cold", "64 keep-alive connections, each token shown once",
        Cpu(KEPT, tls=False, steady=(TOKEN_HITS,)), ("haproxy-es256", "envoy-es256", "sidegate-es256"),
        (Bound(0.65, "haproxy-es256", "sidegate-es256"),),
    ),
    Row(
        "basic", "Basic bcrypt, warm", "cost 10, 64 keep-alive connections, against our own warm JWT",
        Cpu(KEPT, tls=False, steady=(PASSWORD_MISSES,), tolerance=0.001), ("sidegate-jwt", "sidegate-bcrypt"),
        (Bound(1.05, "sidegate-jwt", "sidegate-bcrypt"),),
    ),
    Row(
        "download", "Answers of 10 MB over TLS", "4 keep-alive connections",
        Cpu(Wrk(4, LARGE, LARGE_BYTES), True, quantity=PER_GIGABYTE, scale=GIGABYTE), GUARDED,
        (Bound(1.00, "nginx-basic"),),
    ),
    Row(
        "upload", "Requests of 10 MB over TLS", "4 keep-alive connections",
        Cpu(Wrk(4, UPLOAD, upload_bytes=LARGE_BYTES), True, quantity=PER_GIGABYTE, scale=GIGABYTE), GUARDED,
        (Bound(1.00, "nginx-basic"),),
    ),
    Row(
        "memory", "Memory", "at rest, and with 2,000 TLS connections held after a request on each", Memory(),
        ("nginx-basic", "haproxy-jwt", "envoy-jwt", "sidegate-jwt"),
        (Bound(8, quantity="idle"), Bound(13, quantity="connection")),
    ),
    Row(
        "latency", "Latency", "HTTP/1.1 at one connection, and at half load over 64", Latency(), GUARDED,
        tuple(Bound(1.10, "relay", quantity=quantity.name) for quantity in Latency.quantities),
    ),
    Row(
        "log", "JSON access log", "64 keep-alive connections, the log into a pipe",
        Cpu(KEPT, tls=False, steady=(LINES_LOST,)), ("sidegate-jwt", "sidegate-log"),
        (Bound(1.10, "sidegate-jwt", "sidegate-log"),),
    ),
    Row(
        "rules", "1 → 1,000 rules", "64 keep-alive connections; the last rule matches",
        Cpu(KEPT, tls=False, steady=(TOKEN_MISSES,)), ("sidegate-rule", "sidegate-rules"),
        (Bound(1.30, "sidegate-rule", "sidegate-rules"),),
    ),
    Row(
        "users", "1 → 100,000 users", "64 keep-alive connections, the users ({SHA}) in turn", Cpu(KEPT, tls=False),
        ("nginx-users", "sidegate-user", "sidegate-users"), (Bound(1.30, "sidegate-user", "sidegate-users"),),
    ),
    Row(
        "keys", "1 → 100 keys", "64 keep-alive connections, each token shown once, its key the last of the set",
        Cpu(KEPT, tls=False, steady=(TOKEN_HITS,)), ("sidegate-es256", "sidegate-keys"),
        (Bound(1.30, "sidegate-es256", "sidegate-keys"),),
    ),
    Row(
        "tokens", "1 → 100,000 tokens", "64 keep-alive connections, the tokens in turn, all remembered",
        Cpu(KEPT, tls=False, steady=(TOKEN_MISSES,), tolerance=0.001), ("sidegate-token", "sidegate-tokens"),
        (Bound(1.30, "sidegate-token", "sidegate-tokens"),),
    ),
    Row(
        "start", "Start", "exec to the first answer with a token or password, without TLS", Startup(), GUARDED,
        (Bound(10, quantity="start"),),
    ),
    Row(
        "size", "Size", "of the program file, ours the static one if that is built; the others load libraries besides",
        Size(), GUARDED, (Bound(10, quantity="size"),),
    ),
)
