"""Envoy's configuration: a filter chain for JWT with the token cache, in the JSON form of its API."""

from __future__ import annotations

from typing import Any

from material import AUDIENCE, ISSUER, Material

HTTP_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
HTTP_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
TLS_CONTEXT = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
CACHED_TOKENS = 1000


def envoy_config(port: int, app_port: int, material: Material, tls: bool) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": http_manager(material)}]}
    if tls:
        chain["transport_socket"] = {"name": "tls", "typed_config": tls_context(material)}
    return {
        "static_resources": {
            "listeners": [{"name": "entry", "address": loopback(port), "filter_chains": [chain]}],
            "clusters": [cluster(app_port)],
        }
    }


def http_manager(material: Material) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    return {
        "@type": HTTP_MANAGER,
        "stat_prefix": "entry",
        "use_remote_address": True,
        "http_filters": [
            {"name": "jwt", "typed_config": jwt_authn(material)},
            {"name": "router", "typed_config": {"@type": f"{HTTP_FILTERS}.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [route]}]},
    }


def jwt_authn(material: Material) -> dict[str, Any]:
    return {
        "@type": f"{HTTP_FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": {
            "bench": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": {"filename": str(material.jwks)},
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
