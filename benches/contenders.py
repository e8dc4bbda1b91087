"""Who is measured, and how each is set up to do the same work.

One worker each, no access log, keep-alive to the app, and the app is told who calls and from where: `X-Forwarded-For`,
`X-Forwarded-Proto` and, where there is one, `X-Forwarded-User`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envoy import envoy_jwt
from haproxy import haproxy_jwt
from material import Credentials, Material
from nginx import nginx_command, proxy_config
from ours import MANY_RULES, ONE_RULE, many_tokens, passwords, sidegate, tokens
from sites import Site

Shown = Callable[[Material], Credentials | None]


@dataclass(frozen=True)
class Contender:
    """One program with one configuration. `command` writes the configuration and returns what to run."""

    name: str
    title: str
    command: Callable[[Site], list[str]]
    credentials: Shown = lambda _: None
    sees_requests: bool = True
    writes_log: bool = False

    @property
    def ours(self) -> bool:
        return self.name.startswith("sidegate")


def relay(site: Site) -> list[str]:
    upstream = site.app.tls_port if site.tls else site.app.port
    return [site.programs.relay, f"127.0.0.1:{site.port}", f"127.0.0.1:{upstream}"]


def nginx(site: Site, users: Path | None = None) -> list[str]:
    config = proxy_config(site.port, site.app.port, site.material, site.tls, users)
    return nginx_command(site.programs, site.directory, config)


def bearer(material: Material) -> Credentials:
    return material.bearer


def basic(material: Material) -> Credentials:
    return material.basic


def cold(material: Material) -> Credentials:
    return material.bearer_cold


PEERS = (
    Contender("relay", "raw TCP relay", relay, sees_requests=False),
    Contender("nginx", "nginx, no auth", nginx),
    Contender("nginx-basic", "nginx, Basic {SHA}", lambda site: nginx(site, site.material.users), basic),
    Contender("nginx-users", "nginx, 100,000 users", lambda site: nginx(site, site.material.users_many),
              lambda material: material.basic_many),
    Contender("haproxy-jwt", "HAProxy, JWT RS256", lambda site: haproxy_jwt(site, site.material.rs256), bearer),
    Contender("haproxy-es256", "HAProxy, JWT ES256", lambda site: haproxy_jwt(site, site.material.es256), cold),
    Contender("envoy-jwt", "Envoy, JWT RS256, cached", lambda site: envoy_jwt(site, site.material.rs256), bearer),
    Contender("envoy-es256", "Envoy, JWT ES256", lambda site: envoy_jwt(site, site.material.es256), cold),
)

OURS = (
    Contender("sidegate-jwt", "sidegate, JWT RS256",
              lambda site: sidegate(site, tokens(site.material.rs256)), bearer),
    Contender("sidegate-basic", "sidegate, Basic {SHA}",
              lambda site: sidegate(site, passwords(site.material.users)), basic),
    Contender("sidegate-bcrypt", "sidegate, Basic bcrypt",
              lambda site: sidegate(site, passwords(site.material.users_bcrypt)), basic),
    Contender("sidegate-es256", "sidegate, JWT ES256",
              lambda site: sidegate(site, tokens(site.material.es256)), cold),
    Contender("sidegate-keys", "sidegate, 100 keys",
              lambda site: sidegate(site, tokens(site.material.es256_among_many)), cold),
    Contender("sidegate-log", "sidegate, JSON access log",
              lambda site: sidegate(site, tokens(site.material.rs256), access_log="json"), bearer, writes_log=True),
    Contender("sidegate-rule", "sidegate, 1 rule",
              lambda site: sidegate(site, tokens(site.material.rs256), ONE_RULE), bearer),
    Contender("sidegate-rules", "sidegate, 1,000 rules",
              lambda site: sidegate(site, tokens(site.material.rs256), MANY_RULES), bearer),
    Contender("sidegate-user", "sidegate, 1 user",
              lambda site: sidegate(site, passwords(site.material.users)), lambda material: material.basic_one),
    Contender("sidegate-users", "sidegate, 100,000 users",
              lambda site: sidegate(site, passwords(site.material.users_many)), lambda material: material.basic_many),
    Contender("sidegate-token", "sidegate, 1 token",
              lambda site: sidegate(site, many_tokens(site.material.es256)), lambda material: material.bearer_one),
    Contender("sidegate-tokens", "sidegate, 100,000 tokens",
              lambda site: sidegate(site, many_tokens(site.material.es256)), lambda material: material.bearer_many),
)

ALL = {contender.name: contender for contender in PEERS + OURS}
