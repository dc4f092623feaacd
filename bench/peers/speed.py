"""Tokens/s of halftone, llama.cpp and, where PEER_BENCH names one, of another llama-bench."""

import json
import os
import shlex
import statistics

import models
from common import HALFTONE, Others, digest, llama, run, store, stored, table, write

MODELS = [models.SMOLLM2, "ref-75m", "tinyllama-1.1b"]
GRIDS = ["q4_0", "q4_k", "q5_k", "q6_k", "q8_0", "q3_k", "q2_k", "iq4_xs", *models.FOLDERS]
WHATS = ["prompt", "generation"]


def by_halftone(path, threads, args):
    done = json.loads(run([HALFTONE, "bench", path, "-p", args.prompt, "-n", args.generate,
                           "--threads", threads, "--repeats", 1, "--json"],
                          env={**os.environ, **({"HALFTONE_ISA": args.isa} if args.isa else {})})
                      .stdout)
    return {"prompt": done["prompt_tps"], "generation": done["generation_tps"],
            "read": done["read_gbps"], "machine": done["machine_gbps"]}


def by_llama_bench(program, extra, path, threads, args):
    done = json.loads(run([program, "-m", path, "-p", args.prompt, "-n", args.generate, "-t",
                           threads, "-r", 1, "-o", "json", *extra]).stdout)
    return {"generation" if test["n_gen"] else "prompt": test["avg_ts"] for test in done}


def sides(isa):
    """Name -> what measures a pair of files once."""
    found = {"halftone": lambda pair, *rest: by_halftone(pair[0], *rest),
             "llama.cpp": lambda pair, *rest: by_llama_bench(llama("llama-bench", isa), [], pair[1],
                                                             *rest)}
    program = os.environ.get("PEER_BENCH")
    if program:
        extra = shlex.split(os.environ.get("PEER_BENCH_ARGS", ""))
        found[os.environ.get("PEER_BENCH_NAME", "peer")] = (
            lambda pair, *rest: by_llama_bench(program, extra, pair[1], *rest))
    return found


def measure(model, grid, threads, args):
    """One row: for each side the median of each figure over interleaved runs."""
    pair = models.pair(model, grid)
    runs = {name: [] for name in sides(args.isa)}
    others = Others()
    for _ in range(args.repeats):
        for name, once in sides(args.isa).items():
            runs[name].append(once(pair, threads, args))
    medians = {name: {key: statistics.median(r[key] for r in all_) for key in all_[0]}
               for name, all_ in runs.items()}
    return {"model": model, "grid": grid, "threads": threads, "isa": args.isa or "best",
            "prompt": args.prompt, "generate": args.generate, "program": digest(HALFTONE),
            "others": others.processors(), "medians": medians, "runs": runs}


def markdown(rows):
    others = list(dict.fromkeys(n for row in rows for n in row["medians"] if n != "halftone"))
    head = ["model", "grid", "threads"]
    for what in WHATS:
        head += [f"{what}: halftone", *(c for name in others for c in (name, "ratio"))]
    lines = []
    for row in rows:
        own = row["medians"]["halftone"]
        line = [os.path.basename(row["model"]), row["grid"], str(row["threads"])]
        for what in WHATS:
            line.append(f"{own[what]:.1f}")
            for name in others:
                theirs = row["medians"].get(name)
                line += [f"{theirs[what]:.1f}", f"{own[what] / theirs[what]:.2f}"] if theirs else ["", ""]
        lines.append([*line, f"{own['read']:.1f}", f"{100 * own['read'] / own['machine']:.0f} %"])
    return (table([*head, "GB/s", "of the machine's"], lines)
            + Others.remark([row["others"] for row in rows]))


def cases(args):
    for model in args.models or MODELS:
        own = [models.SMOLLM2_GRID] if model == models.SMOLLM2 else ["file"]
        known = model != models.SMOLLM2 and not os.path.exists(model)
        for grid in (args.grids or GRIDS) if known else own:
            for threads in args.threads:
                yield model, grid, threads


def speed(args):
    """Measures, prints each row when it is there, and keeps all rows of this build of halftone."""
    def key(row):
        return [row[k] for k in ("model", "grid", "threads", "isa", "prompt", "generate")]

    rows = []
    for case in cases(args):
        rows.append(measure(*case, args))
        print(*case, "  ".join(f"{name} {m['prompt']:.1f} {m['generation']:.1f}"
                               for name, m in rows[-1]["medians"].items()),
              f" (others: {rows[-1]['others']:.2f} processors)", flush=True)
        old = [r for r in stored("speed", []) if isinstance(r.get("medians"), dict)
               and r["program"] == digest(HALFTONE) and key(r) != key(rows[-1])]
        store("speed", [*old, rows[-1]])
    print("\n" + markdown(rows), flush=True)
    if args.write:
        order = {grid: i for i, grid in enumerate([models.SMOLLM2_GRID, *GRIDS])}
        kept = [r for r in stored("speed", []) if key(r)[3:] == key(rows[-1])[3:]]
        kept.sort(key=lambda r: (MODELS.index(r["model"]) if r["model"] in MODELS else 99,
                                 order.get(r["grid"], 99), r["threads"]))
        write("performance.md", f"bench/peers/run speed{' ' + args.isa if args.isa else ''}",
              markdown(kept))
