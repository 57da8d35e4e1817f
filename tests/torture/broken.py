"""Programs that are broken on purpose. A battery that does not catch its own proves nothing.

Each is a list of replacements (file, exact old text, new text) on a copy of the source, built in the target directory of
the real checkout, so that only this crate is built anew. An old text that is not found is an error: then the source has
moved on, and this list has to follow.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from place import Caught, Late, Place, Skipped, Tally, bounded

import kills
import order
import power
import rot
import strangers
import syscalls
import told
import years

ROOT = Path(__file__).resolve().parents[2]
# What a build needs of the checkout.
SOURCES = ["Cargo.toml", "Cargo.lock", "src", "schemas", "benches", "tests/it", "README.md"]
# Longest build, and longest battery that hunts.
BUILD, HUNT = 1200, 180

EXT4 = ("power-ext4", power.battery("ext4", 36))
XFS = ("power-xfs", power.battery("xfs", 36))
ORDER = ("order", order.battery)
SYSCALL = ("kill-syscall", syscalls.kill(1))
KILL_RECORD = ("kill-record", kills.battery("record", 1, 20))
STRANGERS = ("strangers", strangers.battery(15, 400))
ROT = ("rot", rot.battery(40))
YEARS = ("kill-years", years.battery(2))
WATCHER = ("kill-watcher", told.battery(20, 1))
KILL_LISTEN = ("kill-listen", kills.battery("listen", 1, 30))


@dataclass
class Broken:
    """A program that is broken on purpose."""

    name: str
    # File, old text, new text.
    changes: list
    # Batteries in groups: of each group one must catch it.
    groups: list


DELETE_FIRST = """if let Ok(db) = rusqlite::Connection::open(self.layout.buffer()) {
                drop(db.busy_timeout(std::time::Duration::from_secs(10)));
                drop(db.execute("DELETE FROM block WHERE seq <= ?", [seq]));
            }
            Ok(disk::publish(&staged, &self.layout.day_file(partition))?)"""

BUILDS = [
    Broken(
        "a commit does not sync the log",
        [
            ("src/store/buffer/migrate.rs", '"synchronous", "FULL"', '"synchronous", "NORMAL"'),
            ("src/store/buffer/migrate.rs", "if synchronous != 2 {", "if synchronous != 1 {"),
        ],
        [[ORDER], [EXT4, XFS]],
    ),
    Broken(
        "a commit of events says that they are kept before the log is synced",
        [
            (
                "src/store/buffer/mod.rs",
                "        let write = || -> rusqlite::Result<Vec<u64>> {",
                '        drop(self.db.pragma_update(None, "synchronous", "NORMAL"));\n        let write = || -> rusqlite::Result<Vec<u64>> {',
            ),
            (
                "src/store/buffer/mod.rs",
                "        let met = write().map_err(fail)?;",
                '        let met = write().map_err(fail)?;\n        drop(self.db.pragma_update(None, "synchronous", "FULL"));',
            ),
        ],
        [[ORDER]],
    ),
    Broken(
        "a day file is not synced",
        [("src/store/archive/write.rs", "Ok(disk::sync(self.file.inner(), &self.path)?)", "Ok(())")],
        [[ORDER], [XFS, EXT4]],
    ),
    Broken(
        "the directory is not synced behind a rename",
        [
            (
                "src/base/disk/mod.rs",
                'Step::Rename(staged, path), || rename(staged, path))?;\n    sync_dir(parent(path))',
                'Step::Rename(staged, path), || rename(staged, path))',
            )
        ],
        [[ORDER]],
    ),
    Broken(
        "the buffer's rows are deleted before the rename",
        [
            (
                "src/store/roll/publish.rs",
                "        let mut sum = None;\n",
                "        let mut sum = None;\n        let seq = DayFile::open(&staged)?.map_or(0, |file| file.footer().seq_last);\n",
            ),
            ("src/store/roll/publish.rs", "Ok(disk::publish(&staged, &self.layout.day_file(partition))?)", DELETE_FIRST),
        ],
        [[SYSCALL]],
    ),
    Broken(
        "a push is answered 200 before it is kept",
        [
            ("src/intake/webhook/pending.rs", "drop(done.await);", "drop(done);"),
            ("src/intake/webhook/pending.rs", "() = &mut carried => return Fate::of(verdict),", "() = &mut carried => return Fate::Kept,"),
        ],
        [[ORDER], [KILL_LISTEN]],
    ),
    Broken(
        "strangers keep their places",
        [("src/serve/places.rs", "seats.free(|_| true)?;", "return None;")],
        [[STRANGERS]],
    ),
    Broken(
        "whoever idles most goes, known or not",
        [("src/serve/places.rs", "(seat.is_known, Reverse(of_peer.get(&seat.peer).copied()), seat.since)", "seat.since")],
        [[STRANGERS]],
    ),
    Broken(
        "a block is believed whatever its checksum",
        [("src/store/buffer/block.rs", "if self.checksum.is_some_and(|noted| noted", "if self.checksum.is_some_and(|noted| noted == 0 && noted")],
        [[ROT]],
    ),
    Broken(
        "a backup has its name before it is whole",
        [("src/maintenance/generation.rs", "    path.with_file_name(format!(\".{name}{PARTIAL}\"))", "    path.with_file_name(if name.starts_with('2') { name } else { format!(\".{name}{PARTIAL}\") })")],
        [[YEARS]],
    ),
    Broken(
        "what is pruned goes before it is in the archive",
        [
            (
                "src/maintenance/prune.rs",
                "    let copied = disk::copy(path, &staged)?;",
                "    let bytes = disk::read(path, u64::MAX / 2)?;\n    disk::remove(path)?;\n    disk::replace(&staged, &bytes)?;\n    let copied = disk::sha256(&staged)?;",
            )
        ],
        [[YEARS]],
    ),
    Broken(
        "a message is noted as told before it is",
        [("src/watch/alerts/mod.rs", 'if fault::leaves_out("mark behind sending") {', "if std::env::args().len() > 0 {")],
        [[WATCHER]],
    ),
    Broken(
        "an event that comes twice stands twice",
        [("src/store/roll/pieces.rs", "            leave_out_doubles(file, &mut rows)?;", "            drop((file, leave_out_doubles as fn(&DayFile, &mut Sorted) -> _));")],
        [[KILL_RECORD]],
    ),
]


def target_directory():
    done = subprocess.run(
        ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return Path(json.loads(done.stdout)["target_directory"])


def check_texts():
    """Every replacement still finds its text: asked in every run, so that this list cannot fall behind the source."""
    for broken in BUILDS:
        for file, old, _ in broken.changes:
            found_once((ROOT / file).read_text(), old, file, broken)


def found_once(text, old, file, broken):
    if text.count(old) != 1:
        raise SystemExit(f"run.py: {broken.name}: {file} has {text.count(old)} times, not once: {old}")


def source(target, broken):
    """A copy of the source with the replacements; always at the same place, so that the builds share what they can."""
    copy = target / "torture/source"
    shutil.rmtree(copy, ignore_errors=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name)
        elif (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    for file, old, new in broken.changes:
        text = (copy / file).read_text()
        found_once(text, old, file, broken)
        (copy / file).write_text(text.replace(old, new))
    # Under another name: the real program stays where it is. And no part of a workspace.
    manifest = (copy / "Cargo.toml").read_text().replace("[package]\n", "[package]\nautobins = false\n", 1)
    manifest += '\n[[bin]]\nname = "overnight-broken"\npath = "src/main.rs"\n\n[workspace]\n'
    (copy / "Cargo.toml").write_text(manifest)
    return copy


def build(broken):
    """The broken program."""
    target = target_directory()
    copy = source(target, broken)
    env = os.environ | {"CARGO_TARGET_DIR": str(target)}
    done = subprocess.run(
        ["cargo", "build", "--locked", "--quiet", "--bin", "overnight-broken"],
        cwd=copy, env=env, capture_output=True, text=True, timeout=BUILD,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"run.py: {broken.name}: it does not build:\n{done.stderr[-3000:]}")
    return target / "debug/overnight-broken"


def hunt(binary, name, battery, seed):
    """Runs a battery until it finds something; gives what, or None; raises `Skipped` where it cannot run."""
    tally = Tally(name, hunting=True)
    try:
        with bounded(HUNT), Place(binary, tally, seed, False) as place:
            battery(place)
    except Caught as found:
        return str(found)
    except Late:
        return None
    return None


def judge(broken, binary, seed):
    """Every group of batteries must catch it; gives the verdicts in words, and whether all is well."""
    words, well, ran = [], True, 0
    for group in broken.groups:
        caught, skipped = None, []
        for name, battery in group:
            try:
                found = hunt(binary, name, battery, seed)
                ran += 1
                caught = caught or (found and f"{name}: {found[:160]}")
            except Skipped as why:
                skipped.append(f"{name} skipped: {why}")
            if caught:
                break
        if caught:
            words.append(caught)
        elif len(skipped) == len(group):
            words += skipped
        else:
            well = False
            words.append(f"{' and '.join(name for name, _ in group)}: nothing found")
    return words, well and ran > 0


def run(seed, wanted=None):
    """All broken programs, or those with a text in their name; gives how many were not caught."""
    missed = 0
    chosen = [broken for broken in BUILDS if not wanted or any(text in broken.name for text in wanted)]
    if not chosen:
        sys.exit(f"run.py: no broken program has {' or '.join(wanted)} in its name; there are {', '.join(of.name for of in BUILDS)}")
    for broken in chosen:
        begun = time.monotonic()
        binary = build(broken)
        built = time.monotonic() - begun
        words, well = judge(broken, binary, seed)
        missed += not well
        print(f"{'caught    ' if well else 'NOT CAUGHT'}  {broken.name} (build {built:.0f} s, {time.monotonic() - begun:.0f} s in all)")
        for text in words:
            print(f"            {text}", flush=True)
    print(f"\nbroken programs: {'all caught' if not missed else f'{missed} NOT CAUGHT'}")
    return missed
