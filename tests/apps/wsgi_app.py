"""What a WSGI app is given, under one of the servers: wsgi_app.py SERVER [SOCKET | CERTIFICATE KEY [CLIENT_CA]].

It prints where it listens.
"""

import hashlib
import logging
import socket
import ssl
import sys

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT"])
@app.route("/<path:path>", methods=["GET", "POST", "PUT"])
def show(path):
    data = request.get_data()
    return jsonify(
        method=request.method,
        path=request.full_path.rstrip("?"),
        host=request.host,
        scheme=request.headers.get("X-Forwarded-Proto"),
        user=request.headers.get("X-Forwarded-User"),
        length=len(data),
        digest=hashlib.sha256(data).hexdigest(),
        content_length=request.headers.get("Content-Length"),
        transfer_encoding=request.headers.get("Transfer-Encoding"),
    )


server, arguments = sys.argv[1], sys.argv[2:]
path = arguments[0] if len(arguments) == 1 else None
if path:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
else:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
listener.listen(64)
where = path or "%s:%d" % listener.getsockname()

if server == "waitress":
    import waitress.server

    serving = waitress.server.create_server(app, sockets=[listener], clear_untrusted_proxy_headers=False)
    print(where, flush=True)
    serving.run()
elif server == "werkzeug":
    from werkzeug.serving import make_server

    tls = None
    if len(arguments) > 1:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments[0], arguments[1])
        if len(arguments) > 2:
            tls.load_verify_locations(arguments[2])
            tls.verify_mode = ssl.CERT_REQUIRED
    host = f"unix://{path}" if path else "127.0.0.1"
    serving = make_server(host, 0, app, threaded=True, ssl_context=tls, fd=listener.fileno())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    print(where, flush=True)
    serving.serve_forever()
else:
    from gunicorn.app.base import BaseApplication

    class Gunicorn(BaseApplication):
        def load_config(self):
            for name, value in {
                "bind": f"fd://{listener.fileno()}",
                "worker_class": server,
                "threads": 4 if server == "gthread" else 1,
                "loglevel": "error",
                # Nobody waits for it when a test is over.
                "graceful_timeout": 1,
                "control_socket_disable": True,
            }.items():
                self.cfg.set(name, value)

        def load(self):
            return app

    listener.set_inheritable(True)
    print(where, flush=True)
    Gunicorn().run()
