"""A headless Chromium, spoken to through a pipe: open pages, run code, press, drag, touch."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from fcntl import F_DUPFD_CLOEXEC, fcntl
from select import select

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-pipe"
).split()
# The browser reads commands from descriptor 3, and answers on 4. This is no preexec_fn, which would
# run after a fork, of which JAX warns.
CONNECT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE = 60


def find():
    """Return the browser's path: that of $TINYNN_CHROMIUM, or one on the path, or None."""
    named = os.environ.get("TINYNN_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser with one page. ``errors`` and ``requests``: what the page threw and loaded."""

    def __init__(self, path, profile):
        ends = [*os.pipe(), *os.pipe()]
        to_browser, self._to, self._from, from_browser = [
            fcntl(end, F_DUPFD_CLOEXEC, 10) for end in ends
        ]
        for end in ends:
            os.close(end)

        self._process = subprocess.Popen(
            [
                *(sys.executable, "-S", "-c", CONNECT, str(to_browser), str(from_browser)),
                *(path, *OPTIONS, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._reader = os.fdopen(self._from, "rb", buffering=0)
        self._rest, self._ids, self._session = b"", itertools.count(1), None
        self.errors, self.requests, self._loaded = [], [], False
        try:
            self._attach()
        except OSError as error:
            self.close()
            raise RuntimeError(str(error)) from error
        except RuntimeError:
            self.close()
            raise

    def _attach(self):
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        """Call a method of the DevTools protocol; return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._rest:
            if not select([self._reader], [], [], PATIENCE)[0]:
                raise RuntimeError(f"The browser has said nothing for {PATIENCE} seconds.")
            piece = self._reader.read(1 << 16)
            if not piece:
                raise RuntimeError("The browser has closed its pipe.")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        event = json.loads(message)
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", details).get("description", str(details)))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        return event

    def open(self, url, width=1000, height=1200, dark=False, touch=False):
        """Load a page on a screen of that size."""
        self.errors, self.requests, self._loaded = [], [], False
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", features=[scheme, still])
        self.send("Page.navigate", url="about:blank")
        while not self._loaded:
            self._receive()
        self._loaded = False
        self.send("Page.navigate", url=url)
        while not self._loaded:
            self._receive()

    def run(self, code):
        """Return the value of a JavaScript expression; a promise is awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def place(self, selector, index=0):
        """Return the middle of an element, in pixels of the window, scrolled into view."""
        return self.run(
            f"(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{index}];"
            "e.scrollIntoView({block: 'center', inline: 'nearest'});"
            "const r = e.getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )

    def press(self, key, text=None):
        """Press and release a key, by its name in JavaScript."""
        code = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9,
                "Enter": 13, "Escape": 27, "Home": 36, "End": 35, " ": 32}.get(key, 0)  # fmt: skip
        text = "\r" if key == "Enter" else text
        extra = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, **(extra if kind == "keyDown" else {}),
            )  # fmt: skip

    def drag(self, start, end, touch=False, steps=8):
        """Press at ``start``, move to ``end`` and let go, with a mouse or a finger."""
        path = [
            (start[0] + (end[0] - start[0]) * i / steps, start[1] + (end[1] - start[1]) * i / steps)
            for i in range(steps + 1)
        ]
        if touch:
            for i, (x, y) in enumerate(path):
                kind = "touchMove" if i else "touchStart"
                self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
            self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        for i, (x, y) in enumerate(path):
            kind = "mouseMoved" if i else "mousePressed"
            self._mouse(kind, x, y)
        self._mouse("mouseReleased", *path[-1])

    def click(self, selector, index=0):
        """Click on the middle of an element."""
        x, y = self.place(selector, index)
        self._mouse("mousePressed", x, y)
        self._mouse("mouseReleased", x, y)

    def _mouse(self, kind, x, y):
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )

    def picture(self, path, whole=False):
        """Save what the page looks like, as PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))

    def close(self):
        """End the browser."""
        self._process.terminate()
        self._process.wait(10)
        os.close(self._to)
        self._reader.close()


if __name__ == "__main__":
    print(find() or "")
