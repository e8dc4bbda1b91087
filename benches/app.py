"""The app behind every contender: nginx, 200 with 48 bytes over keep-alive, with and without TLS."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from material import Material
from peers import Programs
from server import Server, free_port, serving

PAGE = "/"
BODY = b"forty-eight bytes, as a small JSON answer has..\n"
SEEN = "/seen"


@dataclass(frozen=True)
class App:
    """Where the app listens. The relay, which cannot end TLS, leaves that to the app."""

    port: int
    tls_port: int
    server: Server


@contextlib.contextmanager
def running(programs: Programs, material: Material, core: int, directory: Path) -> Iterator[App]:
    port, tls_port = free_port(), free_port()
    config = nginx_config(f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
        {nginx_tls(material)}
        location = {PAGE} {{ return 200 "{BODY.decode()[:-1]}\\n"; }}
        location = {SEEN} {{
            return 200 "user=$user for=$http_x_forwarded_for proto=$http_x_forwarded_proto";
        }}
    }}
    map $http_x_forwarded_user $user {{ "" "-"; default $http_x_forwarded_user; }}""")
    with serving("the app", nginx_command(programs, directory, config), port, core, directory) as server:
        yield App(port, tls_port, server)


def nginx_command(programs: Programs, directory: Path, config: str) -> list[str]:
    """Writes `config` and returns what runs it: one master, one worker, nothing outside of `directory`."""
    (directory / "nginx.conf").write_text(config)
    return [programs.nginx, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log", "-g", "daemon off;"]


def nginx_config(http: str) -> str:
    # A worker of root's runs as nobody, who could not read the users file in our private directory.
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {http}
}}
"""


def nginx_tls(material: Material) -> str:
    return f"""ssl_certificate {material.certificate};
        ssl_certificate_key {material.key};
        ssl_protocols TLSv1.3;"""
