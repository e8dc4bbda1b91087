"""The app: Flask under gunicorn's threads, with what the traffic needs, and no idea of who may do what."""

from __future__ import annotations

from flask import Flask, Response, request
from flask_sock import Sock

BLOCK = bytes(range(256)) * 64

app = Flask(__name__)
sock = Sock(app)


@app.get("/")
def hello() -> str:
    return f"Hello {request.headers['X-Forwarded-User']}\n"


@app.post("/upload")
def upload() -> str:
    size = 0
    while block := request.stream.read(1 << 16):
        size += len(block)
    return f"{size}\n"


@app.get("/download/<int:blocks>")
def download(blocks: int) -> Response:
    return Response((BLOCK for _ in range(blocks)), mimetype="application/octet-stream")


@sock.route("/ws")
def echo(ws) -> None:
    while True:
        ws.send(ws.receive())
