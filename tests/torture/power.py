"""Battery 2: power cuts on real file systems, ext4 and XFS, each on a loop device of its own.

The shutdown ioctl drops at once what the file system has not written: neither data nor journal is flushed. Then the product
is killed, the file system unmounted and mounted again, which replays its journal, and the recording is held against what had
been acknowledged before the ioctl began (later answers are not counted: they may come from a cache that is gone).
"""

import contextlib
import fcntl
import itertools
import os
import struct
from pathlib import Path

from events import Events
from loads import LOADS
from place import FINE, Skipped, need, need_root, said, system, unmount
from verify import as_it_is, at_rest

# XFS_IOC_GOINGDOWN, which ext4 knows as well, and its way of going: nothing is flushed.
GOINGDOWN, NOLOGFLUSH = 0x8004587D, 2
# The smallest that mkfs.xfs makes.
MIB = {"ext4": 128, "xfs": 320}
# Cuts in one recording, before a new one is begun.
CUTS = 6


def battery(kind, cuts):
    """So many cuts of a kind of file system, with both sources by turns."""

    def run(place):
        need_root()
        need("mount", "losetup", f"mkfs.{kind}")
        sources = itertools.cycle(LOADS)
        with disk(place, kind) as mount:
            for begun in range(0, cuts, CUTS):
                one_recording(place, mount, next(sources), min(CUTS, cuts - begun))

    return run


class Mount:
    """A file system on a loop device."""

    def __init__(self, device, kind, path):
        self.device, self.kind, self.path = device, kind, path

    def mount(self):
        system("mount", "-t", self.kind, self.device, self.path)

    def cut(self, load):
        """The power fails under the load."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            load.look()
            load.freeze()
            fcntl.ioctl(directory, GOINGDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(directory)
        load.kill()
        unmount(self.path)
        self.mount()


@contextlib.contextmanager
def disk(place, kind):
    """A mounted file system in an image file, which lies in memory where there is room: only its own cache is lost."""
    memory = Path("/dev/shm")
    image = (memory if os.access(memory, os.W_OK) else place.folder) / f"{place.folder.name}.{kind}"
    path = place.new(kind)
    path.mkdir()
    with contextlib.ExitStack() as ends:
        ends.callback(image.unlink, missing_ok=True)
        with open(image, "wb") as file:
            file.truncate(MIB[kind] << 20)
        system(f"mkfs.{kind}", "-q", image)
        try:
            device = system("losetup", "--find", "--show", image)
        except OSError as error:
            raise Skipped(f"no loop device: {error}") from None
        ends.callback(system, "losetup", "--detach", device)
        mount = Mount(device, kind, path)
        try:
            mount.mount()
        except OSError as error:
            raise Skipped(f"{kind} does not mount here: {error}") from None
        ends.callback(unmount, path)
        ends.callback(place.end_processes)
        yield mount


def one_recording(place, mount, source, cuts):
    events, recording = Events(), place.recording(mount.path)
    # What the test has prepared must not be lost.
    system("sync", "--file-system", mount.path)
    load = LOADS[source](place, recording, events)
    for number in range(1, cuts + 1):
        load.start()
        if not load.work(moment(place.random)):
            return
        mount.cut(load)
        place.tally.cuts += 1
        place.tally.runs += 1
        if is_unmade(recording) and not load.count():
            continue
        if not as_it_is(place, recording, events, load.acked(), load.sent(), f"{mount.kind}, after cut {number}"):
            # What is lost once is lost in all that follows.
            return
    # What is kept already must not pass for what the next start keeps: it would be stopped while it begins.
    load.look()
    load.start()
    load.go_on(500)
    code = load.stop()
    place.tally.expect(code in FINE, f"after {cuts} cuts, {source} ended with {code}: {said(load.process)}")
    at_rest(place, recording, events, load.acked(), load.sent(), f"{mount.kind}, at rest after {cuts} cuts")
    place.tally.events += len(load.acked())
    system("rm", "-r", recording)


def is_unmade(recording):
    """The cut came before there was a buffer, or while it was made."""
    buffer = recording / "state/buffer.db"
    return not buffer.exists() or buffer.stat().st_size == 0 or buffer.with_name("buffer.db-journal").exists()


def moment(random):
    """When the power fails: now and then in the first moments, when directories are new or being recovered."""
    return random.uniform(0, 0.1) if random.random() < 0.2 else random.uniform(0.3, 1.2)
