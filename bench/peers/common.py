"""What the scripts of this folder share: running programs, peers, times, tables."""

import functools
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
QUIET = 0.1  # processors that other programs may take; some programs wait for their slowest thread
PEERS = os.path.join(ROOT, ".cache", "peers")
HALFTONE = os.environ.get("HALFTONE", os.path.join(ROOT, "build", "halftone"))


def run(command, **options):
    command = [str(c) for c in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with {done.returncode}:\n{done.stderr[-2000:]}")
    return done


@functools.cache
def llama(program, isa=None):
    """The path of a program of llama.cpp, which is built if it has to be: for this machine, or for
    the instruction set `isa` alone."""
    folder = None if isa else os.environ.get("PEER_BIN")
    if not folder:
        build = os.path.join(ROOT, "bench", "peers", "build")
        folder = run([build, *([isa] if isa else [])]).stdout.strip()
    return os.path.join(folder, program)


@functools.cache
def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def timed(*commands):
    """Seconds on the clock and on the processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in commands:
        run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (time.monotonic() - start, after.ru_utime + after.ru_stime - before.ru_utime
            - before.ru_stime)


class Others:
    """How many processors other programs kept busy, on average since this was made."""

    def __init__(self):
        self.start, self.busy, self.own = time.monotonic(), *self.now()

    @staticmethod
    def now():
        with open("/proc/stat") as file:  # user nice system idle iowait irq softirq steal
            ticks = [int(field) for field in file.readline().split()[1:9]]
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ((sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"),
                own.ru_utime + own.ru_stime)

    def processors(self):
        busy, own = self.now()
        return max(0.0, (busy - self.busy - (own - self.own)) / (time.monotonic() - self.start))

    @staticmethod
    def remark(measured):
        """What a table says of figures that were disturbed."""
        disturbed = [processors for processors in measured if processors > QUIET]
        if not disturbed:
            return ""
        return (f"\n\nDuring {len(disturbed)} of {len(measured)} measurements other programs kept up "
                f"to {max(disturbed):.1f} processors busy: no comparison.")


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def write(page, mark, text):
    """Puts the text between its marks, "<!-- MARK -->" and "<!-- end -->", of a page of docs/."""
    path = os.path.join(ROOT, "docs", page)
    with open(path) as file:
        old = file.read()
    marks = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marks.search(old):
        print(f"{path} has no mark for {mark}", file=sys.stderr)
        return
    with open(path, "w") as file:
        file.write(marks.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", old))


def store(name, value):
    """Keeps figures in .cache/peers/NAME.json."""
    os.makedirs(PEERS, exist_ok=True)
    path = os.path.join(PEERS, name + ".json")
    with open(path + ".part", "w") as file:
        json.dump(value, file, indent=1)
    os.rename(path + ".part", path)


def stored(name, otherwise):
    path = os.path.join(PEERS, name + ".json")
    if not os.path.exists(path):
        return otherwise
    with open(path) as file:
        return json.load(file)
