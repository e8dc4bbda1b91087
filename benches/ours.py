"""sidegate's configuration for each kind of work: everything that it does by default, but the access log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from material import AUDIENCE, ISSUER, MANY_TOKENS, Issuer
from sites import Site

Rules = list[dict[str, Any]]

RULES: Rules = [{"path": "/healthz", "allow": "anyone"}, {"allow": "authenticated"}]
ONE_RULE: Rules = [{"allow": "authenticated"}]
# The last one is for all requests of the benchmark, so none of those before it may be skipped by luck.
MANY_RULES: Rules = [
    *({"path": f"/area-{number}/**", "allow": {"groups": [f"group-{number}"]}} for number in range(1, 1000)),
    {"allow": "authenticated"},
]
ROOM = {"entries": 2 * MANY_TOKENS, "bytes": "1GiB"}


def sidegate(site: Site, auth: dict[str, Any], rules: Rules = RULES, access_log: str = "off") -> list[str]:
    material = site.material
    tls = {"certificate": str(material.certificate), "key": str(material.key), "min_version": "1.3"}
    config = {
        "listen": {"address": f"127.0.0.1:{site.port}", **({"tls": tls} if site.tls else {"plaintext": True})},
        "upstream": f"http://127.0.0.1:{site.app.port}",
        "auth": auth,
        "rules": rules,
        "admin": {"address": f"127.0.0.1:{site.admin_port}"},
        "log": {"level": "warn", "access": access_log},
        "shutdown": {"delay": "0s", "grace": "1s"},
    }
    # JSON is YAML.
    return [site.programs.sidegate, "serve", "--config", site.write("sidegate.yaml", json.dumps(config, indent=2))]


def tokens(issuer: Issuer) -> dict[str, Any]:
    return {"jwt": [{"issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": [issuer.algorithm],
                     "keys": {"file": str(issuer.jwks)}}]}


def many_tokens(issuer: Issuer) -> dict[str, Any]:
    return {**tokens(issuer), "token_cache": ROOM}


def passwords(users: Path) -> dict[str, Any]:
    return {"basic": {"users_file": str(users)}}
