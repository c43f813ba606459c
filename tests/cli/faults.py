#!/usr/bin/env python3
"""Usage: faults.py MOEQ SOURCE_DIR WORK_DIR SHIM

Commands with one call failing, once: an allocation, a read, a write, a sync, an opening... The exit code is good only where the
result is; otherwise what failed is named for what it is, memory as memory and a read as a read of its file; the final name is
absent, the old file, or the reference's bytes; and the same command then ends in the reference's bytes. Sanitized, nothing is
lost on the way. Every call with MOEQ_TEST_ALL, otherwise a sample. Then transfers that are short or interrupted, and full disks."""
import errno
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import injection
from injection import ALL, COMMANDS, KINDS, Place, empty, files_of, finals

WORKERS = 2
MANY = 200 # calls of a kind: then, or sanitized, the first and the last of each stack they are called with
PER_KIND = 2 # of a sample: of each kind of call of each command

# Calls that may fail without harm: kind, what the mark says of it, why.
HARMLESS = [
    ("memory", "_IO_file_doallocate", "stdio goes on without a buffer of its own"),
    ("memory", "libc.so.6 [0-9a-f]+ qsort", "it sorts in place"),
    ("memory", "mq_progress_begin", "a job without a progress bar is still a job"),
    ("memory", "libpcre2", "it goes on without its compiler and the stack for that"),
    ("memory", "^[a-z_]+ (fopen|opendir)$", "facts of the machine; what killed runs may have left"),
    ("close", "", "of files that were read, folders, and outputs that were synced before: nothing hangs on it"),
    ("mmap", "", "PCRE2 goes on without its compiler, and libc with what else it has"),
    ("open", "/(proc|sys|dev)/", "facts of the machine: what is not known is asked elsewhere, or not said"),
    ("opendir", r"opendir \.$", "what killed runs may have left is not looked for; the next run does"),
    ("flock", "", "file systems without locks: names of temporaries are drawn, and O_EXCL keeps them"),
    ("unlink", "\\.part", "an empty lock, or a finished run's journal: the next run removes it"),
    ("statvfs", "", "the reservation after it says that there is no room"),
    ("stat", "", "what cannot be asked about is opened, which says what is wrong if it lasts; permissions are copied again"),
]

# What no failure of the machine may be taken for.
WRONG = re.compile("syntax error|is missing|not a GGUF|is no |--help explains|Sanitizer|runtime error|terminate")
OLD = b"an earlier file of moeq"


class Run:
    """A command with a fault; `old`: over an earlier file."""

    def __init__(self, command, kind, number, code, old, mode="once"):
        self.command, self.kind, self.number, self.code, self.old, self.mode = command, kind, number, code, old, mode

    def __str__(self):
        return f"{self.command.name}: {self.kind} {self.number}{' over a file' if self.old else ''}, {self.mode}"

    def arguments(self):
        return self.command.arguments + (self.command.force if self.old else [])


def harmless(kind, mark):
    return any(kind in k.split(",") and re.search(what, mark, re.M) for k, what, _ in HARMLESS)


def blames_right(run, mark, said, folder):
    """Whether a message is about what failed."""
    if WRONG.search(said):
        return False
    if run.kind == "memory":
        return "out of memory" in said.lower()
    path = mark.split("\n")[0].split(" ", 1)[1]
    if run.kind == "flush":
        return "cannot write to standard output" in said
    if os.path.realpath(path) == os.path.realpath(folder):
        return re.search(r"\B\.: .*" + os.strerror(run.code), said)
    return re.search(re.escape(os.path.basename(path)).removesuffix(r"\.part") + ".*: " + os.strerror(run.code), said)


def same_words(a, b):
    """But for what hangs on the clock."""
    return re.sub(r"[0-9.]+ ([KMG]iB/)?s\b", "", a) == re.sub(r"[0-9.]+ ([KMG]iB/)?s\b", "", b)


def says_room(run, said):
    return run.code not in (errno.ENOSPC, errno.EDQUOT) or "make room there" in said


def judge(place, run, reference, folder):
    """What is wrong with a run: "" if nothing is; None if the call was not reached."""
    empty(folder)
    mark = folder.parent / (folder.name + ".mark")
    mark.unlink(missing_ok=True)
    if run.old:
        (folder / run.command.earlier).parent.mkdir(exist_ok=True)
        (folder / run.command.earlier).write_bytes(OLD)
    done = place.run(run.arguments(), folder, call=run.kind, number=run.number, errno=run.code, mark=mark, mode=run.mode)
    if not mark.exists():
        return None
    text, said, left = mark.read_text(), done.stderr.strip(), files_of(folder)
    final = finals(run.command, left)
    good = final == finals(run.command, reference["files"])
    if done.returncode == 0:
        if not good or not same_words(done.stdout, reference["stdout"]):
            return f"exit code 0 and another result: {said}\n{text}"
        if not harmless(run.kind, text) and not harmless(run.kind, symbols(place, text)):
            return f"exit code 0: {said}\n{text}"
    elif done.returncode != 1:
        return f"exit code {done.returncode}: {said}\n{text}"
    elif not blames_right(run, text, said, folder) or not says_room(run, said):
        return f"message: {said}\n{text}"
    elif final and not good and not (run.old and final == {run.command.earlier: OLD}):
        return "an output that is neither old nor complete"
    return again(place, run, reference, folder, left)


def again(place, run, reference, folder, left):
    """The same command without a fault."""
    if not left or left == {run.command.earlier: OLD} or left == reference["files"]:
        return ""
    if finals(run.command, left) and not run.old: # complete all the same
        for name in reference["files"]:
            (folder / name).unlink()
    done = place.run(run.arguments(), folder)
    if done.returncode != 0:
        return f"then: {done.stderr} (of {list(left)})"
    if files_of(folder) != reference["files"]:
        return f"then other files: {list(files_of(folder))}"
    return ""


def symbols(place, text):
    """Addresses of the program, one a line, with the names of functions."""
    frames = re.findall(rf"^{re.escape(str(place.moeq))} ([0-9a-f]+) .*$", text, flags=re.M)
    if not frames:
        return text
    done = subprocess.run(["addr2line", "-f", "-e", place.moeq] + frames, capture_output=True, text=True)
    names = done.stdout.split("\n")[::2]
    return re.sub(r"(^/.* [0-9a-f]+ .*$\n?)+", "", text, flags=re.M) + "  < " + " < ".join(names[:-1])


def sample(place, kind, count):
    """All of 1...count, or some: the first and the last. Sanitized programs are slow: what they are to find, what is
    lost when an error unwinds, is deep in the work."""
    if ALL or count == 0:
        return range(1, count + 1)
    if place.sanitized:
        return {"memory": [2 * count // 3, 9 * count // 10], "pread": [count], "pwrite": [count // 2 + 1]}.get(kind, [])
    return sorted({1 + i * (count - 1) // (PER_KIND - 1) for i in range(PER_KIND)})


def references(place):
    """Each command's own end, and how many calls it makes."""
    found = {}
    for command in COMMANDS:
        folder = place.work / "reference"
        empty(folder)
        counts = place.counts(command, folder)
        files = files_of(folder)
        empty(folder)
        done = place.run(command.arguments, folder)
        if files_of(folder) != files:
            sys.exit(f"{command.name}: two runs give other bytes")
        found[command.name] = {"counts": counts, "files": files, "stdout": done.stdout}
    return found


def single_faults(place, found):
    runs = []
    for command in COMMANDS:
        for kind in KINDS:
            count = found[command.name]["counts"][kind]
            many = ALL and (place.sanitized or count > MANY)
            folder = place.work / "sites.out"
            empty(folder)
            for n in place.sites(command, kind, folder) if many and count else sample(place, kind, count):
                old = bool(command.final) and n % 2 == 0
                runs.append(Run(command, kind, n, errno.EIO, old))
                if ALL and command.final and kind != "memory":
                    runs.append(Run(command, kind, n, errno.EIO, not old))
    return runs


def full_disks(found):
    """No room from some write on, or for what is reserved, synced, named; a quota; a disk that fails late; files that would
    have a program wait."""
    runs = []
    for command in COMMANDS:
        for kind, codes in (("pread", [errno.EAGAIN]), ("pwrite", [errno.ENOSPC, errno.EAGAIN]),
                            ("fallocate", [errno.ENOSPC, errno.EDQUOT]), ("fsync", [errno.EDQUOT]),
                            ("rename", [errno.ENOSPC]), ("truncate", [errno.ENOSPC])):
            count = found[command.name]["counts"][kind]
            for code in codes:
                for n in sorted({1, (count + 1) // 2, count} if ALL else {(count + 1) // 2}) if count else []:
                    runs.append(Run(command, kind, n, code, bool(command.final) and n % 2 == 1, "from"))
    return runs


def good_modes(place, command, reference):
    """Transfers that are short, or calls that signals interrupt: nothing comes of it."""
    folder = place.work / "modes"
    interrupted = "pread,read,pwrite,write,open,fsync,truncate,fallocate,flock,close"
    for fault in ({"mode": "short", "call": "pread,read,pwrite,write"},
                  {"mode": "again", "call": interrupted, "errno": errno.EINTR}):
        empty(folder)
        done = place.run(command.arguments, folder, **fault)
        if done.returncode != 0 or files_of(folder) != reference["files"] or \
                not same_words(done.stdout, reference["stdout"]):
            yield f"{command.name}, {fault['mode']}: exit code {done.returncode}: {done.stderr}"


def main():
    place = Place(sys.argv)
    found = references(place)
    few = place.sanitized and not ALL
    runs = single_faults(place, found) + ([] if few else full_disks(found))
    wrong, reached = [], {}
    for command in COMMANDS[:1] if few else COMMANDS:
        for failure in good_modes(place, command, found[command.name]):
            print(f"FAIL: {failure}")
            wrong.append(failure)

    def one(item):
        i, run = item
        return run, judge(place, run, found[run.command.name], place.work / f"run{i % 1000}")

    with ThreadPoolExecutor(WORKERS) as pool:
        for run, result in pool.map(one, enumerate(runs)):
            key = (run.command.name, run.kind)
            reached[key] = reached.get(key, 0) + (result is not None)
            if result:
                print(f"FAIL: {run}: {symbols(place, result)}", flush=True)
                wrong.append(run)
    for command in COMMANDS:
        print(f"{command.name}: " + ", ".join(f"{k} {reached[command.name, k]}" for k in KINDS if reached.get((command.name, k))))
    print(f"{len(runs)} runs, {len(wrong)} failures")
    sys.exit(bool(wrong))


main()
