"""A package registry on this machine: serves files, with ranges, and breaks on demand."""

import io
import tarfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def tarball(files, links=()):
    """A .tgz of files by path; links are (path, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for path, target in links:
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return out.getvalue()


def debian(files):
    """A .deb whose data archive holds files by path."""
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": b"odd", "data.tar.gz": tarball(files)}
    out = b"!<arch>\n"
    for name, data in parts.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


class Site:
    """What is served, and how it breaks.

    Attributes:
        files: Bytes by path.
        cut: Bytes after which an answer breaks off, one for each answer to come.
        ranges: Whether partial answers are given.
        redirect: Where every request is sent instead.
        lie: A Content-Length that is told instead of the true one.
        pause: Seconds before each kilobyte.
        seen: (path, range) of each request.
    """

    def __init__(self):
        self.files, self.cut, self.seen = {}, [], []
        self.ranges, self.redirect, self.lie, self.pause, self.status = True, None, None, 0.0, []
        self.address = ""


@contextmanager
def serving():
    """A site on the loopback, for as long as the block lasts."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            site.seen.append((self.path, asked))
            if site.redirect:
                self.answer(302, {"Location": site.redirect, "Content-Length": "0"})
            elif site.status:
                self.answer(site.status.pop(0), {"Content-Length": "0"})
            elif self.path not in site.files:
                self.answer(404, {"Content-Length": "0"})
            else:
                self.give(site.files[self.path], asked)

        def give(self, data, asked):
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and site.ranges else 0
            head = {"Content-Length": str(site.lie or len(data) - start)}
            if start:
                head["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.answer(206 if start else 200, head)
            body = data[start:]
            body = body[: site.cut.pop(0)] if site.cut else body
            for at in range(0, len(body), 1024):
                time.sleep(site.pause)
                self.wfile.write(body[at : at + 1024])

        def answer(self, status, head):
            self.send_response(status)
            for key, value in head.items():
                self.send_header(key, value)
            self.end_headers()

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """A client that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
