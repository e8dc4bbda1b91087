"""A Flask app that believes what sidegate has signed, and nothing else."""

import sys

import jwt
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

app = Flask(__name__)
keys = {}


@app.post("/__keys")
def know_keys():
    """The test says where the keys are: sidegate starts after the app."""
    keys["client"] = jwt.PyJWKClient(request.args["url"])
    return "", 204


@app.get("/<path:path>")
def who(path):
    token = request.headers.get("X-Sidegate-Identity", "")
    try:
        key = keys["client"].get_signing_key_from_jwt(token).key
        required = {"require": ["exp", "iat", "sub"]}
        claims = jwt.decode(token, key, ["ES256"], options=required, audience="orders-app", issuer="sidegate")
    except jwt.PyJWTError as error:
        return jsonify(error=type(error).__name__), 403
    return jsonify(claims=claims, token=token)


server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"127.0.0.1:{server.port}", flush=True)
sys.stderr = open("/dev/null", "w")
server.serve_forever()
