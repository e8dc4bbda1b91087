"""One request by hand before the many: does each contender do the work that it is measured for?"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
from pathlib import Path

import app
from contenders import Contender
from errors import BenchError
from material import Credentials


def check(contender: Contender, port: int, certificate: Path | None, credentials: Credentials | None) -> None:
    """Fails unless the app is reached with, and only with, the credential, and is told who calls."""
    authorization = credentials.first if credentials else None
    if authorization:
        expect("without credentials", ask(port, certificate, None, app.PAGE)[0], 401)
    status, body = ask(port, certificate, authorization, app.PAGE)
    expect("with its credential", status, 200)
    if body != app.BODY:
        raise BenchError(f"the answer is not the app's: {body!r}")

    if contender.sees_requests:
        seen = ask(port, certificate, authorization, app.SEEN)[1].decode()
        # Envoy puts the machine's own address in the place of a loopback one; that there is one is what matters.
        user, scheme = credentials.user if credentials else "-", "https" if certificate else "http"
        told = rf"user={user} for=[0-9.]+ proto={scheme}"
        if not re.fullmatch(told, seen):
            raise BenchError(f"the app should be told {told!r}, and is told {seen!r}")
    if certificate:
        expect_tls(port, certificate)


def ask(port: int, certificate: Path | None, authorization: str | None, path: str) -> tuple[int, bytes]:
    with contextlib.closing(connection(port, certificate)) as client:
        client.request("GET", path, headers={"Authorization": authorization} if authorization else {})
        response = client.getresponse()
        return response.status, response.read()


def connection(port: int, certificate: Path | None) -> http.client.HTTPConnection:
    if not certificate:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=trusting(certificate))


def expect_tls(port: int, certificate: Path) -> None:
    context = trusting(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as tcp,
        context.wrap_socket(tcp, server_hostname="127.0.0.1") as tls,
    ):
        version, protocol = tls.version(), tls.selected_alpn_protocol()
    if version != "TLSv1.3" or protocol != "h2":
        raise BenchError(f"TLSv1.3 and h2 were expected, {version} and {protocol} negotiated")


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def expect(request: str, status: int, wanted: int) -> None:
    if status != wanted:
        raise BenchError(f"a request {request} should get {wanted}, and gets {status}")
