"""A server for tests: plain sockets on the loopback, so that it can misbehave at will."""

import contextlib
import socket
import threading
import time


class Server:
    """Answers each connection by a function of (request text, connection); keeps what was asked."""

    def __init__(self, answer):
        self.asked = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def at(self):
        return f"127.0.0.1:{self.port}"

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                request = b""
                while b"\r\n\r\n" not in request and (more := connection.recv(65536)):
                    request += more
                self.asked.append(request.decode("latin-1"))
                self._answer(self.asked[-1], connection)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ok(body=b"hello", **headers):
    """A whole response."""
    lines = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None)
    return b"HTTP/1.1 200 OK\r\n" + head.encode() + b"\r\n" + body


def onward(where, code=302):
    """A redirect."""
    return f"HTTP/1.1 {code} On\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()


def always(*responses):
    """Gives each of these once, the last for ever."""
    left = list(responses)

    def answer(request, connection):
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return answer


def dripping(piece, times, every):
    """Sends a little at a time."""

    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(times):
            connection.sendall(piece)
            time.sleep(every)

    return answer
