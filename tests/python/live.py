#!/usr/bin/env python3
"""The page of `overnight watch` in a real browser: what is kept comes to it by itself, and it stays small, on a phone and on a desk.

usage: live.py BINARY [FOLDER for pictures]
"""

import base64
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from browser import Browser, chromium
from harness import KEY, SECRET, alive, check, few, hold, script, wait_until

PICTURES = Path(sys.argv.pop()) if len(sys.argv) > 2 else None
# Where axe-core is kept between runs: beside the virtual environment.
TOOLS = Path(sys.prefix).parent / "page-tools"
AXE = "axe-core@4.14.0"
WIDTHS = {"phone": 390, "desk": 1280}

# A source of events that the test itself speaks through.
FAKE_SOURCE = """
window.EventSource = class extends EventTarget {
  constructor(address) { super(); this.readyState = 1; window.source = this; window.opened = (window.opened ?? 0) + 1; }
  close() { this.readyState = 2; }
  say(type, data) { this.dispatchEvent(new MessageEvent(type, { data })); }
};
window.EventSource.CLOSED = 2;
"""


class Place:
    """A recorder, its cloud, and a page that looks on."""

    def __init__(self, product):
        self.product = product
        self.url = product.simulate("--history", "20h", "--devices", "70", "--rate", "30")
        self.dir = product.folder / "night"
        cloud = ["--project", "demo", "--api-url", self.url, "--dir", self.dir]
        product.run("backfill", "--since", "20h", *cloud, codes=(0, 3))
        self.cloud = cloud
        self.record()
        self.watch = product.start("watch", "--page", "127.0.0.1:0", "--dir", self.dir, "--tz", "Europe/Oslo")
        self.page = wait_until("the page's address", lambda: self.watch.out.read_text().partition("\n")[0]).split()[-1] + "/"
        wait_until("the devices", lambda: "/device?" in self.get("") and "are being read" not in self.get(""))

    def record(self):
        self.recorder = self.product.start("record", *self.cloud)

    def get(self, path):
        alive(self.watch)
        with urllib.request.urlopen(self.page + path, timeout=10) as answer:
            return answer.read().decode()

    def device(self):
        return self.get("").split('href="/device?')[1].split('"')[0].replace("&amp;", "&")

    def ask_cloud(self, method, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method=method)
        basic = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def says(browser, text, seconds):
    wait_until(f"{text!r} on the page", lambda: browser.value(f"document.body.textContent.includes({json.dumps(text)})"), seconds)


def what_is_kept_is_on_an_open_page_within_five_seconds(browser, place):
    device = place.ask_cloud("POST", "/emulator/v2/projects/demo/devices", {"type": "temperature", "labels": {"name": "Quick one"}})
    own = device["name"].replace("projects/", "/emulator/v2/projects/", 1)
    tell = lambda value: place.ask_cloud("POST", f"{own}:publish", {"temperature": {"value": value}})
    tell(1)
    wait_until("the new device", lambda: "Quick one" in place.get("?q=Quick") or "emu" in place.get("?q=emu"), 20)
    browser.open(place.page + "?q=emu", 1280)
    # Both are up to date by then.
    slowest = 0
    for value in (71.5, 72.5, 73.5):
        begun = time.monotonic()
        tell(value)
        says(browser, f"{value}\u00a0°C", 8)
        slowest = max(slowest, time.monotonic() - begun)
    print(f"        the slowest of three took {slowest:.1f} s", flush=True)
    check(slowest < 5, f"an event took {slowest:.1f} s")


def a_killed_recorder_is_red_on_an_open_page_within_35_seconds(browser, place):
    browser.open(place.page, 390)
    says(browser, "RECORDING", 10)
    place.recorder.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    red = "document.getElementById('state').textContent === 'NOT RECORDING' && document.getElementById('state').className.includes('bad')"
    wait_until("red", lambda: browser.value(red), 35)
    print(f"        {time.monotonic() - begun:.1f} s", flush=True)
    check(browser.value("document.title").startswith("NOT RECORDING"), "the tab says it too")
    browser.shoot("killed-phone")
    place.recorder.wait()
    place.record()
    wait_until("green", lambda: browser.value("document.getElementById('state').className.includes('good')"), 35)


def a_page_that_hears_nothing_greys_and_says_so_and_wakes_again(browser, place):
    browser.open(place.page, 1280)
    says(browser, "RECORDING", 10)
    time.sleep(2.5)
    place.watch.send_signal(signal.SIGSTOP)
    try:
        wait_until("grey", lambda: browser.value("document.body.className === 'stale'"), 16)
        text = browser.value("document.getElementById('stale').textContent")
        check(text.startswith("heard nothing for 1"), text)
        browser.shoot("stale-desk")
    finally:
        place.watch.send_signal(signal.SIGCONT)
    wait_until("awake", lambda: browser.value("document.body.className === ''"), 16)


def a_hidden_tab_closes_its_stream_and_comes_back(browser, place):
    browser.open(place.page, 1280, before=FAKE_SOURCE)
    hide = "Object.defineProperty(document, 'hidden', {{ value: {0}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'))"
    browser.value(hide.format("true"))
    found = browser.value("[opened, source.readyState]")
    check(found == [1, 2], f"still open: {found}")
    browser.value(hide.format("false"))
    found = browser.value("[opened, source.readyState]")
    check(found == [2, 1], f"not open again: {found}")


def a_tab_stays_small_after_fourteen_thousand_updates(browser, place):
    stream = urllib.request.urlopen(place.page + "live", timeout=10)
    events = {}
    while "order" not in events:
        line = stream.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            events[name] = line[6:]
    stream.close()
    browser.open(place.page, 390, before=FAKE_SOURCE)
    browser.value(f"window.sample = {json.dumps(events)}; source.say('row', sample.row); source.say('order', sample.order)")
    for _ in range(144):
        browser.value("""for (let i = 0; i < 100; i++) {
          window.n = (window.n ?? 0) + 1;
          source.say('part', sample.part.replace(/<span id="now">[^<]*/, '<span id="now">' + n));
          source.say('row', sample.row.replaceAll('</th>', ' ' + n + '</th>'));
          source.say('order', n % 2 ? sample.order.split(' ').reverse().join(' ') : sample.order);
        }""")
    browser.ask("Performance.enable")
    browser.ask("HeapProfiler.collectGarbage")
    found = {metric["name"]: metric["value"] for metric in browser.ask("Performance.getMetrics")["metrics"]}
    heap, nodes = found["JSHeapUsedSize"] / 1e6, found["Nodes"]
    print(f"        {browser.value('n'):.0f} updates of {events['row'].count('<tr')} rows: {heap:.2f} MB, {nodes:.0f} nodes", flush=True)
    check(browser.value("n") == 14400 and browser.value("document.querySelectorAll('#rows tr').length") == 50, "updates were lost")
    check(heap < 5 and nodes < 5000, f"{heap:.1f} MB, {nodes} nodes")


def axe():
    """The text of axe-core; none where it cannot be had."""
    script = TOOLS / "node_modules/axe-core/axe.min.js"
    if not script.exists() and shutil.which("npm"):
        TOOLS.mkdir(parents=True, exist_ok=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["npm", "install", "--prefix", TOOLS, "--no-audit", "--no-fund", AXE], check=False, timeout=60, **quiet)
    return script.read_text() if script.exists() else None


def everybody_can_read_and_use_it(browser, place):
    text = axe()
    if text is None:
        print("        skipped: no axe-core here, and no npm to get it", flush=True)
        return
    device = place.device()
    pages = {"home": "", "device": f"device?{device}", "numbers": f"numbers?{device}&topic=temperature"}
    for name, path in pages.items():
        for kind, width in WIDTHS.items():
            for dark in (False, True):
                browser.open(place.page + path, width, dark)
                time.sleep(1)
                browser.value(text + "; axe.run().then(found => { window.found = found.violations.map(v => [v.id, v.nodes[0].html]) }); 0")
                wait_until("axe", lambda: browser.value("Boolean(window.found)"), 20)
                found = browser.value("window.found")
                check(not found, f"{name}, {kind}, {'dark' if dark else 'light'}: {few(found)}")
                wide = browser.value("document.documentElement.scrollWidth")
                check(wide <= width, f"{name} is {wide} wide on {width}")
                browser.shoot(f"{name}-{kind}-{'dark' if dark else 'light'}")


def it_asks_one_host_and_breaks_no_rule_of_its_own(browser, place):
    for path in ("", f"device?{place.device()}"):
        browser.open(place.page + path, 1280)
        time.sleep(1.5)
        browser.value("0")
        sent = [m["params"]["request"]["url"] for m in browser.heard if m.get("method") == "Network.requestWillBeSent"]
        # What the browser brings along for its own buttons is asked of nobody.
        others = [url for url in sent if not url.startswith((place.page, "data:"))]
        check(sent and not others, f"it asks {few(others)}")
        wrong = [m["params"]["entry"]["text"] for m in browser.heard if m.get("method") == "Log.entryAdded"]
        check(not wrong, few(wrong))


def the_keyboard_is_enough(browser, place):
    browser.open(place.page, 1280, before=FAKE_SOURCE)
    tab = lambda: [browser.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9) for kind in ("keyDown", "keyUp")]
    met = []
    for _ in range(9):
        tab()
        met.append(browser.value("document.activeElement.getAttribute('name') ?? document.activeElement.textContent.slice(0, 9)"))
    check(met[:5] == ["q", "sort", "type", "label", "Show"], met)
    link = browser.value("document.activeElement.href")
    check("/device?" in link, f"{met}, then {link}")
    row = browser.value("document.activeElement.closest('tr').outerHTML")
    browser.value(f"source.say('row', {json.dumps(row)}.replace('</th>', ' changed</th>'))")
    check(browser.value("document.activeElement.href") == link, "a row that changes takes the focus along")
    browser.heard = []
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    wait_until("the device's page", lambda: browser.value("location.pathname") == "/device", 10)


def it_needs_no_script_and_prints(browser, place):
    browser.open(place.page, 390)
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.heard = []
    browser.ask("Page.reload")
    browser.loaded()
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    check(browser.value("document.querySelectorAll('#rows tr').length") == 50, "no rows without a script")
    check("content=\"30\"" in place.get(""), "nobody loads it anew")
    pdf = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    check(pdf.startswith(b"%PDF") and len(pdf) > 10_000, f"{len(pdf)} bytes on paper")
    if PICTURES:
        (PICTURES / "paper.pdf").write_bytes(pdf)


RULES = [
    it_asks_one_host_and_breaks_no_rule_of_its_own,
    what_is_kept_is_on_an_open_page_within_five_seconds,
    everybody_can_read_and_use_it,
    a_tab_stays_small_after_fourteen_thousand_updates,
    a_hidden_tab_closes_its_stream_and_comes_back,
    the_keyboard_is_enough,
    it_needs_no_script_and_prints,
    a_page_that_hears_nothing_greys_and_says_so_and_wakes_again,
    a_killed_recorder_is_red_on_an_open_page_within_35_seconds,
]


def scenario(product):
    program = chromium()
    if not program:
        return 0, 0
    place = Place(product)
    browser = Browser(program, product.folder, PICTURES)
    try:
        return hold(RULES, browser, place)
    finally:
        browser.end()


if __name__ == "__main__":
    script(scenario, seconds=300)
