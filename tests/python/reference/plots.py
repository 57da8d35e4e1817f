"""Plots: a point of a line, a bar of a state stands where its time and value say. Positions are pixels, to two tenths of one."""

import re

from . import spans
from .schema import MAIN, MEASURES, STATES
from .calendar import rfc3339

CLOSE = 0.25
NUMBER = r"(-?[0-9.]+)"


def wrong(program, folder, tables, ask):
    """What is wrong with a plot of one event type of one device, between a start and an end."""
    path = program.new(".svg")
    event_type, device = ask.types[0], ask.devices[0]
    program.run(
        "plot", "--dir", folder, "--event-type", event_type, "--device", device,
        "--start", rfc3339(ask.start), "--end", rfc3339(ask.end), "--tz", ask.zone, "-o", path,
    )
    events = tables.series[event_type, device]
    inside = [event for event in events if ask.within(event.time) and event.values.get(MAIN[event_type]) is not None]
    if not path.exists():
        if inside:
            yield "nothing is drawn"
        return
    svg = path.read_text()
    path.unlink()
    axis = re.search(rf'<path d="M{NUMBER} {NUMBER}L{NUMBER} \2" fill="none" stroke="#8a939b"', svg)
    left, right = float(axis[1]), float(axis[3])
    across = lambda at: left + (at - ask.start) / (ask.end - ask.start) * (right - left)
    if event_type in STATES:
        yield from bars(svg, [(across(a), across(b), state) for a, b, state in visible(tables, ask, event_type, device, events)])
    elif event_type in MEASURES:
        yield from points(svg, left, [(across(event.time), event.values[MAIN[event_type]]) for event in inside])


def visible(tables, ask, event_type, device, events):
    """Spans of states in the range, those that follow each other in one state as one."""
    out = []
    for begins, ends, state in tables.holds(event_type, device, events):
        for at, until in spans.cut([(begins, ends)], ask.start, ask.end):
            if out and out[-1][1] == at and out[-1][2] == state:
                out[-1] = (out[-1][0], until, state)
            else:
                out.append((at, until, state))
    return out


def bars(svg, wanted):
    key = {colour: state for colour, state in re.findall(r'<rect x="[0-9.]+" y="[0-9.]+" width="12" height="12" fill="(#\w+)"/>\s*<text[^>]*>([A-Z_]+)<', svg)}
    drawn = []
    for colour in key:
        for path in re.findall(rf'<path d="([^"]*)" fill="{colour}"/>', svg):
            drawn += [(float(x), float(x) + float(w), key[colour]) for x, w in re.findall(rf"M{NUMBER} [0-9.]+h{NUMBER}v", path)]
    for begins, ends, state in wanted:
        if ends - begins >= 3:
            # Bars that meet may be drawn in pieces: what counts is what is covered.
            covered = spans.union(spans.cut([(a, b) for a, b, other in drawn if other == state], begins, ends), CLOSE)
            if sum(b - a for a, b in covered) < ends - begins - 2 * CLOSE - 1.5:
                yield f"{state} is not drawn from {begins:.1f} to {ends:.1f}: {covered}"
    for begins, ends, state in drawn:
        own = spans.cut([(a, b) for a, b, other in wanted if other == state], begins, ends)
        # What is shorter than a pixel is drawn as wide as one.
        if ends - begins - sum(b - a for a, b in own) > 3:
            yield f"{state} is drawn from {begins} to {ends}, right is {own}"


def points(svg, left, wanted):
    labels = re.findall(rf'<text x="[0-9.]+" y="{NUMBER}" font-size="11" fill="#222b33" text-anchor="end">([^<]*)</text>', svg)
    try:
        scale = [(float(y) - 4, float(text.replace("\u202f", "").replace("−", "-").replace(",", "").replace(" ", ""))) for y, text in labels]
    except ValueError:
        return
    if len(scale) < 2 or scale[0][1] == scale[-1][1] or len(wanted) > 60:
        return
    (low, low_value), (high, high_value) = scale[0], scale[-1]
    down = lambda value: low + (value - low_value) / (high_value - low_value) * (high - low)
    body = svg.split("</title>")[1]
    lines = re.findall(r'<path d="([^"]*)" fill="none" stroke="#(?!8a939b|e3e6e9)\w+" stroke-width="1.6"', body)
    drawn = [(float(x), float(y)) for line in lines for x, y in re.findall(rf"[ML]{NUMBER} {NUMBER}", line)]
    drawn += [(float(x), float(y)) for x, y in re.findall(rf'<circle cx="{NUMBER}" cy="{NUMBER}"', body)]
    for x, value in wanted:
        if not any(abs(x - a) <= CLOSE and abs(down(value) - b) <= 1 for a, b in drawn):
            yield f"{value} is not drawn at {x:.1f}, {down(value):.1f}"
