"""The traffic: a fixed number of visitors of each kind, each of whom comes again as soon as it has gone.

Their number does not change, so neither does what is open at a time: a count that rises is not a busier minute.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import websockets
from clients import Http1, Http2, Unexpected, head
from issuer import Issuer

# The longest that a visit may take: longer than any that is slow by intent.
PATIENCE = 60

# How many visitors there are of each kind.
VISITORS = {"http1": 6, "http2": 2, "upload": 2, "download": 1, "websocket": 6, "refusal": 2, "churn": 2, "vanish": 2,
            "slow": 2, "idle": 40}

OK = (200,)


@dataclass
class Site:
    """Where the visitors go, and what they know."""

    port: int
    trust: ssl.SSLContext
    trust_http2: ssl.SSLContext
    issuer: Issuer
    passwords: dict[str, str]
    random: random.Random = field(default_factory=lambda: random.Random(1))
    visits: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def bearer(self) -> dict[str, str]:
        """A new caller with a new token."""
        return {"Authorization": f"Bearer {self.issuer.token(f'user-{self.random.randrange(10**6)}')}"}

    def basic(self) -> dict[str, str]:
        user = self.random.choice(list(self.passwords))
        return password(user, self.passwords[user])

    def anyone(self) -> dict[str, str]:
        return self.bearer() if self.random.random() < 0.7 else self.basic()

    def http1(self) -> contextlib.AbstractAsyncContextManager[Http1]:
        return Http1.open(self.port, self.trust)

    def http2(self) -> contextlib.AbstractAsyncContextManager[Http2]:
        return Http2.open(self.port, self.trust_http2)

    async def pause(self, seconds: float) -> None:
        """Of this length on average."""
        await asyncio.sleep(self.random.uniform(0.5, 1.5) * seconds)


async def visitor(site: Site, kind: str) -> None:
    """Comes again and again, until it is cancelled."""
    visit = KINDS[kind]
    # Sixty strangers in one moment would all have their passwords hashed, and some be told to come again.
    await asyncio.sleep(site.random.uniform(0, 5))
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                await visit(site)
            site.visits[kind] += 1
        # Whatever goes wrong is counted and shown at the end; one visit more or less is no reason to end the run.
        except Exception as error:
            site.wrong[f"{kind}: {error or type(error).__name__}"] += 1
            await site.pause(0.5)


def expect(status: int, wanted: tuple[int, ...], what: str) -> None:
    if status not in wanted:
        raise Unexpected(f"{what}: {status} instead of {' or '.join(map(str, wanted))}")


def password(user: str, word: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()}


async def http1(site: Site) -> None:
    credentials = site.anyone()
    async with site.http1() as connection:
        for _ in range(site.random.randrange(20, 200)):
            expect(await connection.ask("GET", "/", credentials), OK, "GET")
            await site.pause(0.05)


async def http2(site: Site) -> None:
    credentials = site.anyone()
    async with site.http2() as connection:
        for _ in range(site.random.randrange(10, 50)):
            requests = [("GET", "/", credentials, b"")] * site.random.randrange(1, 10)
            if site.random.random() < 0.1:
                requests.append(("POST", "/upload", credentials, os.urandom(site.random.randrange(1, 200_000))))
            for status in await connection.ask(requests):
                expect(status, OK, "a stream")
            await site.pause(0.1)


async def upload(site: Site) -> None:
    credentials = site.anyone()
    async with site.http1() as connection:
        for _ in range(site.random.randrange(1, 6)):
            body = os.urandom(site.random.choice([1, 1000, 100_000, 1_000_000]))
            chunked = site.random.random() < 0.5
            expect(await connection.ask("POST", "/upload", credentials, body, chunked), OK, "an upload")
            await site.pause(0.3)


async def download(site: Site) -> None:
    async with site.http1() as connection:
        expect(await connection.ask("GET", f"/download/{site.random.randrange(200)}", site.anyone()), OK, "a download")
    await site.pause(0.5)


async def websocket(site: Site) -> None:
    url = f"wss://localhost:{site.port}/ws"
    async with websockets.connect(url, ssl=site.trust, additional_headers=site.bearer()) as socket:
        for _ in range(site.random.randrange(20, 60)):
            message = os.urandom(site.random.choice([1, 100, 10_000]))
            await socket.send(message)
            if await socket.recv() != message:
                raise Unexpected("not the echo")
            await site.pause(0.1)
        if site.random.random() < 0.25:
            socket.transport.abort()


async def refusal(site: Site) -> None:
    issuer, someone = site.issuer, f"user-{site.random.randrange(1000)}"

    def token(text: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {text}"}

    method, target, headers, wanted = site.random.choice([
        ("GET", "/", {}, (401,)),
        ("GET", "/", token("no.token.at-all"), (401,)),
        ("GET", "/", token(issuer.forged(someone)), (401,)),
        ("GET", "/", token(issuer.of_unknown_key(someone)), (401,)),
        ("GET", "/", token(issuer.token(someone, exp=1)), (401,)),
        ("GET", "/", token(issuer.token(someone, aud="another")), (401,)),
        ("GET", "/", password(someone, "wrong"), (401, 429)),
        ("GET", "/", password(site.random.choice(list(site.passwords)), "wrong"), (401, 429)),
        ("GET", "/admin/", site.anyone(), (403,)),
        ("GET", "/a%2fb", site.anyone(), (400,)),
        ("GET", "/", {"Transfer-Encoding": "chunked", "Content-Length": "3"}, (400,)),
        ("GET", "/", {"X-Large": "x" * 40_000}, (431,)),
        ("GET", "/not-there", site.anyone(), (404,)),
    ])
    async with site.http1() as connection:
        expect(await connection.ask(method, target, headers), wanted, f"{target} with {list(headers)}")
    await site.pause(0.1)


async def churn(site: Site) -> None:
    """A connection and a handshake for each request."""
    async with site.http1() as connection:
        expect(await connection.ask("GET", "/", site.anyone()), OK, "GET")
    await site.pause(0.1)


async def vanish(site: Site) -> None:
    """Goes away in the middle: of the handshake, a head, a body, an answer; with streams open."""
    await site.random.choice([in_handshake, in_head, in_body, in_answer, with_streams])(site)
    await site.pause(0.2)


async def in_handshake(site: Site) -> None:
    async with Http1.open(site.port, None) as connection:
        # The beginning of a ClientHello, or no TLS at all.
        await connection.send(site.random.choice([b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"]))
        connection.vanish()


async def in_head(site: Site) -> None:
    async with site.http1() as connection:
        await connection.send(head("GET", "/", site.anyone())[:40])
        connection.vanish()


async def in_body(site: Site) -> None:
    async with site.http1() as connection:
        await connection.send(head("POST", "/upload", site.anyone(), 100_000) + os.urandom(30_000))
        connection.vanish()


async def in_answer(site: Site) -> None:
    async with site.http1() as connection:
        await connection.send(head("GET", "/download/200", site.anyone()))
        await connection.reader.read(1000)
        connection.vanish()


async def with_streams(site: Site) -> None:
    async with site.http2() as connection:
        streams = [connection.begin("GET", "/download/200", site.anyone(), True) for _ in range(5)]
        await connection.turn()
        for stream in streams[:2]:
            connection.reset(stream)
        await connection.turn()
        connection.vanish()


async def slow(site: Site) -> None:
    """Takes longer for its header than it may, or for an answer as long as it may."""
    async with site.http1() as connection:
        if site.random.random() < 0.5:
            await connection.send(b"GET / HTTP/1.1\r\nHost:")
            await connection.reader.read()
            return
        await connection.send(head("GET", "/download/100", site.anyone()))
        connection.writer.transport.pause_reading()
        await site.pause(2)
        connection.writer.transport.resume_reading()
        expect(await connection.answer(), OK, "a slow download")


async def idle(site: Site) -> None:
    """Connected and silent, with and without a request before; ends it, or is ended when it has been silent for too long."""
    async with site.http1() as connection:
        if site.random.random() < 0.8:
            expect(await connection.ask("GET", "/", site.anyone()), OK, "GET")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(site.random.uniform(1, 30)):
                await connection.reader.read()


KINDS: dict[str, Callable[[Site], Awaitable[None]]] = {
    visit.__name__: visit
    for visit in (http1, http2, upload, download, websocket, refusal, churn, vanish, slow, idle)
}
