"""nginx's configuration, as the app and as a peer."""

from __future__ import annotations

import os
from pathlib import Path

from material import Material
from peers import Programs


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
    client_max_body_size 0;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {http}
}}
"""


def nginx_tls(material: Material) -> str:
    return f"""ssl_certificate {material.certificate};
        ssl_certificate_key {material.key};
        ssl_protocols TLSv1.3;"""


def proxy_config(port: int, app_port: int, material: Material, tls: bool, users: Path | None) -> str:
    """A proxy as sidegate is one. Bodies are passed on as they come, and nothing is written to a disk."""
    auth = f'auth_basic "app"; auth_basic_user_file {users};' if users else ""
    return nginx_config(f"""
    upstream app {{ server 127.0.0.1:{app_port}; keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port}{" ssl http2" if tls else ""} backlog=4096;
        {nginx_tls(material) if tls else ""}
        {auth}
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-User $remote_user;
        }}
    }}""")
