"""Keys, a certificate, a token and a password, made anew for each run."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from errors import BenchError

ISSUER = "https://login.example.com/"
AUDIENCE = "bench"
USER = "alice"
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Material:
    """What the contenders are configured with, as files, and the credentials that they must accept."""

    certificate: Path
    key: Path
    chain_and_key: Path
    public_key: Path
    jwks: Path
    users: Path
    bearer: str
    basic: str


def make(directory: Path) -> Material:
    certificate, key = directory / "tls.crt", directory / "tls.key"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate))
    chain_and_key = directory / "tls.pem"
    chain_and_key.write_bytes(certificate.read_bytes() + key.read_bytes())

    signing_key, public_key = directory / "signing.key", directory / "signing.pub"
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(signing_key))
    openssl("pkey", "-in", str(signing_key), "-pubout", "-out", str(public_key))
    jwks = directory / "jwks.json"
    jwks.write_text(json.dumps({"keys": [jwk(public_key)]}))

    password = secrets.token_urlsafe(12)
    users = directory / "users"
    users.write_text(f"{USER}:{{SHA}}{base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()}\n")

    return Material(
        certificate=certificate,
        key=key,
        chain_and_key=chain_and_key,
        public_key=public_key,
        jwks=jwks,
        users=users,
        bearer=f"Bearer {token(signing_key)}",
        basic=f"Basic {base64.b64encode(f'{USER}:{password}'.encode()).decode()}",
    )


def token(signing_key: Path) -> str:
    """An RS256 token with the claims of an ordinary access token."""
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT", "kid": "bench"}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": USER, "iat": now, "exp": now + TOKEN_SECONDS,
              "email": f"{USER}@example.com", "groups": ["staff", "orders"]}
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = openssl("dgst", "-sha256", "-sign", str(signing_key), stdin=signed.encode())
    return f"{signed}.{base64url(signature)}"


def jwk(public_key: Path) -> dict[str, str]:
    modulus = openssl("rsa", "-pubin", "-in", str(public_key), "-noout", "-modulus").decode().strip()
    n = bytes.fromhex(modulus.removeprefix("Modulus="))
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "bench", "n": base64url(n), "e": base64url(b"\1\0\1")}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], check=False, input=stdin, capture_output=True)
    if done.returncode != 0:
        raise BenchError(f"openssl {arguments[0]} failed\n{done.stderr.decode(errors='replace')}")
    return done.stdout
