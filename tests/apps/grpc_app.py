"""A gRPC server without generated code: messages are bytes. It prints its port, and notes what happened to it."""

import json
import sys
import time
from concurrent import futures

import grpc

EVENTS = []


def unary(request, context):
    context.set_trailing_metadata((("x-trailing", "at the end"), ("x-binary-bin", b"\x00\xff")))
    return request


def who(request, context):
    return json.dumps([[key, str(value)] for key, value in context.invocation_metadata()]).encode()


def fail(request, context):
    context.set_trailing_metadata((("x-trailing", "with the error"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: é")


def down(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def up(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield b"echo " + request


def wait(request, context):
    """Answers nothing, or one message, and waits until the client has gone."""
    EVENTS.append("waiting")
    context.add_callback(lambda: EVENTS.append("gone"))
    if request:
        yield request
    while context.is_active():
        time.sleep(0.01)


def listen(requests, context):
    """Takes messages and answers nothing."""
    context.add_callback(lambda: EVENTS.append("gone"))
    for request in requests:
        EVENTS.append("message")
    return b""


def flood(request, context):
    while context.is_active():
        yield b"x" * 65536


def events(request, context):
    return json.dumps(EVENTS).encode()


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Who": grpc.unary_unary_rpc_method_handler(who),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "Listen": grpc.stream_unary_rpc_method_handler(listen),
    "Flood": grpc.unary_stream_rpc_method_handler(flood),
    "Events": grpc.unary_unary_rpc_method_handler(events),
}

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
if len(sys.argv) > 1:
    # Says goodbye (GOAWAY) after so many milliseconds, again and again.
    OPTIONS += [("grpc.max_connection_age_ms", int(sys.argv[1])), ("grpc.max_connection_age_grace_ms", 10000)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=OPTIONS)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", HANDLERS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"127.0.0.1:{port}", flush=True)
# Ends with the test, whose end of the pipe this is.
sys.stdin.read()
server.stop(0)
