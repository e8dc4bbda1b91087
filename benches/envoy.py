"""Envoy's configuration: a filter chain for JWT with the token cache, in the JSON form of its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from material import AUDIENCE, ISSUER, Issuer, Material
from sites import Site

HTTP_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
HTTP_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
TLS_CONTEXT = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
CACHED_TOKENS = 1000


def envoy_jwt(site: Site, issuer: Issuer) -> list[str]:
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": http_manager(issuer.jwks)}]}
    if site.tls:
        chain["transport_socket"] = {"name": "tls", "typed_config": tls_context(site.material)}
    config = {
        "static_resources": {
            "listeners": [{"name": "entry", "address": loopback(site.port), "filter_chains": [chain]}],
            "clusters": [cluster(site.app.port)],
        }
    }
    return [site.programs.envoy, "-c", site.write("envoy.json", json.dumps(config, indent=2)), "--concurrency", "1",
            "--log-level", "warn", "--disable-hot-restart"]


def http_manager(jwks: Path) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    return {
        "@type": HTTP_MANAGER,
        "stat_prefix": "entry",
        "use_remote_address": True,
        # ApacheBench speaks nothing newer.
        "http_protocol_options": {"accept_http_10": True},
        "http_filters": [
            {"name": "jwt", "typed_config": jwt_authn(jwks)},
            {"name": "router", "typed_config": {"@type": f"{HTTP_FILTERS}.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [route]}]},
    }


def jwt_authn(jwks: Path) -> dict[str, Any]:
    return {
        "@type": f"{HTTP_FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": {
            "bench": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": {"filename": str(jwks)},
                "claim_to_headers": [{"header_name": "x-forwarded-user", "claim_name": "sub"}],
                "jwt_cache_config": {"jwt_cache_size": CACHED_TOKENS},
            }
        },
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }


def tls_context(material: Material) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"filename": str(material.certificate)},
        "private_key": {"filename": str(material.key)},
    }
    return {
        "@type": TLS_CONTEXT,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [certificate],
        },
    }


def cluster(app_port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": loopback(app_port)}}
    return {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
