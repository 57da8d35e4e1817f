"""Arithmetic of half-open spans of time, in lists that ascend and do not meet."""

from bisect import bisect_right


def union(spans, seam=0):
    out = []
    for begins, ends in sorted(span for span in spans if span[0] < span[1]):
        if out and begins - out[-1][1] <= seam:
            out[-1] = (out[-1][0], max(out[-1][1], ends))
        else:
            out.append((begins, ends))
    return out


def minus(spans, others):
    out = []
    others = union(others)
    for begins, ends in union(spans):
        for other in others:
            if other[1] <= begins or other[0] >= ends:
                continue
            out.append((begins, other[0]))
            begins = other[1]
        out.append((begins, ends))
    return [span for span in out if span[0] < span[1]]


def cut(spans, begins, ends):
    parts = [(max(begins, a), min(ends, b)) for a, b in spans]
    return [span for span in parts if span[0] < span[1]]


def meets(spans, begins, ends):
    """Whether a part of a span lies in any of them."""
    return any(a < ends and begins < b for a, b in spans)


def of(spans, at):
    """The span that a time lies in."""
    place = bisect_right(spans, (at, float("inf"))) - 1
    return spans[place] if place >= 0 and spans[place][0] <= at < spans[place][1] else None
