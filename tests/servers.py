"""A server of one file for tests, which misbehaves as it is told."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """What a server has, and how it behaves.

    Attributes:
        content: the bytes of ``/file``.
        etag, modified: what it says of them, where it says so.
        length: what it says that there are; None: nothing, and the connection's end is the end.
        ranges: whether it honours a range; ``shifted`` honours another one.
        cuts: after how many bytes each answer breaks off, in turn; then none does.
        answers: status codes given first, in turn, and ``once`` headers that go with them.
        headers: sent with the file.
        seconds: of each 64 kB.
        asked: the requests' headers.
    """

    content: bytes
    etag: str = '"one"'
    modified: str = ""
    length: Any = "true"
    ranges: Any = True
    chunked: bool = False
    cuts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    asked: list[dict[str, str]] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(served):
    """Serve in a thread; ``served.address`` is where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            _answer(self, served)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}/file"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request, served):
    request.close_connection = True
    served.asked.append(dict(request.headers))
    if request.path == "/moved":
        _send_head(request, 302, {"Location": "/file", "Content-Length": "0"})
        return
    if request.path == "/around":
        _send_head(request, 302, {"Location": "/around", "Content-Length": "0"})
        return
    if served.answers:
        _send_head(request, served.answers.pop(0), {"Content-Length": "0"})
        return
    start, status = _start(request, served)
    if start is None:
        size = f"bytes */{len(served.content)}"
        _send_head(request, 416, {"Content-Range": size, "Content-Length": "0"})
        return
    body = served.content[start:]
    _send_head(request, status, _headers(served, start, status, len(body)))
    _send_body(request, served, body)


def _start(request, served):
    """Return where to begin, None where nothing is left, and the status."""
    wanted = request.headers.get("Range", "")
    condition = request.headers.get("If-Range")
    same = condition in {None, served.etag, served.modified}
    if not (wanted and served.ranges and same):
        return 0, 200
    start = int(wanted.removeprefix("bytes=").partition("-")[0])
    if start >= len(served.content):
        return None, 416
    return max(start - 7, 0) if served.ranges == "shifted" else start, 206


def _headers(served, start, status, size):
    headers = {"ETag": served.etag, "Last-Modified": served.modified}
    if status == 206:
        total = len(served.content)
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
    if served.chunked:
        headers["Transfer-Encoding"] = "chunked"
    elif served.length is not None:
        headers["Content-Length"] = str(size if served.length == "true" else served.length)
    return {k: v for k, v in {**headers, **served.headers}.items() if v}


def _send_head(request, status, headers):
    request.send_response(status)
    for name, value in {"Connection": "close", **headers}.items():
        request.send_header(name, value)
    request.end_headers()


def _send_body(request, served, body):
    cut = served.cuts.pop(0) if served.cuts else None
    whole = cut is None
    body = body if whole else body[:cut]
    try:
        for at in range(0, len(body), 1 << 16):
            piece = body[at : at + (1 << 16)]
            frame = b"%x\r\n%s\r\n" % (len(piece), piece) if served.chunked else piece
            request.wfile.write(frame)
            time.sleep(served.seconds)
        if served.chunked and whole:
            request.wfile.write(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
