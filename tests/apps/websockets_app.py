"""A server of the `websockets` library, on the listener that is its standard input; it offers the protocol `chat`."""

import asyncio
import socket

from websockets.asyncio.server import serve


async def echo(connection):
    await connection.send(f"{connection.request.headers.get('X-Forwarded-User')} {connection.subprotocol}")
    async for message in connection:
        await connection.send(message)


async def main():
    async with serve(echo, sock=socket.socket(fileno=0), subprotocols=["chat"], select_subprotocol=choose) as server:
        await server.serve_forever()


def choose(_, offered):
    return "chat" if "chat" in offered else None


asyncio.run(main())
