"""What faults.py, power_cuts.py and kills.py share: the program with fault_shim.c in front of it, and commands on a tiny model
with what they must end in. Each is called as: SCRIPT.py MOEQ SOURCE_DIR WORK_DIR SHIM; exit code 77 means skipped."""
import os
import pathlib
import shutil
import struct
import subprocess
import sys

# fault_shim.c's, in its order
KINDS = ("memory open opendir pread read pwrite write fsync rename truncate fallocate close unlink mkdir flock stat statvfs "
         "chmod realpath flush mmap").split()
ALL = bool(os.environ.get("MOEQ_TEST_ALL"))
MODEL = "tests/fixtures/oracles/mixtral"
SMALL_TOKENIZER = "tests/fixtures/gguf/letters_tokenizer.json"
TEXT = "--text ../text --context 16 --tokens 96 -q --threads 1"
TIMEOUT = 120


class Command:
    """Called in a folder for the output, beside the inputs. `final`: what makes the output a whole, a file or a folder;
    `earlier`: a file of what such an output was before; `force`: what replaces it."""

    def __init__(self, name, arguments, out=None, final=None, force=("--force",), earlier=None):
        self.name, self.final, self.force = name, final or out, list(force)
        self.earlier = earlier or self.final
        self.arguments = arguments.split() + (["-o", out] if out else [])


COMMANDS = [
    Command("convert", "convert ../tiny --level q8_0 -q --threads 1", "o.moeq"),
    Command("shards", "convert ../tiny --level q8_0 --shard-size 200K -q --threads 1", "o.moeq", "o.moeq.index.json"),
    Command("calibrated convert", "convert ../tiny --level q4_k --effort calibrated " + TEXT, "o.moeq"),
    Command("export", "export ../tiny -q --threads 1", "o.gguf"),
    Command("folder", "export ../tiny --format mlx --level mlx4g32 -q --threads 1", "o", earlier="o/config.json"),
    Command("record", "record ../tiny " + TEXT, "o.moeqref"),
    Command("calibrate", "calibrate ../tiny " + TEXT, "o.cal"),
    Command("check", "check ../small.moeq --threads 1"),
    Command("verify", "verify ../small.moeq --against ../small.moeqref -q --threads 1"),
    Command("sweep", "sweep ../tiny --levels q8_0,q4_k --tensor *.w1.*=q8_0 " + TEXT),
    Command("files", "sweep ../tiny --files ../small.moeq " + TEXT),
    Command("fit", "fit ../tiny --vram 8G --levels q8_0,q4_k --tensor *.w1.*=q8_0"),
    Command("inspect", "inspect ../tiny"),
    Command("tokenize", "tokenize ../tiny --string hello"),
    Command("report", "report ../sweep.json", "o.html", force=()),
]


class Place:
    """A working folder with the inputs, and the program."""

    def __init__(self, argv):
        self.moeq, self.source, self.work, self.shim = (pathlib.Path(a).absolute() for a in argv[1:5])
        if not self.shim.exists():
            skip(f"{self.shim} was not built")
        symbols = subprocess.run(["nm", "-D", self.moeq], capture_output=True, text=True).stdout
        self.sanitized = "__asan_" in symbols
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.source / MODEL, self.work / "tiny",
                        ignore=shutil.ignore_patterns("golden*", "config_tf5.json"))
        shutil.copy(self.source / SMALL_TOKENIZER, self.work / "tiny/tokenizer.json")
        with open(self.source / "demo/text.txt", "rb") as text:
            (self.work / "text").write_bytes(text.read(500))
        empty(self.work / "made")
        self.good("convert ../tiny -o ../small.moeq --level q8_0 -q")
        self.good("record ../tiny -o ../small.moeqref " + TEXT)
        (self.work / "sweep.json").write_text(self.good("sweep ../tiny --levels q8_0 --json " + TEXT).stdout)

    def environment(self, **fault):
        """GOMP_SPINCOUNT, or the program begins anew, and counts anew."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("FAULT_", "MOEQ_"))}
        env |= {"GOMP_SPINCOUNT": "3000", "OMP_NUM_THREADS": "1", "LC_ALL": "C"}
        if self.sanitized: # the shim stands before the sanitizer, whose own functions it calls
            env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "detect_leaks=1") + ":verify_asan_link_order=0:exitcode=99"
        env["LD_PRELOAD"] = str(self.shim)
        return env | {"FAULT_" + k.upper(): str(v) for k, v in fault.items()}

    def run(self, arguments, folder, **fault):
        return subprocess.run([str(self.moeq)] + arguments, cwd=folder, env=self.environment(**fault), capture_output=True,
                              text=True, errors="replace", timeout=TIMEOUT, stdin=subprocess.DEVNULL)

    def good(self, arguments):
        done = self.run(arguments.split(), self.work / "made")
        if done.returncode != 0:
            sys.exit(f"moeq {arguments}: {done.stderr}")
        return done

    def counts(self, command, folder):
        """Calls of each kind that a command makes."""
        at = self.work / "counts"
        at.unlink(missing_ok=True)
        done = self.run(command.arguments, folder, counts=at)
        if done.returncode != 0:
            sys.exit(f"{command.name}: {done.stderr}")
        return dict(zip(KINDS, struct.unpack(f"{len(KINDS)}q", at.read_bytes())))

    def sites(self, command, kind, folder):
        """Numbers of calls of a kind: the first and the last of each way to one."""
        at = self.work / "sites"
        at.unlink(missing_ok=True)
        self.run(command.arguments, folder, sites=at, call=kind)
        first, last = {}, {}
        for i, (site,) in enumerate(struct.iter_unpack("Q", at.read_bytes()), 1):
            first.setdefault(site, i)
            last[site] = i
        return sorted(set(first.values()) | set(last.values()))


def files_of(folder):
    """Name -> bytes, also of those in folders."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def finals(command, files):
    """Those that make a command's output."""
    return {n: b for n, b in files.items() if command.final and (n == command.final or n.startswith(command.final + "/"))}


def empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)
