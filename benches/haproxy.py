"""HAProxy's configuration: `jwt_verify`, as its documentation shows it."""

from __future__ import annotations

from material import ISSUER, Issuer
from sites import Site


def haproxy_jwt(site: Site, issuer: Issuer) -> list[str]:
    """Signature, algorithm, issuer and expiry: it has no cache of tokens, and does not look at the audience."""
    tls = f" ssl crt {site.material.chain_and_key} alpn h2,http/1.1 ssl-min-ver TLSv1.3" if site.tls else ""
    verified = f'var(txn.bearer),jwt_verify(txn.alg,"{issuer.public_key}")'
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
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str {issuer.algorithm} }}
    http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}
    http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
    http-request deny deny_status 401 unless {{ {verified} 1 }}
    http-request set-header X-Forwarded-Proto {"https" if site.tls else "http"}
    http-request set-header X-Forwarded-User %[var(txn.bearer),jwt_payload_query('$.sub')]
    default_backend app
backend app
    server app 127.0.0.1:{site.app.port}
"""
    return [site.programs.haproxy, "-db", "-f", site.write("haproxy.cfg", config)]
