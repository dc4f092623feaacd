# %% [markdown]
# # From a folder of weights to a small model, and what that cost
#
# python quantize_and_compare.py MODEL CALIBRATION.txt TEST.txt

# %%
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import halftone

model, calibration, test = sys.argv[1:4]
folder = TemporaryDirectory()

# %% [markdown]
# ## Quantize to 4 bits, in two ways

# %%
files = {}
for method in ("rtn", "imatrix"):
    report = halftone.quantize(
        model,
        Path(folder.name) / f"{method}.gguf",
        grid="q4_0",
        method=method,
        calibration=calibration if method == "imatrix" else None,
    )
    files[method] = report.output
    print(f"{method}: {report.file_bytes:,} bytes, {report.bits_per_weight:.2f} bits per weight")

# %% [markdown]
# ## How far are their predictions from the original's?

# %%
for method, path in files.items():
    measured = halftone.evaluate(path, test, reference=model, context=128)
    print(
        f"{method}: perplexity {measured.perplexity.value:.2f}, "
        f"KL divergence {measured.kld_mean.value:.4f} ± {measured.kld_mean.error:.4f}"
    )

# %% [markdown]
# ## What do they say?

# %%
for method, path in files.items():
    small = halftone.AutoModelForCausalLM.from_pretrained(path)
    print(f"{method}:", small.generate("Once upon a time", max_new_tokens=16).text)

# %% [markdown]
# ## Logits, as numpy arrays

# %%
ids = small.tokenizer.encode("Once upon a time")
print("the likeliest next token:", repr(small.tokenizer.decode(small.logits(ids)[-1].argmax())))
folder.cleanup()
