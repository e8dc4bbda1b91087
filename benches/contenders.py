"""Who is measured, and how each is set up to do the same work.

One worker each, no access log, keep-alive to the app, and the app is told who calls and from where: `X-Forwarded-For`,
`X-Forwarded-Proto` and, where there is one, `X-Forwarded-User`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import App, nginx_command, nginx_config, nginx_tls
from envoy import envoy_config
from material import AUDIENCE, ISSUER, Material
from peers import Programs
from server import free_port


@dataclass(frozen=True)
class Site:
    """What a contender is set up with: where it listens, what is behind it, and a directory for its files."""

    directory: Path
    port: int
    tls: bool
    app: App
    material: Material
    programs: Programs

    def write(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text)
        return name


@dataclass(frozen=True)
class Contender:
    """One program with one configuration. `command` writes the configuration and returns what to run."""

    name: str
    title: str
    command: Callable[[Site], list[str]]
    credential: str | None = None
    sees_requests: bool = True

    def authorization(self, material: Material) -> str | None:
        return {None: None, "basic": material.basic, "bearer": material.bearer}[self.credential]


def relay(site: Site) -> list[str]:
    upstream = site.app.tls_port if site.tls else site.app.port
    return [site.programs.relay, f"127.0.0.1:{site.port}", f"127.0.0.1:{upstream}"]


def nginx(site: Site, auth: str = "") -> list[str]:
    listen = f"127.0.0.1:{site.port}{' ssl http2' if site.tls else ''} backlog=4096"
    config = nginx_config(f"""
    upstream app {{ server 127.0.0.1:{site.app.port}; keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen {listen};
        {nginx_tls(site.material) if site.tls else ""}
        {auth}
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-User $remote_user;
        }}
    }}""")
    return nginx_command(site.programs, site.directory, config)


def nginx_basic(site: Site) -> list[str]:
    return nginx(site, f'auth_basic "app"; auth_basic_user_file {site.material.users};')


def haproxy_jwt(site: Site) -> list[str]:
    """Signature, algorithm, issuer and expiry, as the documentation of `jwt_verify` shows them."""
    tls = f" ssl crt {site.material.chain_and_key} alpn h2,http/1.1 ssl-min-ver TLSv1.3" if site.tls else ""
    config = f"""
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    option http-keep-alive
    option forwardfor
    http-reuse always
frontend entry
    bind 127.0.0.1:{site.port}{tls}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
    http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}
    http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{site.material.public_key}") 1 }}
    http-request set-header X-Forwarded-Proto {"https" if site.tls else "http"}
    http-request set-header X-Forwarded-User %[var(txn.bearer),jwt_payload_query('$.sub')]
    default_backend app
backend app
    server app 127.0.0.1:{site.app.port}
"""
    return [site.programs.haproxy, "-db", "-f", site.write("haproxy.cfg", config)]


def envoy_jwt(site: Site) -> list[str]:
    config = envoy_config(site.port, site.app.port, site.material, site.tls)
    site.write("envoy.json", json.dumps(config, indent=2))
    return [site.programs.envoy, "-c", "envoy.json", "--concurrency", "1", "--log-level", "warn",
            "--disable-hot-restart"]


def sidegate(site: Site, auth: dict[str, Any]) -> list[str]:
    material = site.material
    tls = {"certificate": str(material.certificate), "key": str(material.key), "min_version": "1.3"}
    config = {
        "listen": {"address": f"127.0.0.1:{site.port}", **({"tls": tls} if site.tls else {"plaintext": True})},
        "upstream": f"http://127.0.0.1:{site.app.port}",
        "auth": auth,
        "rules": [{"path": "/healthz", "allow": "anyone"}, {"allow": "authenticated"}],
        "admin": {"address": f"127.0.0.1:{free_port()}"},
        "log": {"level": "warn", "access": "off"},
        "shutdown": {"delay": "0s", "grace": "1s"},
    }
    # JSON is YAML.
    return [site.programs.sidegate, "serve", "--config", site.write("sidegate.yaml", json.dumps(config, indent=2))]


def sidegate_jwt(site: Site) -> list[str]:
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": ["RS256"],
              "keys": {"file": str(site.material.jwks)}}
    return sidegate(site, {"jwt": [issuer]})


def sidegate_basic(site: Site) -> list[str]:
    return sidegate(site, {"basic": {"users_file": str(site.material.users)}})


ALL = {contender.name: contender for contender in (
    Contender("relay", "raw TCP relay (the limit)", relay, sees_requests=False),
    Contender("nginx", "nginx, no auth", nginx),
    Contender("nginx-basic", "nginx, Basic {SHA}", nginx_basic, "basic"),
    Contender("haproxy-jwt", "HAProxy, JWT RS256", haproxy_jwt, "bearer"),
    Contender("envoy-jwt", "Envoy, JWT RS256, token cache", envoy_jwt, "bearer"),
    Contender("sidegate-jwt", "sidegate, JWT RS256, warm", sidegate_jwt, "bearer"),
    Contender("sidegate-basic", "sidegate, Basic {SHA}, warm", sidegate_basic, "basic"),
)}
