"""A hub on 127.0.0.1 that speaks Hugging Face's protocol as far as a client asks for a model and its files, or
ModelScope's."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COMMIT = "a" * 40


@dataclass
class LocalHub:
    """Models by name, each a table of its files; those of `gated` give no file away. `asked` lists all requests."""

    models: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


Reply = tuple[int, dict[str, str], bytes]  # status, headers, body


@contextmanager
def local_hub(hub: LocalHub, speak: Callable[[LocalHub, str], Reply] | None = None) -> Iterator[LocalHub]:
    """The hub at its `url`, as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def answer(self, with_body: bool) -> None:
            path = urlsplit(self.path).path
            hub.asked.append((path, self.headers.get("Authorization")))
            status, headers, body = (speak or huggingface)(hub, self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def modelscope(hub: LocalHub, address: str) -> Reply:
    """ModelScope's answer, by its public client: the list of a model's files, and one of them, with their digests."""
    path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
    name = next((each for each in hub.models if f"/api/v1/models/{each}" in path), None)
    if name is None:
        return 404, {}, json.dumps({"Code": 10010205001, "Message": "record not found", "Success": False}).encode()
    if name in hub.gated:
        return 403, {}, json.dumps({"Code": 10010101006, "Message": "no permission", "Success": False}).encode()
    files = hub.models[name]
    if path.endswith("/repo"):
        body = files.get(query["FilePath"][0])
        return (404, {}, b"{}") if body is None else (200, {"Content-Type": "application/octet-stream"}, body)
    rows = [
        {"Path": file, "Name": file, "Type": "blob", "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest()}
        for file, body in files.items()
    ]
    data = {"Files": [{"Path": "assets", "Name": "assets", "Type": "tree", "Size": 0}, *rows]}
    return 200, {"Content-Type": "application/json"}, json.dumps({"Code": 200, "Data": data, "Success": True}).encode()


def huggingface(hub: LocalHub, address: str) -> Reply:
    """Hugging Face's answer; a model that is not there is answered with 401, as the real hub does."""
    path = urlsplit(address).path
    name = next((each for each in hub.models if f"/{each}/" in f"{path}/"), None)
    if name is None:
        return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."}, b"{}"
    files = hub.models[name]
    if path.startswith(f"/api/models/{name}/tree/"):
        rows = [{"type": "file", "path": file, "size": len(body), "oid": etag(body)} for file, body in files.items()]
        return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()
    if path.startswith("/api/models/"):
        siblings = [{"rfilename": file, "size": len(body), "blobId": etag(body)} for file, body in files.items()]
        gated = "manual" if name in hub.gated else False
        info = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "gated": gated, "siblings": siblings}
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
    if name in hub.gated:
        return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {name} is restricted"}, b"{}"
    body = files.get(path.rpartition("/")[2])
    if body is None:
        return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
    return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(body)}"'}, body


def etag(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()
