"""The peer's end: a tool server that takes a picture as base64 JPEG and gives its crop so.

    python benchmarks/_transport_server.py

uvicorn with keep-alive on the loopback, one process, decoding in its thread pool; prints its port.
"""

from __future__ import annotations

import base64
import io
import json
import socket

import PIL.Image
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def cut(body: bytes) -> bytes:
    given = json.loads(body)
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(given["image"])))
    out = io.BytesIO()
    picture.crop(tuple(given["box"])).save(out, format="JPEG")
    return json.dumps({"image": base64.b64encode(out.getvalue()).decode()}).encode()


async def crop(request: Request) -> Response:
    return Response(await run_in_threadpool(cut, await request.body()))


async def null(request: Request) -> Response:
    await request.body()
    return Response(b"{}")


def main() -> None:
    routes = [Route("/crop", crop, methods=["POST"]), Route("/null", null, methods=["POST"])]
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    # Accepted sockets inherit it; without it every answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(Starlette(routes=routes), log_level="error", timeout_keep_alive=600)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
