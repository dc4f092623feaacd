"""The models that speed is measured with, kept in .cache/peers/models once they are made.

A model is a name of random_model's shapes (its weights are random, which changes no speed), a file,
or smollm2, the demonstration's own file. A grid is a name of GGUF's, all matrices being on it, or
one of FOLDERS, which halftone quantize makes of the bf16 file.
"""

import os
import shutil

from common import HALFTONE, PEERS, ROOT, run

# The folders keep embedding and output as they were; the GGUF file beside them has the same bytes.
FOLDERS = {"gptq": ["--grid", "int4:g128", "--container", "gptq"],
           "awq": ["--grid", "int4:g128:asym", "--container", "awq"],
           "nf4": ["--grid", "nf4:g64", "--container", "bnb"]}
NEAREST = ["q4_0", "--output-grid", "bf16"]
SMOLLM2 = "smollm2"
SMOLLM2_GRID = "q4_1"


def random_model():
    return os.environ.get("RANDOM_MODEL", os.path.join(ROOT, "build", "bench", "random_model"))


def kept(name, make):
    folder = os.path.join(PEERS, "models")
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        # The name tells halftone which container is meant.
        part = os.path.join(folder, "part-" + name)
        if os.path.isdir(part):
            shutil.rmtree(part)
        make(part)
        os.rename(part, path)
    return path


def gguf(model, grid, *arguments):
    """The path of a model's GGUF file on a grid."""
    if os.path.exists(model):
        return model
    if model == SMOLLM2:
        return run([os.path.join(ROOT, "scripts", "fetch-model")]).stdout.strip()
    name = "-".join([model, grid, *(a.strip("-") for a in arguments)])
    return kept(name + ".gguf", lambda path: run([random_model(), path, "--shape", model, "--grid",
                                                  grid, *arguments]))


def pair(model, grid):
    """What halftone reads and what the others read."""
    if grid not in FOLDERS:
        return (gguf(model, grid),) * 2
    ours = kept(f"{model}-{grid}", lambda path: run(
        [HALFTONE, "quantize", gguf(model, "bf16"), "-o", path, "--method", "rtn", *FOLDERS[grid]]))
    return ours, gguf(model, *NEAREST)
