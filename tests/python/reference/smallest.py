"""The smallest recording and the plainest ask that still differ: found by leaving out."""

import shutil
from dataclasses import replace

from .asks import arguments, parts
from .ledger import Ledger
from .program import Refused
from .tables import Tables

TRIES = 200


def smallest(program, world, ask, wrong):
    """As text, with what is wrong with it."""
    tries = 0

    def fails(world, ask):
        nonlocal tries
        tries += 1
        folder = program.new("r")
        try:
            program.record(world, folder)
            return wrong(folder, Tables(world), ask)
        except Refused:
            return []
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    world = world.smaller(world.events)
    best = fails(world, ask)
    if not best:
        return "        (not with all of it as one file)"
    step = len(world.events) // 2
    while step and tries < TRIES:
        at = 0
        while at < len(world.events) and tries < TRIES:
            fewer = world.smaller(world.events[:at] + world.events[at + step :])
            if fewer.events and (found := fails(fewer, ask)):
                world, best = fewer, found
            else:
                at += step
        step //= 2
    for name in ("runs", "fills", "losses"):
        for one in list(getattr(world.ledger, name)):
            ledger = replace(world.ledger, **{name: [other for other in getattr(world.ledger, name) if other is not one]})
            fewer = replace(world, ledger=ledger)
            if found := fails(fewer, ask):
                world, best = fewer, found
    for _ in range(2):
        for plainer in list(parts(ask)):
            if found := fails(world, plainer):
                ask, best = plainer, found
    lines = [f"  smallest: overnight export {' '.join(arguments(ask))}", *(event.text for event in world.events)]
    ledger = [] if world.ledger == Ledger() else [repr(world.ledger)]
    return "\n    ".join([*lines, *ledger, *(f"=> {text}" for text in best[:6])])
