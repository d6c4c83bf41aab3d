"""A Chromium without a window, for the checks of pages, driven by its own protocol (CDP) over a pipe: no package is needed."""

import base64
import json
import math
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {1280: 900, 390: 844}
"""A desk's and a phone's window: height by width."""


def program() -> str | None:
    """The browser of this machine."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A Chromium without a window, and one page in it."""

    def __init__(self, program: str, profile: Path):
        (read, self.write), (self.read, write) = os.pipe(), os.pipe()
        line = (f'exec "$0" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run '
                f'--user-data-dir="$1" --remote-debugging-pipe about:blank 3<&{read} 4>&{write}')
        self.process = subprocess.Popen(["bash", "-c", line, program, profile], pass_fds=(read, write), start_new_session=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.number, self.session, self.rest, self.events = 0, None, b"", []
        page = next(target for target in self.ask("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{part}.enable")

    def ask(self, method: str, **parameters) -> dict:
        """The answer to a command of the protocol. Events that come in between are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 120
        while True:
            while b"\0" in self.rest:
                line, self.rest = self.rest.split(b"\0", 1)
                answer = json.loads(line)
                if answer.get("id") == self.number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    return answer["result"]
                self.events.append(answer)
            if not select.select([self.read], [], [], max(0, until - time.monotonic()))[0]:
                raise RuntimeError(f"the browser did not answer to {method}")
            part = os.read(self.read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.rest += part

    def value(self, expression: str):
        """What a JavaScript expression is in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression[:60]}: {answer['exceptionDetails']['exception'].get('description', '')[:200]}")
        return answer["result"].get("value")

    def wait(self) -> None:
        """Until the page computes nothing."""
        until = time.monotonic() + 120
        while self.value("document.body?.dataset.state") != "idle":
            if time.monotonic() > until:
                raise RuntimeError("the page did not become idle")
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """With the mouse, where the element is."""
        x, y = self.value(f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}}); "
                          "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, selector: str) -> None:
        """With the space bar, where the focus is."""
        self.value(f"document.querySelector({selector!r}).focus()")
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=" ", code="Space", text=" ", windowsVirtualKeyCode=32)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space", windowsVirtualKeyCode=32)

    def resize(self, width: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=WIDTHS[width], deviceScaleFactor=1,
                 mobile=width < 700)

    def picture(self, path: Path) -> None:
        """The whole page, not only what fits into the window."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        width, height = self.value("[innerWidth, innerHeight]")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=math.ceil(size["height"]), deviceScaleFactor=1,
                 mobile=width < 700)
        answer = self.ask("Page.captureScreenshot")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self, only_errors: bool = False) -> list[str]:
        """What was said on the console (or the errors of it), and what was asked of a network."""
        found = []
        for event in self.events:
            name, about = event.get("method"), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                found.append(about["exceptionDetails"]["exception"].get("description", "an exception"))
            if name == "Runtime.consoleAPICalled" and not (only_errors and about["type"] not in ("error", "assert")):
                found.append(f"console: {about['args'][0].get('value') if about['args'] else ''}")
            if name == "Log.entryAdded":
                found.append(about["entry"]["text"])
            if name == "Network.requestWillBeSent" and not about["request"]["url"].startswith(("file:", "data:")):
                found.append(f"asks for {about['request']['url'][:80]}")
        return found

    def close(self) -> None:
        """Also its children."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.read)
        os.close(self.write)
