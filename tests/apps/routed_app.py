"""The app behind the hostile corpus: it writes down what it routed, under whichever WSGI server it runs.

    gunicorn routed_app:application          under gunicorn
    python routed_app.py SERVER              under werkzeug, waitress or pywsgi, with the listener as standard input
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path

from flask import Flask, request

SEEN = Path(os.environ["SEEN"])
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]

flask_app = Flask(__name__)
lock = threading.Lock()


def answer(route):
    """Reads the body first: what is left of one would be taken for the next request by this app's server."""
    body = request.get_data()
    request.environ["routed.route"] = route
    return f"routed {route} {len(body)}\n"


@flask_app.route("/public/", defaults={"path": ""}, methods=METHODS)
@flask_app.route("/public/<path:path>", methods=METHODS)
def public(path):
    return answer("public")


@flask_app.route("/admin/", defaults={"path": ""}, methods=METHODS)
@flask_app.route("/admin/<path:path>", methods=METHODS)
def admin(path):
    return answer("admin")


@flask_app.route("/", defaults={"path": ""}, methods=METHODS)
@flask_app.route("/<path:path>", methods=METHODS)
def private(path):
    return answer("private")


def application(environ, start_response):
    """Every request that a WSGI server makes of the bytes that it gets, also one that Flask has no route for."""
    try:
        yield from flask_app(environ, start_response)
    finally:
        write_down(environ)


def write_down(environ):
    text = {name: value for name, value in environ.items() if isinstance(value, str) and name.isupper()}
    line = json.dumps({"route": environ.get("routed.route"), "environ": text}) + "\n"
    with lock, SEEN.open("a") as seen:
        seen.write(line)


def serve(server):
    listener = socket.socket(fileno=os.dup(0))
    if server == "werkzeug":
        from werkzeug.serving import make_server

        address = listener.getsockname()
        make_server(address[0], address[1], application, threaded=True, fd=listener.fileno()).serve_forever()
    elif server == "waitress":
        import waitress

        # By default it keeps from the app what a proxy says, ours as well as a client's.
        waitress.serve(application, sockets=[listener], threads=4, clear_untrusted_proxy_headers=False)
    elif server == "pywsgi":
        from gevent.pywsgi import WSGIServer

        listener.setblocking(False)
        # It writes head and body apart, and Nagle would let each answer wait for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        WSGIServer(listener, application, log=None).serve_forever()
    else:
        sys.exit(f"no such server: {server}")


if __name__ == "__main__":
    serve(sys.argv[1])
