#!/usr/bin/env python3
"""The page of `overnight report` opens from disk in a browser without a network, on a phone, a desk and on paper.

usage: report.py BINARY [FOLDER for pictures]
"""

import base64
import json
import sys
import urllib.parse
from pathlib import Path

from browser import Browser, chromium
from harness import check, hold, script

PICTURES = Path(sys.argv.pop()) if len(sys.argv) > 2 else None
EVIL = "<script>alert(1)</script> & \"Kühlraum\" <b onmouseover='alert(2)'>"
WIDTHS = {"phone": 390, "desk": 1280}


# The least contrast of a text with the ground that it stands on.
CONTRAST = """(() => {
  const rgb = text => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [[r, .2126], [g, .7152], [b, .0722]].reduce((sum, [part, weight]) => {
    const one = part / 255;
    return sum + weight * (one <= .03928 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4);
  }, 0);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let worst = { ratio: 99 };
  for (const element of document.querySelectorAll('main *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('svg')) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst.ratio) worst = { ratio, text: element.outerHTML.slice(0, 90) };
  }
  return worst;
})()"""


def recording(product):
    """A recording with a device of a wicked name, a gap, and faults; and its page."""
    url = product.simulate("--history", "8h", "--devices", "26", "--rate", "100", "--session-life", "2s", "--junk", "0.02")
    folder = product.folder / "recording"
    folder.mkdir()
    (folder / "overnight.toml").write_text('index_delay = "1500ms"\n')
    cloud = ["--project", "demo", "--api-url", url, "--dir", folder]
    product.run("backfill", "--since", "8h", *cloud, codes=(0, 3))
    product.run("record", "--no-backfill", "--for", "5s", *cloud, codes=(0, 3))
    wicked = {
        "eventId": "wicked", "eventType": "temperature", "targetName": f"projects/demo/devices/{EVIL.replace('/', '%')}",
        "timestamp": "2026-11-24T00:00:00Z", "data": {"temperature": {"value": 20.5, "updateTime": "2026-11-24T00:00:00Z"}},
    }
    status = json.loads(product.run("status", "--dir", folder, "--json", codes=(0, 3)))
    wicked["timestamp"] = wicked["data"]["temperature"]["updateTime"] = status["last_event_at"]
    file = product.folder / "wicked.ndjson"
    file.write_text(json.dumps(wicked) + "\n<b>no event</b>\n")
    product.run("import", "--dir", folder, file, codes=(0, 3))
    page = product.folder / "report.html"
    product.run("report", "--dir", folder, "--tz", "Europe/Oslo", "-o", page, codes=(3,))
    facts = json.loads(product.run("report", "--dir", folder, "--tz", "Europe/Oslo", "--json", codes=(3,)))
    return page, facts


def the_page_has_what_the_facts_say(browser, page, facts):
    browser.open(page, WIDTHS["desk"])
    text = browser.value("document.body.innerText")
    check(f"{facts['events']:,}" in text, f"no {facts['events']:,} events")
    for sentence in facts["missing"] + facts["unknown"] + facts["notes"]:
        check(sentence in text, f"does not say: {sentence}")
    for kind in facts["types"]:
        check(kind["type"] in text, f"no {kind['type']}")
    shown = browser.value("document.querySelectorAll('.devices tbody tr').length")
    check(shown == len(facts["devices"]), f"{shown} devices, not {len(facts['devices'])}")
    names = browser.value("[...document.querySelectorAll('.devices .name b')].map(name => name.textContent)")
    check(sorted(names) == sorted(device["name"] for device in facts["devices"]), f"names {names}")
    bars = browser.value("document.querySelectorAll('.bar svg rect').length")
    check(bars > len(facts["types"]), f"{bars} bars")


def wicked_names_are_only_text(browser, page, facts):
    browser.open(page, WIDTHS["desk"])
    check(browser.value("document.scripts.length + document.images.length") == 0, "a name became an element")
    check("no event</b>" in browser.value("document.body.innerText"), "the fault is not shown as it came")
    text = page.read_text()
    for reference in ["http://", "https://", "src=", "url(", "@import", "javascript:"]:
        check(reference not in text, f"the page has {reference}")


def no_width_makes_the_page_scroll_sideways(browser, page, _):
    for name, width in {**WIDTHS, "narrow": 320, "tablet": 768}.items():
        browser.open(page, width)
        # The numbers of the charts as well.
        browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
        found = browser.value("document.documentElement.scrollWidth")
        check(found <= width, f"{name}: {found} px wide on {width}; " + browser.value(
            f"[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > {width}).slice(0, 5).map(e => e.outerHTML.slice(0, 90)).join(' | ')"
        ))
        browser.shoot(name)


def links_lead_somewhere_and_every_chart_has_its_numbers(browser, page, _):
    browser.open(page, WIDTHS["phone"])
    links = browser.value("[...document.querySelectorAll('a')].map(link => link.getAttribute('href'))")
    lost = browser.value("[...document.querySelectorAll('a')].filter(link => !document.querySelector(link.getAttribute('href'))).length")
    check(links and lost == 0, f"{lost} of {links} lead nowhere")
    bare = browser.value("[...document.querySelectorAll('figure')].filter(chart => !chart.querySelector('details table td')).length")
    check(bare == 0, f"{bare} charts without numbers")
    unnamed = browser.value("[...document.querySelectorAll('svg')].filter(e => e.closest('[aria-hidden]') == null && !e.matches('[aria-hidden]') && !e.querySelector('title') && !e.getAttribute('aria-label')).length")
    check(unnamed == 0, f"{unnamed} pictures without a name")


def text_has_contrast(browser, page, _):
    """At least 4.5 to 1, as accessibility rules ask of small text; pictures are made of colours that are held elsewhere."""
    for dark in [False, True]:
        browser.open(page, WIDTHS["desk"], dark)
        worst = browser.value(CONTRAST)
        check(worst["ratio"] >= 4.5, f"{'dark' if dark else 'light'}: {worst}")


def nothing_is_asked_of_a_network_and_nothing_complains(browser, page, _):
    for dark in [False, True]:
        browser.open(page, WIDTHS["desk"], dark)
        asked = [m["params"]["request"]["url"] for m in browser.heard if m.get("method") == "Network.requestWillBeSent"]
        check([urllib.parse.urlsplit(url).scheme for url in asked] == ["file"], f"asked for {asked}")
        said = [m for m in browser.heard if m.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")]
        check(not said, f"the console has {said[:2]}")
        browser.shoot("dark" if dark else "light")


def dark_is_dark_and_light_is_light_and_paper_is_white(browser, page, _):
    def brightness():
        colour = browser.value("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour[colour.index("(") + 1 : -1].split(",")[:3])) / 3

    browser.open(page, WIDTHS["desk"], dark=True)
    check(brightness() < 60, f"dark is {brightness()}")
    browser.ask("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    check(brightness() > 250, f"paper is {brightness()}")
    browser.open(page, WIDTHS["desk"])
    check(brightness() > 200, f"light is {brightness()}")


def it_prints_on_a_few_sheets(browser, page, _):
    browser.open(page, WIDTHS["desk"])
    pdf = base64.b64decode(browser.ask("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"])
    sheets = pdf.count(b"/Type /Page\n") or pdf.count(b"/Type /Page")
    check(pdf.startswith(b"%PDF") and 1 <= sheets <= 12, f"{len(pdf)} bytes, {sheets} sheets")
    if PICTURES:
        (PICTURES / "paper.pdf").write_bytes(pdf)


RULES = [
    the_page_has_what_the_facts_say,
    wicked_names_are_only_text,
    no_width_makes_the_page_scroll_sideways,
    links_lead_somewhere_and_every_chart_has_its_numbers,
    text_has_contrast,
    nothing_is_asked_of_a_network_and_nothing_complains,
    dark_is_dark_and_light_is_light_and_paper_is_white,
    it_prints_on_a_few_sheets,
]


def scenario(product):
    program = chromium()
    if not program:
        return 0, 0
    page, facts = recording(product)
    browser = Browser(program, product.folder, PICTURES)
    try:
        return hold(RULES, browser, page, facts)
    finally:
        browser.end()


if __name__ == "__main__":
    script(scenario, seconds=58)
