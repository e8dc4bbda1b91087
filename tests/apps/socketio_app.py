"""WebSockets with Flask-SocketIO, which checks by itself that the page has the origin of the app."""

from flask import Flask, request
from flask_socketio import SocketIO, emit
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")
# Outside of SocketIO's own middleware: that compares the page's origin with what it takes for the app's.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)


@socketio.event
def shout(text):
    emit("heard", f"{request.headers.get('X-Forwarded-User')}: {text.upper()}")
