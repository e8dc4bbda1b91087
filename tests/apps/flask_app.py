"""A legacy Flask app without any authentication: it believes X-Forwarded-User, as such apps do."""

import hashlib
import os
import time
from pathlib import Path

from flask import Flask, Response, jsonify, redirect, request, session, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

GATES = Path(os.environ["GATES"])
BLOCK = bytes(range(256)) * 256  # 64 KiB

app = Flask(__name__)
app.secret_key = os.urandom(16)
# As docs/flask.md says: one hop, and that is sidegate.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)

seen = []


@app.before_request
def note():
    if not request.path.startswith("/__"):
        seen.append(f"{request.method} {request.path}")


@app.route("/__seen")
def what_was_seen():
    """Every request that reached the app. The test asks for it directly, not through sidegate."""
    return jsonify(seen)


def wait_at(gate):
    """Stands still until the test opens the gate, and lets the test know that it got this far."""
    (GATES / f"{gate}.entered").touch()
    deadline = time.monotonic() + 20
    while not (GATES / f"{gate}.open").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened {gate}")
        time.sleep(0.01)


@app.route("/slow")
def slow():
    wait_at(request.args["gate"])
    return "finished\n"


@app.route("/stream")
def stream():
    gate = request.args["gate"]

    def lines():
        yield "first\n"
        wait_at(gate)
        yield "second\n"

    return Response(lines(), mimetype="text/event-stream")


@app.get("/events")
def events():
    """A server-sent event each 50 ms, that says when it was written."""

    def written():
        for _ in range(20):
            yield f"data: {time.time_ns()}\n\n"
            time.sleep(0.05)

    return Response(written(), mimetype="text/event-stream")


@app.route("/big")
def big():
    count = int(request.args["mb"]) * 16
    response = Response((BLOCK for _ in range(count)), mimetype="application/octet-stream")
    if "length" in request.args:
        response.content_length = count * len(BLOCK)
    return response


@app.route("/upload", methods=["POST", "PUT"])
def upload():
    digest, size = hashlib.sha256(), 0
    while block := request.stream.read(1 << 16):
        digest.update(block)
        size += len(block)
    return jsonify(
        bytes=size,
        sha256=digest.hexdigest(),
        content_length=request.headers.get("Content-Length"),
        transfer_encoding=request.headers.get("Transfer-Encoding"),
    )


@app.route("/login", methods=["POST"])
def login():
    session["cart"] = "seven books"
    response = jsonify(ok=True)
    response.set_cookie("theme", "dark")
    response.set_cookie("language", "de")
    return response


@app.route("/session")
def show_session():
    return jsonify(cart=session.get("cart"), cookies=request.cookies)


@app.route("/dir/")
def directory():
    """Flask itself redirects /dir to here, with the URL that it believes to have."""
    return jsonify(url=url_for("directory", _external=True), root=request.url_root)


@app.route("/elsewhere")
def elsewhere():
    return redirect(url_for("directory"))


@app.route("/status/<int:code>")
def status(code):
    return "", code


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def echo(path):
    """What WSGI makes of the request: here X-Forwarded-User and X_Forwarded_User would be one variable."""
    body = request.get_data()
    return jsonify(
        method=request.method,
        path=request.environ["PATH_INFO"],
        query=request.environ["QUERY_STRING"],
        script_name=request.environ["SCRIPT_NAME"],
        remote_user=request.environ.get("REMOTE_USER"),
        remote_addr=request.remote_addr,
        url=request.url,
        user=request.headers.get("X-Forwarded-User"),
        environ={name: value for name, value in request.environ.items() if name.startswith("HTTP_")},
        body_bytes=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
    )
