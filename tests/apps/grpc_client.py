"""A gRPC client: grpc_client.py ADDRESS CA CALL [ARGUMENT] [KEY=VALUE ...]. It prints what came back as JSON.

CA is `-` where there is no TLS."""

import json
import queue
import sys
import time

import grpc

address, ca, call = sys.argv[1:4]
argument = sys.argv[4] if len(sys.argv) > 4 else ""
metadata = [tuple(pair.split("=", 1)) for pair in sys.argv[5:]]
OPTIONS = [("grpc.ssl_target_name_override", "localhost"), ("grpc.max_receive_message_length", -1)]
if ca == "-":
    channel = grpc.insecure_channel(address, OPTIONS)
else:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(open(ca, "rb").read()), OPTIONS)
result = {"status": "OK"}
KINDS = {
    "Down": channel.unary_stream,
    "Wait": channel.unary_stream,
    "Flood": channel.unary_stream,
    "Up": channel.stream_unary,
    "Listen": channel.stream_unary,
    "Late": channel.stream_unary,
    "Both": channel.stream_stream,
}


def method(name):
    return KINDS.get(name, channel.unary_unary)(f"/test.Echo/{name}")


def keep(answer):
    result["trailing"] = {k: v if isinstance(v, str) else v.hex() for k, v in answer.trailing_metadata() or ()}


try:
    timeout = 30
    if call == "Big":
        answer = method("Unary")(b"b" * int(argument), timeout=timeout, metadata=metadata)
        result["length"] = len(answer)
        result["intact"] = answer == b"b" * int(argument)
    elif call == "Both":
        # One at a time: each message waits for the echo of the one before it.
        messages = queue.Queue()
        echoes = method("Both")(iter(messages.get, None), timeout=timeout, metadata=metadata)
        result["messages"] = []
        for number in range(int(argument)):
            messages.put(b"%d" % number)
            result["messages"].append(next(echoes).decode())
        messages.put(None)
        result["rest"] = [message.decode() for message in echoes]
        keep(echoes)
    elif call == "Up":
        answer, done = method("Up").with_call((b"x" * 10000 for _ in range(int(argument))), timeout=timeout, metadata=metadata)
        result["answer"] = answer.decode()
        keep(done)
    elif call == "Down":
        answer = method("Down")(argument.encode(), timeout=timeout, metadata=metadata)
        result["messages"] = [message.decode() for message in answer]
        keep(answer)
    elif call == "Many":
        # At once, on one connection.
        calls = [method("Unary").future(b"%d" % i, timeout=timeout, metadata=metadata) for i in range(int(argument))]
        result["right"] = sum(call.result() == b"%d" % i for i, call in enumerate(calls))
    elif call == "Again":
        # One after the other, for so long.
        end = time.monotonic() + float(argument)
        result["right"] = 0
        while time.monotonic() < end:
            assert method("Unary")(b"again", timeout=timeout, metadata=metadata) == b"again"
            result["right"] += 1
    elif call in ("Wait", "Flood"):
        # Stays until it is told to go; says when it has the first message.
        answer = method(call)(argument.encode(), metadata=metadata)
        if argument:
            result["first"] = len(next(answer))
        print(json.dumps(result), flush=True)
        sys.stdin.read()
        answer.cancel()
        sys.exit()
    elif call == "Late":
        # One message, and then both sides wait.
        messages = queue.Queue()
        messages.put(b"one")
        answer = method("Listen").future(iter(messages.get, None), timeout=timeout, metadata=metadata)
        try:
            answer.result()
        finally:
            messages.put(None)
    elif call == "Listen":
        messages = queue.Queue()
        messages.put(b"one")
        answer = method(call).future(iter(messages.get, None), metadata=metadata)
        print(json.dumps(result), flush=True)
        sys.stdin.read()
        answer.cancel()
        messages.put(None)
        sys.exit()
    else:
        answer, done = method(call).with_call(argument.encode(), timeout=timeout, metadata=metadata)
        result["answer"] = answer.decode()
        keep(done)
except grpc.RpcError as error:
    result["status"] = error.code().name
    result["details"] = error.details()
    keep(error)
print(json.dumps(result), flush=True)
