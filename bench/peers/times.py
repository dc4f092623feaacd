"""Times of halftone beside llama.cpp's: rounding to each preset, opening a large file."""

import os
import statistics
import tempfile

import models
from agreement import PRESETS, tensors
from common import HALFTONE, Others, PEERS, ROOT, llama, run, store, table, timed, write

CALIBRATION = os.path.join(ROOT, "data", "calibration.txt")


def both(args, preset, extra, source, folder):
    """Medians of interleaved runs in seconds, and whether the tensors have the same bytes."""
    ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
    seconds = {"halftone": [], "llama-quantize": []}
    others = Others()
    for _ in range(args.repeats):
        seconds["llama-quantize"].append(timed([llama("llama-quantize"), *extra, source, theirs,
                                                preset, args.threads])[0])
        seconds["halftone"].append(timed([HALFTONE, "quantize", source, "-o", ours, "--grid",
                                          preset.lower(), "--method",
                                          "imatrix" if extra else "rtn", "--threads", args.threads,
                                          *extra])[0])
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    return {"preset": preset, "imatrix": bool(extra), **medians, "others": others.processors(),
            "same": tensors(ours) == tensors(theirs)}


def quantize(args):
    """Rounding a bf16 file without and with importances, by as many threads."""
    source = models.gguf(args.model, "bf16")
    rows = []
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        imatrix = os.path.join(folder, "imatrix.gguf")
        run([HALFTONE, "imatrix", source, "--text", CALIBRATION, "-o", imatrix, "--chunks", 4])
        for preset in args.presets or PRESETS:
            for extra in ([], ["--imatrix", imatrix]):
                rows.append(both(args, preset, extra, source, folder))
                print("{preset:8} imatrix: {imatrix}  halftone {halftone:.2f} s  llama-quantize "
                      "{llama-quantize:.2f} s  same bytes: {same}".format(**rows[-1]), flush=True)
    store("quantize", {"model": args.model, "threads": args.threads, "rows": rows})
    text = table(["preset", "method", "halftone", "llama-quantize", "ratio", "bytes"],
                 [[r["preset"], "imatrix" if r["imatrix"] else "rtn", f"{r['halftone']:.2f} s",
                   f"{r['llama-quantize']:.2f} s", f"{r['halftone'] / r['llama-quantize']:.2f}",
                   "the same" if r["same"] else "others"] for r in rows])
    text += Others.remark([r["others"] for r in rows])
    print("\n" + text)
    if args.write:
        write("performance.md", "bench/peers/run quantize", text)


def forget(path):
    """Takes the file out of the page cache, as far as the system lets it go."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loading(args):
    """Opening a file and answering with a first token; cold: from the disk."""
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        path = os.path.join(folder, "large.gguf")
        run([models.random_model(), path, "--shape", args.shape, "--grid", args.grid])
        commands = {
            "halftone inspect": [HALFTONE, "inspect", path],
            "halftone, first token": [HALFTONE, "run", path, "-p", "x", "-n", 1, "--temp", 0,
                                      "--threads", args.threads],
            "llama-bench, two tokens": [llama("llama-bench"), "-m", path, "-p", 2, "-n", 0, "-r", 1,
                                        "--no-warmup", "-t", args.threads]}
        others = Others()
        seconds = {(name, kind): [] for name in commands for kind in ("cold", "warm")}
        for _ in range(args.repeats):
            for name, command in commands.items():
                forget(path)
                for kind in ("cold", "warm"):
                    seconds[name, kind].append(timed(command)[0])
        size, others = os.path.getsize(path), others.processors()
    medians = {key: statistics.median(s) for key, s in seconds.items()}
    store("loading", {"shape": args.shape, "grid": args.grid, "bytes": size,
                      "others": others, "seconds": {" ".join(key): s for key, s in medians.items()}})
    text = table([f"{args.shape} {args.grid}, {size / 1e9:.1f} GB", "cold", "warm"],
                 [[name, *(f"{medians[name, kind]:.3f} s" for kind in ("cold", "warm"))]
                  for name in commands]) + Others.remark([others])
    print(text)
    if args.write:
        write("performance.md", "bench/peers/run loading", text)
