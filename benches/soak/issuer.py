"""An issuer whose keys rotate, and the tokens that it signs. What it publishes is served over HTTP."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "https://login.example.com/"
AUDIENCE = "soak"

# How long a token is good: caches fill and empty many times in a run.
LIFETIME = 20


class Issuer:
    """Signs with a key that has been published for a whole rotation, so that whoever refreshes in time has it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._keys = [self._new_key() for _ in range(3)]
        self.fetched = 0

    def rotate(self) -> None:
        self._keys = [*self._keys[1:], self._new_key()]

    def token(self, subject: str, **changes: Any) -> str:
        """A token that is accepted, unless `changes` of its claims make it one that is not."""
        name, key = self._keys[1]
        return self.signed(key, name, subject, **changes)

    def forged(self, subject: str) -> str:
        """By a key of the right name, and not the issuer's."""
        return self.signed(ec.generate_private_key(ec.SECP256R1()), self._keys[1][0], subject)

    def of_unknown_key(self, subject: str) -> str:
        return self.signed(self._keys[1][1], f"unknown-{time.time_ns()}", subject)

    def signed(self, key: ec.EllipticCurvePrivateKey, name: str, subject: str, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": NAME, "aud": AUDIENCE, "sub": subject, "groups": ["staff"], "iat": now, "exp": now + LIFETIME}
        return jwt.encode(claims | changes, key, "ES256", {"kid": name})

    def published(self) -> bytes:
        self.fetched += 1
        return json.dumps({"keys": [jwk(name, key) for name, key in self._keys]}).encode()

    def _new_key(self) -> tuple[str, ec.EllipticCurvePrivateKey]:
        return f"key-{next(self._numbers)}", ec.generate_private_key(ec.SECP256R1())


def jwk(name: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": name, "x": x, "y": y}


@contextlib.contextmanager
def serving(issuer: Issuer) -> Iterator[str]:
    """The URL of what the issuer publishes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.published()
            self.send_response(200)
            self.send_header("Content-Type", "application/jwk-set+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/jwks"
        finally:
            server.shutdown()
            thread.join()
