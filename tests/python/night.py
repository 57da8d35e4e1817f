"""A made-up recording: twelve devices through both changes of clocks of 2026 in Oslo, with names that a spreadsheet would run,
and what is true of it, worked out by other means than the program's."""

import base64
import hashlib
import hmac
import json
import random
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd
import requests

from harness import alive, check, wait_until

OSLO = ZoneInfo("Europe/Oslo")
SECRET = "a secret of nobody"
# Both spans begin and end at midnight in Oslo and are three days long, one of them of 23 or 25 hours.
SPANS = [("2026-03-28", "2026-03-31"), ("2026-10-24", "2026-10-27")]
# Device: type, name, room, floor.
DEVICES = {
    "t1": ("temperature", "=1+1", "101", "1"),
    "t2": ("temperature", 'Büro; "Nord", 2', "102", "1"),
    "t3": ("temperature", "Cold\nroom", "201", "2"),
    "h1": ("humidity", "Büro 温度", "101", "1"),
    "h2": ("humidity", "@home", "202", "2"),
    "c1": ("co2", "+47 air", "101", "1"),
    "d1": ("contact", "Front door", "001", "0"),
    "d2": ("contact", "Back; door", "001", "0"),
    "m1": ("motion", "-hall", "002", "0"),
    "w1": ("waterDetector", "Sink", "003", "0"),
    "b1": ("touch", "Button", "101", "1"),
    "n1": ("proximity", "-5", "103", "1"),
}
PROJECT = "demo"


def moment(day, zone=OSLO):
    """The first moment of a day in a zone."""
    return datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(timezone.utc)


def rfc3339(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event(event_type, device, at, data, **others):
    name = f"projects/{PROJECT}/devices/{device}"
    number = hashlib.sha256(f"{event_type}{device}{at}".encode()).hexdigest()[:20]
    return {"eventId": number, "targetName": name, "eventType": event_type, "data": {event_type: data}, "timestamp": rfc3339(at)} | others


def steps(begin, end, seconds):
    at = begin
    while at < end:
        yield at
        at += timedelta(seconds=seconds)


def night():
    """All events, as JSON values."""
    dice, events = random.Random(7), []

    def tell(event_type, device, at, **data):
        events.append(event(event_type, device, at, data | {"updateTime": rfc3339(at)}))

    total = 0
    for first, last in SPANS:
        begin, end = moment(first), moment(last)
        for device, middle in [("t1", 20.0), ("t2", -5.0), ("t3", 4.0)]:
            hole = begin + timedelta(hours=30)
            for at in steps(begin + timedelta(microseconds=dice.randrange(10**6)), end, 600):
                if device == "t2" and hole <= at < hole + timedelta(hours=3) or device == "t3" and dice.random() < 0.3:
                    continue
                values = [round(middle + dice.gauss(0, 3), 2) for _ in range(2)]
                samples = [{"value": values[0], "sampleTime": rfc3339(at)}, {"value": values[1], "sampleTime": rfc3339(at - timedelta(seconds=300))}]
                tell("temperature", device, at, value=values[0], samples=samples)
        for at in steps(begin, end, 900):
            for device in ["h1", "h2"]:
                tell("humidity", device, at, temperature=round(dice.uniform(-20, 30), 1), relativeHumidity=round(dice.uniform(5, 90), 1))
            tell("co2", "c1", at, ppm=dice.randrange(400, 2000))
        for event_type, device, names in [
            ("contact", "d1", ["OPEN", "CLOSED"]),
            ("contact", "d2", ["OPEN", "CLOSED"]),
            ("motion", "m1", ["MOTION_DETECTED", "NO_MOTION_DETECTED"]),
            ("waterPresent", "w1", ["PRESENT", "NOT_PRESENT"]),
        ]:
            at = begin + timedelta(seconds=dice.randrange(20_000))
            while at < end:
                tell(event_type, device, at, state=dice.choice(names))
                at += timedelta(seconds=dice.randrange(60, 12_000), microseconds=dice.randrange(10**6))
        for at in steps(begin, end, 1800):
            # A total that falls once a span: another battery, and it began again.
            total = 3 if at == begin + timedelta(hours=40) else total + dice.randrange(4)
            tell("touchCount", "b1", at, total=total)
            if dice.random() < 0.5:
                tell("touch", "b1", at)
            rssi = -dice.randrange(40, 100)
            tell("networkStatus", "n1", at, signalStrength=dice.randrange(100), rssi=rssi, cloudConnectors=[{"id": "cc", "signalStrength": 5, "rssi": rssi}])
    # What no column holds: numbers of 30 digits, unknown fields, text of all kinds.
    at = moment("2026-03-28") + timedelta(hours=1)
    odd = {"value": 21.5, "updateTime": rfc3339(at), "big": Decimal("123456789012345678901234567890"), "text": 'a"b;c\n=1+1 é\u2028'}
    events.append(event("temperature", "t1", at, odd))
    events.append(event('odd "type"; it\'s', "t1", at, {"list": [1, Decimal("2.50"), None], "big": Decimal(10) ** 29}))
    dice.shuffle(events)
    return events


def line(value):
    """JSON of an event, its long numbers digit by digit."""
    numbers = {}

    def keep(part):
        match part:
            case Decimal():
                numbers[f"@{len(numbers)}@"] = str(part)
                return f"@{len(numbers) - 1}@"
            case dict():
                return {name: keep(member) for name, member in part.items()}
            case list():
                return [keep(member) for member in part]
        return part

    text = json.dumps(keep(value), ensure_ascii=False)
    for mark, number in numbers.items():
        text = text.replace(f'"{mark}"', number)
    return text


def push(url, one):
    """A push as the cloud's Data Connector sends it: signed, with labels."""
    device = one["targetName"].rpartition("/")[2]
    kind, name, room, floor = DEVICES[device]
    about = {"deviceId": device, "projectId": PROJECT, "deviceType": kind, "productNumber": "100"}
    body = ('{"event":%s,"labels":%s,"metadata":%s}' % (line(one), json.dumps({"name": name, "room": room, "floor": floor}), json.dumps(about))).encode()
    part = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    now = int(time.time())
    claims = {"checksum_sha256": hashlib.sha256(body).hexdigest(), "iat": now, "exp": now + 3600, "checksum": "", "jti": str(now)}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    token = signed + b"." + part(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())
    answer = requests.post(url, body, headers={"X-Dt-Signature": token.decode(), "Content-Type": "application/json"}, timeout=20)
    check(answer.status_code == 200, f"a push was answered {answer.status_code}: {answer.text}")


def record(product, folder):
    """Makes a recording of them: one event of each device by a push, which brings names and labels, all others by an import."""
    events = night()
    secret = product.folder / "secret"
    secret.touch(0o600)
    secret.write_text(SECRET)
    receiver = product.start("listen", "--dir", folder, "--addr", "127.0.0.1:0", "--secret-file", secret)
    url = wait_until("the receiver's address", lambda: alive(receiver) or receiver.out.read_text().strip()).removeprefix("listening on ")
    pushed = {}
    for one in events:
        pushed.setdefault(one["targetName"].rpartition("/")[2], one)
    for one in pushed.values():
        push(url, one)
    receiver.terminate()
    check(receiver.wait(20) == 0, f"the receiver ended badly: {receiver.err.read_text()}")
    file = product.folder / "night.ndjson"
    file.write_text("".join(line(one) + "\n" for one in events))
    product.run("import", "--dir", folder, file)
    return events


def frame(events, event_type, **fields):
    """The events of a type as a data frame, in the order of time."""
    found = [one for one in events if one["eventType"] == event_type]
    columns = {"time": [one["timestamp"] for one in found], "device_id": [one["targetName"].rpartition("/")[2] for one in found]}
    columns["event_id"] = [one["eventId"] for one in found]
    columns |= {name: [one["data"][event_type].get(key) for one in found] for name, key in fields.items()}
    table = pd.DataFrame(columns)
    table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601")
    return table.sort_values(["time", "event_id"]).reset_index(drop=True)


def bucket(at, every, zone=OSLO):
    """The first moment of the bucket of a time, by the clock on the wall: counted in whole hours of that clock, and told by the
    offset of the time itself, so that an hour that comes twice is two."""
    local = at.astimezone(zone)
    match every:
        case "1d":
            return moment(local.date().isoformat(), zone)
        case "6h":
            wall = datetime(local.year, local.month, local.day, local.hour // 6 * 6)
            return wall.replace(tzinfo=zone).astimezone(timezone.utc)
        case "15m" | "1h":
            minutes = 15 if every == "15m" else 60
            # Oslo is whole hours ahead, so parts of an hour are those of UTC.
            return at.replace(minute=at.minute // minutes * minutes, second=0, microsecond=0)
    raise ValueError(every)


def following(start, every, zone=OSLO):
    """The first moment of the next bucket."""
    match every:
        case "1d":
            return moment((start.astimezone(zone).date() + timedelta(days=1)).isoformat(), zone)
        case "6h":
            wall = start.astimezone(zone).replace(tzinfo=None) + timedelta(hours=6)
            return wall.replace(tzinfo=zone).astimezone(timezone.utc)
    return start + timedelta(minutes=15 if every == "15m" else 60)
