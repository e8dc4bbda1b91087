"""Makes many ES256 tokens, as fast as a library signs them: mint.py KEY COUNT FILE ISSUER AUDIENCE SECONDS.

A program of its own, because the library is in a virtual environment and the rest of the benchmark needs none.
"""

from __future__ import annotations

import base64
import json
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

COORDINATE_BYTES = 32


def main() -> None:
    key_file, count, file, issuer, audience, seconds = sys.argv[1:]
    with open(key_file, "rb") as pem:
        key = load_pem_private_key(pem.read(), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    now = int(time.time())
    header = part({"alg": "ES256", "typ": "JWT", "kid": "es256"})
    with open(file, "w") as tokens:
        for number in range(int(count)):
            user = f"user-{number:06}"
            claims = {"iss": issuer, "aud": audience, "sub": user, "iat": now, "exp": now + int(seconds),
                      "email": f"{user}@example.com", "groups": ["staff", "orders"], "jti": f"{number:08}"}
            signed = header + b"." + part(claims)
            tokens.write(f"Bearer {(signed + b'.' + signature(key, signed)).decode()}\n")


def signature(key: EllipticCurvePrivateKey, signed: bytes) -> bytes:
    """As RFC 7518 has it: the two numbers one behind the other, and not as DER."""
    numbers = decode_dss_signature(key.sign(signed, ECDSA(SHA256())))
    return base64url(b"".join(number.to_bytes(COORDINATE_BYTES, "big") for number in numbers))


def part(content: dict[str, object]) -> bytes:
    return base64url(json.dumps(content, separators=(",", ":")).encode())


def base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


if __name__ == "__main__":
    main()
