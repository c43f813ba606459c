"""Usage: run_each.py SCRIPT < LINES

Runs SCRIPT once for each line of standard input, whose words are its arguments: as a loop of the shell would, but its
imports (numpy, gguf) are loaded once. Ends at the first that fails, and says which.
"""

import runpy
import sys

script = sys.argv[1]
for line in sys.stdin.read().splitlines():
    sys.argv = [script, *line.split()]
    try:
        runpy.run_path(script, run_name="__main__")
    except BaseException:
        print(f"failed: {script} {line}", file=sys.stderr)
        raise
