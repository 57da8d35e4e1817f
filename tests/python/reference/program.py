"""The program under test: runs it, makes recordings with it, reads its exports."""

import os
import shutil
import subprocess
from pathlib import Path

from . import found, world as worlds
from .asks import DIALECTS, arguments


class Refused(Exception):
    """It ended with an error."""


class Program:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.files = str(Path(binary).resolve()), Path(folder), 0
        # What the user of this machine has set is none of the tests' business.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("DT_")}

    def run(self, *args, codes=(0, 3), data=b""):
        """Runs a command; gives its standard output."""
        done = subprocess.run([self.binary, *map(str, args)], input=data, capture_output=True, timeout=120, env=self.env)
        if done.returncode not in codes:
            raise Refused(f"`{' '.join(map(str, args))}` ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
        return done.stdout

    def new(self, ending):
        """A path of nothing yet."""
        self.files += 1
        return self.folder / f"{self.files}{ending}"

    def record(self, world, folder):
        """Makes the recording on disk."""
        for number, lines in enumerate(world.files):
            self.run("import", "--dir", folder, "-", data="".join(line + "\n" for line in lines).encode(), codes=(0,))
            if number == 0 and world.rolls[0]:
                self.run("roll", "--dir", folder)
        world.ledger.write(folder / "state/buffer.db")
        worlds.write_devices(folder / "state/buffer.db", world.devices)
        if world.rolls[1]:
            self.run("roll", "--dir", folder)

    def export(self, folder, ask, how="csv"):
        """Names of columns, and rows."""
        args = ["export", "--dir", folder, *arguments(ask)]
        if how == "csv":
            return found.from_csv(self.run(*args, "--no-defuse"))
        if how in DIALECTS:
            return found.from_dialect(how, self.run(*args, "--no-defuse", *DIALECTS[how][0]), DIALECTS[how][1])
        if how == "ndjson":
            return found.from_ndjson(self.run(*args, "--format", "ndjson"))
        if how in ("type", "day", "hive"):
            path = self.new("")
            self.run(*args, "--format", "parquet", "--partition-by", how, "-o", f"{path}/")
            try:
                return found.from_directory(path, how, ask.zone)
            finally:
                shutil.rmtree(path, ignore_errors=True)
        path = self.new("." + how)
        self.run(*args, "-o", path)
        if not path.exists():
            return [], []
        try:
            return found.from_file(path)
        finally:
            path.unlink()
