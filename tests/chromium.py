"""Headless Chromium over its DevTools protocol: visit pages, read the console, run JavaScript, take screenshots."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
TRIES = 300  # of a tenth of a second
PAUSE_S = 0.1
LIMIT_S = 60


class Page:
    """One tab. `complaints` are the console's errors and warnings and what did not load; `requested` all addresses."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, runner: asyncio.Runner) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._socket, self._runner = socket, runner
        self._numbers = itertools.count(1)
        self._loaded = False

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        command = {"id": next(self._numbers), "method": method, "params": parameters}
        answer = self._runner.run(asyncio.wait_for(self._answer(command), LIMIT_S))
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send_json(command)
        while (message := await self._message()).get("id") != command["id"]:
            pass
        return message

    async def _message(self) -> dict[str, Any]:
        """The next message: an answer, or an event, which is noted."""
        message = dict(await self._socket.receive_json())
        if "method" in message:
            self._event(message["method"], message["params"])
        return message

    async def _load(self) -> None:
        while not self._loaded:
            await self._message()

    def _event(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Network.loadingFailed":
                self.complaints.append(params["errorText"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(params["entry"]["text"])

    def visit(self, address: str) -> None:
        self._loaded = False
        self.send("Page.navigate", url=address)
        self._runner.run(asyncio.wait_for(self._load(), LIMIT_S))

    def follow(self, link: str) -> None:
        """Click on the first element of a selector, which leads to another page."""
        self._loaded = False
        self.run(f"document.querySelector('{link}').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
        self._runner.run(asyncio.wait_for(self._load(), LIMIT_S))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        for _ in range(TRIES):
            if value := self.run(script):
                return value
            time.sleep(PAUSE_S)
        raise AssertionError(f"never true: {script}")

    def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The window's size, and whether the reader prefers it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def shot(self, path: Path) -> None:
        data = self.send("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium() -> Iterator[Page]:
    """A browser with a profile of its own, gone at the end."""
    program = shutil.which("chromium")
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, asyncio.Runner() as runner:
        connections = AsyncExitStack()
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(profile))
            page = Page(runner.run(connections.enter_async_context(_connection(port))), runner)
            for domain in ("Page", "Runtime", "Network", "Log"):
                page.send(f"{domain}.enable")
            yield page
        finally:
            runner.run(connections.aclose())
            process.kill()
            process.wait()


def _port(profile: Path) -> str:
    """The port that the browser has written into its profile."""
    port_file = profile / "DevToolsActivePort"
    for _ in range(TRIES):
        if port_file.exists() and port_file.read_text().count("\n"):
            break
        time.sleep(PAUSE_S)
    return port_file.read_text().split("\n")[0]


@asynccontextmanager
async def _connection(port: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = await answer.json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        async with session.ws_connect(address, max_msg_size=0) as socket:
            yield socket
