"""HTTP clients that can do what libraries prevent: break off, send nonsense, stop reading."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.settings

CHUNK = 16 * 1024

Headers = dict[str, str]


class Unexpected(Exception):
    """An answer that should not have been."""


class Connection:
    """A connection, over TLS if `context` is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int, context: ssl.SSLContext | None) -> AsyncIterator[Self]:
        name = "localhost" if context else None
        connection = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))
        try:
            yield connection
        finally:
            connection.writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await connection.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def vanish(self) -> None:
        """Ends without a word: no close_notify, no FIN, but a reset."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Http1(Connection):
    """Requests one after the other."""

    async def ask(self, method: str, target: str, headers: Headers, body: bytes = b"", chunked: bool = False) -> int:
        """The status of the answer, which is read to its end."""
        await self.send(head(method, target, headers, len(body), chunked))
        for start in range(0, len(body), CHUNK):
            part = body[start : start + CHUNK]
            await self.send(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        if chunked:
            await self.send(b"0\r\n\r\n")
        return await self.answer()

    async def answer(self) -> int:
        try:
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            if fields.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readline()).split(b";")[0], 16):
                    await self.reader.readexactly(size + 2)
                await self.reader.readline()
            else:
                await self.reader.readexactly(int(fields.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Unexpected(f"no whole answer: {error}") from error
        return int(lines[0].split()[1])


class Http2(Connection):
    """Several requests at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._statuses: dict[int, int] = {}
        self._ended: set[int] = set()

    async def ask(self, requests: Iterable[tuple[str, str, Headers, bytes]]) -> list[int]:
        """The statuses of the answers, in the order of the requests."""
        streams = []
        for method, target, headers, body in requests:
            stream = self.begin(method, target, headers, not body)
            streams.append(stream)
            for start in range(0, len(body), CHUNK):
                await self._send_part(stream, body[start : start + CHUNK], start + CHUNK >= len(body))
        while not self._ended.issuperset(streams):
            await self.turn()
        self._ended.difference_update(streams)
        return [self._statuses.pop(stream) for stream in streams]

    def begin(self, method: str, target: str, headers: Headers, complete: bool) -> int:
        stream = self._h2.get_next_available_stream_id()
        fields = {":method": method, ":scheme": "https", ":authority": "localhost", ":path": target}
        fields |= {name.lower(): value for name, value in headers.items()}
        self._h2.send_headers(stream, list(fields.items()), end_stream=complete)
        return stream

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream)

    async def _send_part(self, stream: int, part: bytes, last: bool) -> None:
        # An answer before the end of its request: what is left of it is not wanted.
        while self._h2.local_flow_control_window(stream) < len(part):
            await self.turn()
        self._h2.send_data(stream, part, end_stream=last)

    async def turn(self) -> None:
        """Sends what there is to send, and takes what comes next."""
        await self.send(self._h2.data_to_send())
        received = await self.reader.read(1 << 16)
        if not received:
            raise Unexpected("the connection was closed")
        for event in self._h2.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                self._statuses[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self._ended.add(event.stream_id)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise Unexpected(f"broken off: {event}")
        await self.send(self._h2.data_to_send())


def head(method: str, target: str, headers: Headers, length: int = 0, chunked: bool = False) -> bytes:
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length)} if length else {}
    fields = {"Host": "localhost", "User-Agent": "soak/1"} | headers | framing
    return "\r\n".join([f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items()), "", ""]).encode()
