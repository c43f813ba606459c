#!/usr/bin/env python3
"""Usage: kills.py MOEQ SOURCE_DIR WORK_DIR SHIM

Two hundred kills, with MOEQ_TEST_ALL alone (kill_and_resume.sh and test_kills.c are there always): convert, in one file and in
several, export, record and calibrated conversion of a layer at the full width of a published model die at some read, write,
sync, allocation or renaming (of their work, not by a clock: fault_shim.c), again and again, and go on. In the end there are the
bytes of a run that was left alone and nothing else; and until then no file has the final name."""
import random
import shutil
import signal
import subprocess
import sys
import time

from injection import ALL, Command, Place, empty, files_of, finals, skip

KILLS = 40 # of each command
IN_A_ROW = 4 # of one conversion, before it may finish
AT = "pread,pwrite,fsync,rename,truncate,fallocate,memory"
TEXT = "--text ../text --context 64 --tokens 128 -q"
COMMANDS = [
    Command("convert", "convert ../wide --level q4_k -q", "o.moeq"),
    Command("shards", "convert ../wide --level q8_0 --shard-size 8M -q", "o.moeq", "o.moeq.index.json"),
    Command("export", "export ../wide --level q4_k -q", "o.gguf"),
    Command("folder", "export ../wide --format compressed-tensors --level w4g128 --shard-size 8M -q", "o"),
    Command("record", "record ../wide " + TEXT, "o.moeqref"),
    Command("calibrated convert", "convert ../narrow --level q4_k --effort calibrated " + TEXT, "o.moeq"),
]


def make_layer(place, name, *settings):
    """A layer of Qwen3 30B-A3B, of its experts two."""
    made = subprocess.run([sys.executable, place.source / "tests/data/make_full_width.py", place.work / name, "--config",
                           place.source / "tests/fixtures/configs/qwen3-30b-a3b.json", "--moeq", place.moeq, "--layers", "1",
                           "--experts", "2", "--vocab", "256", "--set", "num_experts_per_tok=2", *settings],
                          capture_output=True, text=True)
    if made.returncode != 0:
        sys.exit(made.stderr)
    shutil.copy(place.work / "tiny/tokenizer.json", place.work / name)


def kill_again_and_again(place, command, draw, reference, calls):
    """Some kills of one conversion, then one that is left alone. Returns how many kills there were, and what is wrong."""
    folder = place.work / "killed"
    empty(folder)
    kills = 0
    for _ in range(IN_A_ROW):
        done = place.run(command.arguments, folder, mode="kill", call=AT, number=draw.randrange(1, calls + 1))
        if done.returncode == 0: # the others had left it little to do
            break
        if done.returncode != -signal.SIGKILL:
            return kills, f"exit code {done.returncode}: {done.stderr}"
        kills += 1
        if finals(command, files_of(folder)):
            break
    found = finals(command, files_of(folder))
    if found:
        if found != finals(command, reference):
            return kills, "an output that is not complete"
        for name in reference: # done, but for what is to be removed
            (folder / name).unlink()
    done = place.run(command.arguments, folder)
    if done.returncode != 0:
        return kills, f"after {kills} kills: {done.stderr}"
    if files_of(folder) != reference:
        return kills, f"after {kills} kills other files: {list(files_of(folder))}"
    return kills, ""


def main():
    if not ALL:
        skip("200 kills are for MOEQ_TEST_ALL")
    place, draw, failures = Place(sys.argv), random.Random(20), 0
    make_layer(place, "wide")
    make_layer(place, "narrow", "--set", "hidden_size=512") # error feedback takes its time
    for command in COMMANDS:
        began, kills, folder = time.monotonic(), 0, place.work / "reference"
        empty(folder)
        counts = place.counts(command, folder)
        calls, reference = sum(counts[kind] for kind in AT.split(",")), files_of(folder)
        while kills < KILLS:
            more, wrong = kill_again_and_again(place, command, draw, reference, calls)
            kills += more
            if wrong:
                failures += 1
                print(f"FAIL: {command.name}: {wrong}", flush=True)
            if wrong or not more:
                kills += 1
        print(f"{command.name}: {kills} kills in {calls} calls, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(failures > 0)


main()
