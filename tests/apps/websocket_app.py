"""WebSockets with flask-sock, as an app has them that knows nothing of authentication."""

from flask import Flask, jsonify, request
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)


@sock.route("/ws")
def echo(ws):
    ws.send(f"{request.headers.get('X-Forwarded-User')} {request.query_string.decode()} {request.headers.get('Cookie')}")
    while True:
        ws.send(ws.receive())


@app.get("/plain")
def plain():
    return jsonify(user=request.headers.get("X-Forwarded-User"))
