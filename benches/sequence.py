"""Requests in a sequence that is the same in every run: a client with one connection, and an app that keeps time with it.

Nothing here depends on who is faster. The client sends its next requests when all the earlier ones are answered; the app
answers when it has as many as the client sends at once. So the proxy is woken up equally often, for equally much.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from app import BODY
from errors import BenchError

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: app\r\nDate: Sat, 28 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
TIMEOUT = 60

# The proxy has sent its last request and waits again after less than this.
SETTLED = 0.002

# Between two rounds of HTTP/2, whose requests take so long under valgrind that some connections to the app would have
# rested for more than `upstream::pool::FRESH`, and others not. This is more, so all have.
PAUSE = 0.007


class App:
    """An app that answers `together` requests at once, each on its own connection."""

    def __init__(self, together: int) -> None:
        self.proxy: int | None = None
        self._together = together
        self._waiting: list[socket.socket] = []
        self._heads: dict[socket.socket, bytes] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def serve(self, ended: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._listener, selectors.EVENT_READ, self._accept)
            selector.register(ended, selectors.EVENT_READ, None)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        for connection in self._heads:
                            connection.close()
                        return
                    key.data(selector, key.fileobj)
                if len(self._waiting) == self._together:
                    self._answer()

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, self._read)
        self._heads[connection] = b""

    def _read(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        received = connection.recv(65536)
        if not received:
            selector.unregister(connection)
            del self._heads[connection]
            connection.close()
            return
        self._heads[connection] += received
        if self._heads[connection].endswith(b"\r\n\r\n"):
            self._heads[connection] = b""
            self._waiting.append(connection)

    def _answer(self) -> None:
        with self._asleep() if self._together > 1 else contextlib.nullcontext():
            for connection in self._waiting:
                connection.sendall(ANSWER)
        self._waiting.clear()

    @contextlib.contextmanager
    def _asleep(self) -> Iterator[None]:
        """Stops the proxy meanwhile: else it would find sometimes one answer, and sometimes several, when it looks."""
        if self.proxy is None:
            raise BenchError("the app has not been told who asks")
        time.sleep(SETTLED)
        os.kill(self.proxy, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.proxy, signal.SIGCONT)


@contextlib.contextmanager
def app(together: int) -> Iterator[App]:
    serving = App(together)
    end, ended = socket.socketpair()
    thread = threading.Thread(target=serving.serve, args=(ended,))
    thread.start()
    try:
        yield serving
    finally:
        end.close()
        thread.join()
        ended.close()


def connect(port: int, certificate: Path | None, protocol: str) -> socket.socket:
    tcp = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not certificate:
        return tcp
    context = ssl.create_default_context(cafile=str(certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([protocol])
    tls = context.wrap_socket(tcp, server_hostname="localhost")
    if tls.selected_alpn_protocol() != protocol:
        raise BenchError(f"{protocol} was offered, {tls.selected_alpn_protocol()} was agreed on")
    return tls


def http1(port: int, certificate: Path | None, authorization: str, requests: int) -> None:
    """One request after the other on one connection."""
    request = (
        "GET /orders/42 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
        f"Authorization: {authorization}\r\n\r\n"
    ).encode()
    with connect(port, certificate, "http/1.1") as connection:
        for _ in range(requests):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(BODY):
                received = connection.recv(65536)
                if not received or not b"HTTP/1.1 200 OK\r\n".startswith((answer + received)[:17]):
                    raise BenchError(f"not the app's answer: {(answer + received)[:200]!r}")
                answer += received


def http2(port: int, certificate: Path | None, authorization: str, requests: int, streams: int) -> None:
    """`streams` requests at once on one connection, in one write; the next when all are answered."""
    headers = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/orders/42"),
               ("user-agent", "bench/1"), ("accept", "*/*"), ("authorization", authorization)]
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    with connect(port, certificate, "h2") as connection:
        for _ in range(requests // streams):
            time.sleep(PAUSE)
            for _ in range(streams):
                client.send_headers(client.get_next_available_stream_id(), headers, end_stream=True)
            open_streams = streams
            while open_streams:
                connection.sendall(client.data_to_send())
                received = connection.recv(65536)
                if not received:
                    raise BenchError("the connection was closed")
                for event in client.receive_data(received):
                    if isinstance(event, h2.events.DataReceived):
                        client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        open_streams -= 1
                    elif isinstance(event, h2.events.ResponseReceived):
                        if dict(event.headers)[":status"] != "200":
                            raise BenchError(f"not the app's answer: {event.headers}")
                    elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                        raise BenchError(f"broken off: {event}")
