#!/usr/bin/env python3
"""Usage: power_cuts.py MOEQ SOURCE_DIR WORK_DIR SHIM

Power cuts: what a command writes, syncs and names is logged (fault_shim.c), and the disk made as it may be found after the
cut: of what was not synced each page is there, or is what was there before (zeros, where nothing was); sizes are the old or the new ones; names
are those of some moment since the folder's last sync. A final name then stands for nothing, the earlier file, or all of the new
one; and the same command goes on from there to the reference's bytes, or says that what it finds may be someone else's, and what to
do: of a part whose journal never came to the disk. 50 cuts a command with MOEQ_TEST_ALL, otherwise a few."""
import random
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

from injection import ALL, COMMANDS, KINDS, Place, empty, files_of

CUTS = 50 if ALL else 4
WORKERS = 2
PAGE = 4096
EVENT = struct.Struct("IIIIQQQ") # fault_shim.c's struct event
FOREIGN = "exists already and is no conversion that was interrupted; remove it, or give --force to replace it"
O_CREAT = 0o100
WHICH = ["convert", "shards", "calibrated convert", "export", "record", "calibrate"]


def events_of(data):
    """(kind, is a folder, path, other bytes, inode, at, size) of each."""
    at = 0
    while at < len(data):
        kind, path_bytes, more_bytes, is_folder, inode, where, size = EVENT.unpack_from(data, at)
        at += EVENT.size
        path = data[at:at + path_bytes].decode()
        more = data[at + path_bytes:at + path_bytes + more_bytes]
        at += path_bytes + more_bytes
        yield KINDS[kind], is_folder, path.rsplit("/", 1)[-1], more, inode, where, size


class File:
    def __init__(self):
        self.now = bytearray()  # as programs see it
        self.safe = bytearray() # as of the last sync

    def after_cut(self, draw):
        """Size and pages of one time or the other; what is in neither is zeros."""
        size = draw.choice([len(self.now), len(self.safe)])
        found = bytearray(size)
        for at in range(0, size, PAGE):
            end = min(at + PAGE, size)
            found[at:end] = draw.choice([self.now, self.safe])[at:end].ljust(end - at, b"\0")
        return bytes(found)


class Disk:
    """One folder: its files, by the numbers they had, and its names."""

    def __init__(self):
        self.files, self.names, self.history = {}, {}, [{}]

    def apply(self, event):
        kind, is_folder, name, more, inode, at, size = event
        file = self.files.get(self.names.get(name, inode) if kind == "open" else inode)
        if kind == "open" and at & O_CREAT and name not in self.names:
            self.files[inode] = File() # also of a number that another file had
            self.name(lambda names: names.__setitem__(name, inode))
        elif kind == "pwrite" and file:
            file.now.extend(bytes(max(0, at + size - len(file.now))))
            file.now[at:at + size] = more
        elif kind == "truncate" and file:
            del file.now[size:]
            file.now.extend(bytes(size - len(file.now)))
        elif kind == "fallocate" and file:
            file.now.extend(bytes(max(0, at + size - len(file.now))))
        elif kind == "fsync" and is_folder:
            self.history = [dict(self.names)]
        elif kind == "fsync" and file:
            file.safe = bytearray(file.now)
        elif kind == "rename":
            self.name(lambda names: names.__setitem__(more.decode().rsplit("/", 1)[-1], names.pop(name)))
        elif kind == "unlink":
            self.name(lambda names: names.pop(name, None))

    def name(self, change):
        change(self.names)
        self.history.append(dict(self.names))

    def after_cut(self, draw):
        names = draw.choice(self.history)
        return {name: self.files[inode].after_cut(draw) for name, inode in names.items() if inode in self.files}


def cut(place, command, events, reference, seed):
    """A cut after some event; what is wrong afterwards, or ""."""
    draw = random.Random(seed)
    disk = Disk()
    when = draw.randrange(1, len(events) + 1)
    for event in events[:when]:
        disk.apply(event)
    folder = place.work / f"cut{seed}"
    empty(folder)
    for name, data in disk.after_cut(draw).items():
        (folder / name).write_bytes(data)
    final = files_of(folder).get(command.final)
    if final is not None and final != reference[command.final]:
        return f"cut {seed} after event {when} of {len(events)}: {command.final} is not complete"
    if final is not None and any(files_of(folder).get(n) != b for n, b in reference.items()):
        return f"cut {seed} after event {when}: {command.final} and not the others"
    left = list(files_of(folder))
    if final is not None: # done, but for what is to be removed
        for name in reference:
            (folder / name).unlink()
    done = place.run(command.arguments, folder)
    if done.returncode == 1 and FOREIGN in done.stderr:
        done = place.run(command.arguments + command.force, folder)
    if done.returncode != 0:
        return f"cut {seed} after event {when} of {len(events)}, {left}: {done.stderr}"
    if files_of(folder) != reference:
        return f"cut {seed} after event {when} of {len(events)}, {left}: other files: {list(files_of(folder))}"
    empty(folder)
    return ""


def main():
    place = Place(sys.argv)
    failures = cuts = 0
    which = ["convert"] if place.sanitized and not ALL else WHICH
    for number, command in enumerate(c for c in COMMANDS if c.name in which):
        folder, log = place.work / "logged", place.work / "log"
        empty(folder)
        log.unlink(missing_ok=True)
        if place.run(command.arguments, folder, log=log).returncode != 0:
            sys.exit(f"{command.name} failed")
        reference = files_of(folder)
        events = [e for e in events_of(log.read_bytes()) if not e[2].startswith("model-")]
        with ThreadPoolExecutor(WORKERS) as pool:
            seeds = range(1000 * number, 1000 * number + CUTS)
            for wrong in pool.map(lambda seed: cut(place, command, events, reference, seed), seeds):
                cuts += 1
                if wrong:
                    failures += 1
                    print(f"FAIL: {command.name}: {wrong}")
        print(f"{command.name}: {len(events)} events")
    print(f"{cuts} cuts, {failures} failures")
    sys.exit(failures > 0)


main()
