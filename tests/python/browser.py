"""A real browser for the tests of pages: Chromium, spoken to through two pipes."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

from harness import check

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
).split()


def chromium():
    """The browser of this machine; says so where there is none."""
    program = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if not program:
        print("skipped: no Chromium here (Debian, Ubuntu: the package chromium)", flush=True)
    return program


class Browser:
    """A headless Chromium, spoken to through two pipes."""

    def __init__(self, program, folder, pictures=None):
        (their_in, self.out), (self.into, their_out) = os.pipe(), os.pipe()

        def pipes():
            # The browser reads at 3 and writes at 4; first out of the way, as they may be just there.
            a, b = os.dup(their_in), os.dup(their_out)
            high = [os.dup2(a, 60), os.dup2(b, 61)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        profile = folder / "profile"
        profile.mkdir()
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=pipes, close_fds=False, **quiet)
        os.close(their_in)
        os.close(their_out)
        self.rest, self.number, self.heard, self.session = b"", 0, [], None
        self.pictures = pictures

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                check("error" not in answer, f"{method}: {answer.get('error')}")
                return answer["result"]
            self.heard.append(answer)

    def next(self):
        while b"\0" not in self.rest:
            more = os.read(self.into, 1 << 20)
            check(more, "the browser is gone")
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, address, width, dark=False, before=""):
        """Opens a file, without a network, or an address in a new page of a width; `before` is run ahead of its scripts."""
        self.session, self.heard = None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.ask(f"{domain}.enable")
        is_file = isinstance(address, Path)
        if is_file:
            self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
        if before:
            self.ask("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.ask("Page.navigate", url=address.as_uri() if is_file else address)
        self.loaded()

    def loaded(self):
        """Waits until the page has been loaded."""
        while not any(message.get("method") == "Page.loadEventFired" for message in self.heard):
            self.heard.append(self.next())

    def value(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        check("exceptionDetails" not in result, f"{expression}: {result.get('exceptionDetails')}")
        return result["result"].get("value")

    def shoot(self, name):
        if self.pictures:
            self.pictures.mkdir(exist_ok=True)
            data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            (self.pictures / f"{name}.png").write_bytes(base64.b64decode(data))

    def end(self):
        self.process.kill()
        self.process.wait()
