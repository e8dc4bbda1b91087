"""The app behind every contender: nginx, 200 with 48 bytes over keep-alive, with and without TLS; and large bodies."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import BenchError
from material import Credentials, Material
from nginx import nginx_command, nginx_config, nginx_tls
from peers import Programs
from server import Server, free_port, serving

PAGE = "/"
BODY = b"forty-eight bytes, as a small JSON answer has..\n"
SEEN = "/seen"
LARGE = "/large"
LARGE_BYTES = 10_000_000
UPLOAD = "/upload"


@dataclass(frozen=True)
class App:
    """Where the app listens. The relay, which cannot end TLS, leaves that to the app."""

    port: int
    tls_port: int
    server: Server


@contextlib.contextmanager
def running(programs: Programs, material: Material, core: int, directory: Path) -> Iterator[App]:
    port, tls_port = free_port(), free_port()
    (directory / LARGE[1:]).write_bytes(bytes(LARGE_BYTES))
    page = f'return 200 "{BODY.decode()[:-1]}\\n";'
    config = nginx_config(f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
        {nginx_tls(material)}
        location = {PAGE} {{ {page} }}
        location = {SEEN} {{
            return 200 "user=$user for=$http_x_forwarded_for proto=$http_x_forwarded_proto";
        }}
        location = {LARGE} {{ root {directory}; }}
        # `return` would answer before the body is there. A proxy that buffers has read all of it.
        location = {UPLOAD} {{
            client_body_buffer_size {LARGE_BYTES};
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:{port}{PAGE};
        }}
    }}
    map $http_x_forwarded_user $user {{ "" "-"; default $http_x_forwarded_user; }}""")
    with serving("the app", nginx_command(programs, directory, config), port, core, directory) as server:
        yield App(port, tls_port, server)


def page_request(credentials: Credentials | None) -> bytes:
    authorization = f"Authorization: {credentials.first}\r\n" if credentials else ""
    return f"GET {PAGE} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n".encode()


def ask_page(connection: socket.socket, request: bytes) -> None:
    """Sends `request` over a connection that is kept. The answer has to be the page."""
    connection.sendall(request)
    answer = b""
    while not answer.endswith(BODY):
        more = connection.recv(65536)
        if not more or not (answer + more).startswith(b"HTTP/1.1 200"):
            raise BenchError(f"not a 200: {(answer + more)[:200]!r}")
        answer += more
