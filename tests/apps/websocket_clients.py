"""Clients of the WebSocket apps: `websocket_clients.py KIND URL CA TOKEN [ORIGIN]` prints what it was told."""

import asyncio
import os
import ssl
import sys

import requests
import socketio
from websockets.asyncio.client import connect

kind, url, authority, token, *origin = sys.argv[1:]
origin = origin[0] if origin else None
trusted = ssl.create_default_context(cafile=authority)
bearer = {"Authorization": f"Bearer {token}"}


async def talk(headers=None, **options):
    async with connect(url, ssl=trusted, origin=origin, additional_headers=headers, **options) as connection:
        print(await connection.recv(), connection.subprotocol)
        for message in ["one", os.urandom(200_000)]:
            await connection.send(message)
            assert await connection.recv() == message
        ping = await connection.ping()
        await asyncio.wait_for(ping, 10)


def shout():
    session = requests.Session()
    session.verify = authority
    client = socketio.SimpleClient(http_session=session)
    # It says the origin of the URL by itself, as a page of the app does.
    client.connect(url, headers=bearer, transports=["websocket"])
    client.emit("shout", "hello")
    print(*client.receive(timeout=10), client.transport)
    client.disconnect()


match kind:
    case "header":
        asyncio.run(talk(bearer))
    case "protocol":
        asyncio.run(talk(subprotocols=["bearer", token]))
    case "protocol-and-chat":
        asyncio.run(talk(subprotocols=["chat", "bearer", token]))
    case "query":
        url += f"?room=1&token={token}"
        asyncio.run(talk())
    case "socketio":
        shout()
