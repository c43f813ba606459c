#!/usr/bin/env python3
"""Makes the man page from the program's own help, so that it says what the program does.

usage: make_man.py MOEQ > moeq.1        MOEQ: path of the built program
"""
import re
import subprocess
import sys


def help_of(program, *words):
    return subprocess.run([program, *words, "--help"], check=True, capture_output=True,
                          text=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line
                     for line in text.splitlines())


def literal(text):
    return ".nf\n" + escape(text.rstrip()) + "\n.fi\n"


def main():
    program = sys.argv[1]
    version = subprocess.run([program, "--version"], check=True, capture_output=True,
                             text=True).stdout.split()[1]
    general = help_of(program)
    commands = re.findall(r"^  (\w+) +(.+)$", general.split("commands:\n")[1].split("\n\n")[0],
                          re.M)
    print(f'.TH MOEQ 1 "" "moeq {version}" "User Commands"')
    print(".SH NAME\nmoeq \\- convert, evaluate and referee quantized Mixture\\-of\\-Experts models")
    print(".SH SYNOPSIS\n.B moeq\n.I COMMAND\n[\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]")
    print(".SH DESCRIPTION")
    print(escape("\n".join(general.split("\n\n")[1].splitlines())))
    print(".SH COMMANDS")
    for name, _ in commands:
        text = help_of(program, name)
        usage, rest = text.split("\n\n", 1)
        print(f".SS {name}")
        print(".B " + escape(usage.removeprefix("usage: ").strip()))
        print(".PP")
        print(literal(rest.split("\nexit codes:")[0]).rstrip())
    print(".SH EXIT STATUS\n0 good, 1 failure, 2 usage, 3 verification found a regression.")
    print(".SH ENVIRONMENT")
    print(".TP\n.B MOEQ_ISA\ngeneric, neon (of ARM), avx2 or avx512: at most this instruction set. "
          "The results are the same bits.")
    print(".TP\n.B NO_COLOR\nwhere it is set and not empty, \\-\\-color auto is never.")
    print(".TP\n.B COLUMNS\nthe width of the terminal, for progress.")
    print(".TP\n.B HF_HOME, HF_HUB_CACHE\nwhere the local Hugging Face cache is.")


main()
