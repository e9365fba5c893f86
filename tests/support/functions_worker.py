"""A language worker: Microsoft's own runtime library behind a pipe instead of gRPC.

Reads `StreamingMessage`s from standard input, each behind its length in four bytes, and
answers on standard output, many invocations at a time. Everything that the app prints
or logs goes to standard error.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import grpc

rpc: Any = grpc.protos("tests/support/functions_rpc.proto")
_LENGTH = struct.Struct("<I")


@dataclass
class Request:
    """As the proxy of the real worker hands a message to the library."""

    request: Any
    properties: dict[str, Any] = field(default_factory=lambda: {"host": "127.0.0.1", "protos": rpc})


def send(stream: BinaryIO, message: Any) -> None:
    data = message.SerializeToString()
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message; None when the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    data = stream.read(_LENGTH.unpack(head)[0])
    return rpc.StreamingMessage.FromString(data)


async def answer(message: Any) -> Any:
    """What the library says to one message of the host."""
    import azure_functions_runtime as runtime

    handlers = {
        "worker_init_request": (runtime.worker_init_request, "worker_init_response"),
        "function_environment_reload_request": (
            runtime.function_environment_reload_request, "function_environment_reload_response",
        ),
        "functions_metadata_request": (runtime.functions_metadata_request, "function_metadata_response"),
        "function_load_request": (runtime.function_load_request, "function_load_response"),
        "invocation_request": (runtime.invocation_request, "invocation_response"),
    }  # fmt: skip
    handle, reply = handlers[message.WhichOneof("content")]
    return rpc.StreamingMessage(request_id=message.request_id, **{reply: await handle(Request(message))})


async def serve() -> None:
    import azure_functions_runtime as runtime

    # What the app prints must not get between the messages.
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    runtime.start_threadpool_executor()
    loop, tasks, writing = asyncio.get_running_loop(), set(), asyncio.Lock()

    async def work(message: Any) -> None:
        reply = await answer(message)
        async with writing:
            send(stdout, reply)

    while (message := await loop.run_in_executor(None, receive, stdin)) is not None:
        if message.WhichOneof("content") == "worker_terminate":
            break
        task = loop.create_task(work(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(serve())
