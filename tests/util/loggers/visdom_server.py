"""A stand-in for a visdom server on this machine: records what is posted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class VisdomServer(ThreadingHTTPServer):
    """Answers every post with 200 unless ``status`` says another; waits for ``gate`` before it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def windows(self) -> dict[str, dict[str, Any]]:
        """The last message to every window."""
        return {post["win"]: post for path, post in self.posts if path in ("/events", "/update")}


class _Handler(BaseHTTPRequestHandler):
    server: VisdomServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, json.loads(body)))
        self.server.gate.wait(30)
        answer = b"true"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Nothing: the test's output is not the place."""


@contextmanager
def serving() -> Iterator[VisdomServer]:
    server = VisdomServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port that nobody listens on."""
    server = VisdomServer()
    port = server.port
    server.server_close()
    return port
