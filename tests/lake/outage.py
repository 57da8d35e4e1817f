"""Power cuts under a lake in a directory: on a disk of its own, which loses at once what was not synced, while the recording stands on another
one. What a shipment has acknowledged is there afterwards; what it has not is shipped again."""

from ground import Events, is_begun
from place import need, need_root, system, wait_until
from power import disk


class Shipping:
    """A shipment, as the disk's cut sees a load."""

    def __init__(self, process):
        self.process = process

    def look(self):
        pass

    def freeze(self):
        pass

    def kill(self):
        self.process.kill()
        self.process.wait(10)


def battery(cuts):
    """So many cuts: after some acknowledged shipments, and in the midst of one."""

    def run(ground):
        need_root()
        need("mount", "losetup", "mkfs.ext4")
        events = Events(one_type="temperature")
        with disk(ground, "ext4") as mount:
            url = mount.path / "lake"
            ground.made(url)
            system("sync", "--file-system", mount.path)
            recording, sent = ground.new("recording"), 0
            for number in range(cuts):
                ground.take(recording, events.lines(sent, sent + 40))
                sent += 40
                is_whole = number % 3 == 0
                if is_whole:
                    ground.ship(recording, url)
                process = ground.start("lake", "ship", "--dir", recording, url)
                if not is_whole:
                    # Most of what it does it does in the last third.
                    seconds = ground.random.uniform(0.02, 0.25)
                    wait_until("its end", lambda: process.poll() is not None, seconds, or_else=False)
                mount.cut(Shipping(process))
                ground.forget(process)
                ground.tally.cuts += 1
                if is_whole and not ground.judge(url, [recording], f"cut {number}, after an acknowledged shipment"):
                    return
            ground.ship(recording, url, 2)
            ground.judge(url, [recording], f"after {cuts} cuts")
            ground.tally.events += sent
            begun = sum(map(is_begun, ground.of(url).objects(url)))
            ground.tally.note(f"{begun} files were begun by puts that were cut, and lie there")

    return run

