"""A hub on this machine that speaks what the fetching needs: `resolve` addresses, redirects, and named digests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """What it serves, by path, what it claims, and what it was asked."""

    files: dict[str, bytes]
    digest: str | None = None  # the digest that it names; by default the right one
    cut: bool = False  # end each body in its middle
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving_hub(hub: Hub) -> Iterator[str]:
    """The address of a running hub."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            content = hub.files.get(self.path.removeprefix("/blob"))
            if content is None:
                self.send_error(404)
                return
            if not self.path.startswith("/blob"):
                self.send_response(302)
                self.send_header("Location", f"/blob{self.path}")
                self.send_header("X-Linked-Etag", f'"{hub.digest or hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if hub.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
