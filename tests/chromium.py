"""Headless Chromium over its DevTools protocol: visit pages, read the console, run JavaScript, take screenshots."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
TRIES = 300  # of a tenth of a second


class Page:
    """One tab. `complaints` are the console's errors and warnings and what was not loaded; `asked` all addresses."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def listen(self) -> None:
        async for message in self.socket:
            answer = message.json()
            if "id" in answer:
                self._answers.pop(answer["id"]).set_result(answer)
            else:
                self._event(answer["method"], answer["params"])

    def _event(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
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

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        reply = await asyncio.wait_for(answer, 60)
        assert "error" not in reply, reply
        return dict(reply["result"])

    async def visit(self, address: str) -> None:
        self._loaded.clear()
        await self.send("Page.navigate", url=address)
        await asyncio.wait_for(self._loaded.wait(), 60)

    async def follow(self, link: str) -> None:
        """Click on the first element of a selector, which leads to another page."""
        self._loaded.clear()
        await self.run(f"document.querySelector('{link}').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
        await asyncio.wait_for(self._loaded.wait(), 60)

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        for _ in range(TRIES):
            if value := await self.run(script):
                return value
            await asyncio.sleep(0.1)
        raise AssertionError(f"never true: {script}")

    async def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The window's size, and whether the reader prefers it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def shot(self, path: Path) -> None:
        data = (await self.send("Page.captureScreenshot"))["data"]
        path.write_bytes(base64.b64decode(data))


@asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """A browser with a profile of its own, gone at the end."""
    program = shutil.which("chromium")
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            async with _page(Path(profile)) as page:
                yield page
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def _page(profile: Path) -> AsyncIterator[Page]:
    port_file = profile / "DevToolsActivePort"
    for _ in range(TRIES):
        if port_file.exists() and port_file.read_text().count("\n"):
            break
        await asyncio.sleep(0.1)
    port = port_file.read_text().split("\n")[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = await answer.json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        async with session.ws_connect(address, max_msg_size=0) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.send(f"{domain}.enable")
            yield page
            listening.cancel()
