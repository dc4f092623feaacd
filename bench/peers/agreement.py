"""Whether halftone finds what llama.cpp finds: bytes, perplexity, importances."""

import json
import os
import re
import statistics
import tempfile

from common import HALFTONE, PEERS, llama, run, store, timed

PRESETS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S",
           "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"]


def tensors(path):
    """Name -> (type, bytes) of a GGUF file, read by gguf-py."""
    from gguf import GGUFReader
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in GGUFReader(path).tensors}


def identity(args):
    rows = []
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
        for preset in args.presets or PRESETS:
            extra = ["--imatrix", args.imatrix] if args.imatrix else []
            run([llama("llama-quantize"), "--allow-requantize", *extra, args.model, theirs, preset])
            run([HALFTONE, "quantize", args.model, "-o", ours, "--grid", preset.lower(), *extra])
            a, b = tensors(ours), tensors(theirs)
            same = [n for n in b if a.get(n) == b[n]]
            types = [n for n in b if a.get(n, ("",))[0] != b[n][0]]
            differ = sum(x != y for n in b if n in a and a[n][0] == b[n][0]
                         for x, y in zip(a[n][1], b[n][1]))
            rows.append({"preset": preset, "tensors": len(b), "identical": len(same),
                         "types_differ": len(types), "bytes_differ": differ,
                         "bytes": sum(len(v[1]) for v in b.values()), "order": list(a) == list(b)})
            print("{preset:8} {identical:4}/{tensors} tensors identical, {types_differ} of another "
                  "type, {bytes_differ} of {bytes} bytes differ, same order: {order}".format(**rows[-1]),
                  flush=True)
    store("identity", rows)


def quality(args):
    done = run([llama("llama-perplexity"), "-m", args.model, "-f", args.text, "-c", args.context,
                "--chunks", args.chunks, "-t", args.threads])
    theirs = float(re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout + done.stderr)[1])
    ours = json.loads(run([HALFTONE, "evaluate", args.model, "--text", args.text, "--context",
                           args.context, "--chunks", args.chunks, "--threads", args.threads,
                           "--json"]).stdout)["perplexity"]
    row = {"model": args.model, "halftone": ours, "llama-perplexity": theirs,
           "difference_percent": 100 * (ours / theirs - 1)}
    print("perplexity: halftone {halftone:.4f}, llama-perplexity {llama-perplexity:.4f}, "
          "difference {difference_percent:+.3f} %".format(**row))
    store("quality", row)


def imatrix(args):
    from gguf import GGUFReader
    import numpy
    seconds = {"halftone": [], "llama-imatrix": []}
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
        for _ in range(args.repeats):
            seconds["llama-imatrix"].append(timed(
                [llama("llama-imatrix"), "-m", args.model, "-f", args.text, "-o", theirs, "-c",
                 args.context, "--chunks", args.chunks, "-t", args.threads, "--no-ppl"])[0])
            seconds["halftone"].append(timed(
                [HALFTONE, "imatrix", args.model, "--text", args.text, "-o", ours, "--context",
                 args.context, "--chunks", args.chunks, "--threads", args.threads])[0])
        a = {t.name: t.data.astype("f8") for t in GGUFReader(ours).tensors}
        b = {t.name: t.data.astype("f8") for t in GGUFReader(theirs).tensors}
    relative = [float(numpy.linalg.norm(a[n] - b[n]) / numpy.linalg.norm(b[n])) for n in b if n in a]
    row = {"entries": len(b), "missing": sorted(set(b) - set(a)), "extra": sorted(set(a) - set(b)),
           "largest_relative_difference": max(relative),
           "seconds": {name: statistics.median(s) for name, s in seconds.items()}}
    print("{entries} entries, missing {missing}, extra {extra}, largest relative difference "
          "{largest_relative_difference:.2g}".format(**row))
    a, b = row["seconds"]["halftone"], row["seconds"]["llama-imatrix"]
    print(f"halftone {a:.1f} s, llama-imatrix {b:.1f} s, ratio {a / b:.2f}")
    store("imatrix", row)
