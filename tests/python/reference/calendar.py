"""Buckets of the calendar in a zone. Times are microseconds since 1970-01-01 UTC; `wall` is what a clock on the wall shows, as
microseconds since the wall's own 1970-01-01."""

from bisect import bisect_right
from datetime import date, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

SECOND = 10**6
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The days of 23 and 25 hours among them; half hours, 45 minutes, a change at midnight, of half an hour, of two hours, a day that
# never was, seconds of an offset before 1972.
ZONES = [
    "UTC", "Europe/Oslo", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo",
    "Pacific/Apia", "Africa/Casablanca", "Pacific/Chatham", "America/Havana", "Asia/Tehran", "Antarctica/Troll", "Africa/Monrovia",
]


def moment(at):
    """A time as a datetime in UTC."""
    return EPOCH + timedelta(microseconds=at)


def micros(when):
    """A datetime with its offset as a time."""
    return (when - EPOCH) // timedelta(microseconds=1)


def rfc3339(at):
    return moment(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Zone:
    """Offsets of a zone between 1950 and 2040, found by looking twice a day and then closer."""

    def __init__(self, name):
        self.name, self.zone = name, ZoneInfo(name)
        self.since, self.offsets = [-(10**18)], []
        at, last = micros(datetime(1950, 1, 1, tzinfo=timezone.utc)), micros(datetime(2040, 1, 1, tzinfo=timezone.utc))
        self.offsets.append(self._offset(at))
        while at < last:
            following = at + DAY // 2
            if self._offset(following) != self.offsets[-1]:
                low, high = at, following
                while high - low > SECOND:
                    middle = (low + high) // 2 // SECOND * SECOND
                    low, high = (middle, high) if self._offset(middle) == self.offsets[-1] else (low, middle)
                self.since.append(high)
                self.offsets.append(self._offset(high))
            at = following

    def _offset(self, at):
        return moment(at).astimezone(self.zone).utcoffset() // timedelta(microseconds=1)

    def part(self, at):
        """Which of the offsets holds."""
        return bisect_right(self.since, at) - 1

    def wall(self, at):
        return at + self.offsets[self.part(at)]

    def first(self, wall):
        """The first moment at which a clock shows this, or later."""
        part = self.part(wall - DAY - DAY // 2)
        while True:
            at = max(self.since[part], wall - self.offsets[part])
            if part + 1 == len(self.since) or at < self.since[part + 1]:
                return at
            part += 1


@cache
def zone(name):
    return Zone(name)


def month(wall):
    day = date(1970, 1, 1) + timedelta(days=wall // DAY)
    return (day.year - 1970) * 12 + day.month - 1


def month_begins(number):
    return (date(1970 + number // 12, number % 12 + 1, 1) - date(1970, 1, 1)).days * DAY


class Calendar:
    """Buckets of a length, such as 15m, 1h, 1d, 1w, 1mo."""

    def __init__(self, name, every):
        self.zone = zone(name)
        digits = "".join(filter(str.isdigit, every))
        count, unit = int(digits), every[len(digits) :]
        if unit == "mo":
            self.length = None
            self.index, self.wall_of = lambda wall: month(wall) // count, lambda index: month_begins(index * count)
        else:
            self.length = length = count * {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}[unit]
            # 1970-01-01 was a Thursday, and weeks begin on Mondays.
            back = 3 * DAY if unit == "w" else 0
            self.index, self.wall_of = lambda wall: (wall + back) // length, lambda index: index * length - back
        self.known = {}

    def bucket(self, at):
        """Beginning and end of the bucket of a time."""
        if self.length and self.length <= HOUR:
            # Parts of an hour count anew where the clock is changed: an hour that comes twice is two.
            part = self.zone.part(at)
            offset = self.zone.offsets[part]
            begins = (at + offset) // self.length * self.length - offset
            ends = begins + self.length
            if part + 1 < len(self.zone.since):
                ends = min(ends, self.zone.since[part + 1])
            return max(begins, self.zone.since[part]), ends
        index = self.index(self.zone.wall(at))
        if index not in self.known:
            self.known[index] = self.zone.first(self.wall_of(index))
        begins = self.known[index]
        # Where the clock is put back over a boundary, what it shows a second time is past that boundary.
        while True:
            index += 1
            following = self.zone.first(self.wall_of(index))
            if following > at:
                return begins, following
            begins = following

    def grid(self, first, last):
        """All buckets from that of one time to that of another."""
        out, at = [], first
        while at <= last:
            begins, ends = self.bucket(at)
            out.append((begins, ends))
            at = ends
        return out
