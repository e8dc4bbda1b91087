"""Keys, a certificate, tokens and passwords, made anew for each run; the costly ones only when a row asks for them."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import secrets
import subprocess
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from errors import BenchError
from peers import Programs

ISSUER = "https://login.example.com/"
AUDIENCE = "bench"
USER = "alice"
FIRST_MINTED = "user-000000"
TOKEN_SECONDS = 3600
BCRYPT_COST = 10
MANY_KEYS, MANY_USERS, MANY_TOKENS = 100, 100_000, 100_000


@dataclass(frozen=True)
class Issuer:
    """Who signs tokens: the public key as the peers want it, and the key set that it is in."""

    algorithm: str
    public_key: Path
    jwks: Path


@dataclass(frozen=True)
class Credentials:
    """What requests show: always `first`, or else the lines of `file` in turn, once or over and over."""

    first: str
    file: Path | None = None
    cycle: bool = False
    user: str = USER


class Essentials:
    """A certificate, a token and a password: what it takes to ask a sidegate over TLS."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", str(self.key), "-out", str(self.certificate))
        self.chain_and_key = directory / "tls.pem"
        self.chain_and_key.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())

        rsa, public = self._key_pair("rs256", "RSA", "rsa_keygen_bits:2048")
        self.rs256 = Issuer("RS256", public, self._jwks("rs256", [rsa_jwk(public)]))
        self.bearer = Credentials(f"Bearer {rs256_token(rsa)}")

        self._password = secrets.token_urlsafe(12)
        self.basic = Credentials(basic(USER, self._password))
        self.users = self._write("users", sha_line(USER, self._password))

    def _key_pair(self, name: str, algorithm: str, option: str) -> tuple[Path, Path]:
        private, public = self._directory / f"{name}.key", self._directory / f"{name}.pub"
        openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", str(private))
        openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
        return private, public

    def _jwks(self, name: str, keys: list[dict[str, str]]) -> Path:
        return self._write(f"{name}.jwks", json.dumps({"keys": keys}))

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.write_text(text)
        return path


class Material(Essentials):
    """What the contenders are configured with, as files, and the credentials that they must accept."""

    def __init__(self, directory: Path, programs: Programs, cold_tokens: int) -> None:
        """`cold_tokens` is how many tokens a contender may be shown that it has not seen before."""
        super().__init__(directory)
        self._programs = programs
        self._cold_tokens = max(cold_tokens, MANY_TOKENS)

    @cached_property
    def users_bcrypt(self) -> Path:
        """The user of `users`, with the same password."""
        return self._write("users-bcrypt", bcrypt_line(self._programs.sidegate, self._password, BCRYPT_COST))

    @cached_property
    def _many_users(self) -> tuple[Path, Credentials]:
        names = [f"user-{number:06}" for number in range(MANY_USERS - 1)]
        passwords = [secrets.token_urlsafe(12) for _ in names]
        lines = [sha_line(*pair) for pair in zip(names, passwords, strict=True)]
        users = self._write("users-many", "".join(lines) + self.users.read_text())
        shown = [basic(*pair) for pair in zip(names, passwords, strict=True)] + [self.basic.first]
        # Who reads the file from its top would find the first ones sooner.
        random.shuffle(shown)
        file = self._write("users-many-shown", "\n".join(shown) + "\n")
        return users, Credentials(self.basic.first, file, cycle=True)

    @property
    def users_many(self) -> Path:
        return self._many_users[0]

    @property
    def basic_many(self) -> Credentials:
        """The passwords of all users, in turn."""
        return self._many_users[1]

    @cached_property
    def basic_one(self) -> Credentials:
        """Always the same password, read as those of `basic_many` are."""
        return Credentials(self.basic.first, self._write("user-shown", self.basic.first + "\n"), cycle=True)

    @cached_property
    def _es256(self) -> tuple[Path, Path]:
        return self._key_pair("es256", "EC", "ec_paramgen_curve:P-256")

    @cached_property
    def es256(self) -> Issuer:
        public = self._es256[1]
        return Issuer("ES256", public, self._jwks("es256", [ec_jwk(public, "es256")]))

    @cached_property
    def es256_among_many(self) -> Issuer:
        """The key of `es256`, the last of many in its set."""
        others = [self._key_pair(f"other-{number}", "EC", "ec_paramgen_curve:P-256")[1]
                  for number in range(1, MANY_KEYS)]
        keys = [*(ec_jwk(public, public.stem) for public in others), ec_jwk(self.es256.public_key, "es256")]
        return Issuer("ES256", self.es256.public_key, self._jwks("es256-many", keys))

    @cached_property
    def bearer_cold(self) -> Credentials:
        """Tokens of which none is shown twice to a contender. `first` is one more, for the check beforehand."""
        return Credentials(self._one_token("token-first"), self._tokens_cold, user=FIRST_MINTED)

    @cached_property
    def _tokens_cold(self) -> Path:
        file = self._directory / "tokens-cold"
        mint(self._programs, self._es256[0], self._cold_tokens, file)
        return file

    @cached_property
    def bearer_many(self) -> Credentials:
        """A working set of tokens, each of another user, in turn."""
        with self._tokens_cold.open() as tokens:
            lines = [line for _, line in zip(range(MANY_TOKENS), tokens, strict=False)]
        return Credentials(lines[0].strip(), self._write("tokens-many", "".join(lines)), True, FIRST_MINTED)

    @cached_property
    def bearer_one(self) -> Credentials:
        """Always the same token, read as those of `bearer_many` are."""
        token = self._one_token("token-one")
        return Credentials(token, self._directory / "token-one", True, FIRST_MINTED)

    def _one_token(self, name: str) -> str:
        mint(self._programs, self._es256[0], 1, self._directory / name)
        return (self._directory / name).read_text().strip()


def mint(programs: Programs, key: Path, count: int, file: Path) -> None:
    """Writes `count` different ES256 tokens to `file`, each as the value of `Authorization`, one on a line."""
    command = [programs.python, "-B", str(Path(__file__).with_name("mint.py")), str(key), str(count), str(file),
               ISSUER, AUDIENCE, str(TOKEN_SECONDS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise BenchError(f"the tokens could not be made\n{done.stderr}")


def rs256_token(signing_key: Path) -> str:
    """A token with the claims of an ordinary access token."""
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT", "kid": "rs256"}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": USER, "iat": now, "exp": now + TOKEN_SECONDS,
              "email": f"{USER}@example.com", "groups": ["staff", "orders"]}
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = openssl("dgst", "-sha256", "-sign", str(signing_key), stdin=signed.encode())
    return f"{signed}.{base64url(signature)}"


def rsa_jwk(public_key: Path) -> dict[str, str]:
    modulus = openssl("rsa", "-pubin", "-in", str(public_key), "-noout", "-modulus").decode().strip()
    n = bytes.fromhex(modulus.removeprefix("Modulus="))
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rs256", "n": base64url(n), "e": base64url(b"\1\0\1")}


def ec_jwk(public_key: Path, kid: str) -> dict[str, str]:
    # The DER form of a P-256 key ends with the two coordinates of its point.
    point = openssl("pkey", "-pubin", "-in", str(public_key), "-outform", "DER")[-64:]
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": base64url(point[:32]), "y": base64url(point[32:])}


def sha_line(user: str, password: str) -> str:
    return f"{user}:{{SHA}}{base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()}\n"


def bcrypt_line(sidegate: str, password: str, cost: int) -> str:
    command = [sidegate, "hash-password", "--user", USER, "--algorithm", "bcrypt", "--cost", str(cost)]
    return subprocess.run(command, check=True, input=password + "\n", capture_output=True, text=True).stdout


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], check=False, input=stdin, capture_output=True)
    if done.returncode != 0:
        raise BenchError(f"openssl {arguments[0]} failed\n{done.stderr.decode(errors='replace')}")
    return done.stdout
