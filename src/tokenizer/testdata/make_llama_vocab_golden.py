"""Writes llama_vocab_golden.json: small vocabularies of the kinds "plamo2", "hybriddna" and
"whitespace", and the ids that llama.cpp's llama-tokenize gives for some texts with each.

  python make_llama_vocab_golden.py LLAMA_TOKENIZE

Needs the package gguf (with numpy). What is written depends on LLAMA_TOKENIZE's version only.
"""

import ast
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import gguf

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["the", "th", "he", "in", "ing", " the", " a", "and", "nd", "  ", "ab", "abc", "bc", "c",
         "日本", "本", "日", "語", "日本語", "é", "né", "\n", "\n\n", "!", "?!", "a", "b", "n", "t"]


def byte_characters():
    """GPT-2's characters for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + n) for n, b in enumerate(other)}}


def plamo2():
    chosen = random.Random(1)
    tokens = ["<|unk|>", "<|bos|>", "<|eos|>", "<|pad|>"] + BYTES + WORDS + ["<|user|>"]
    types = [2, 3, 3, 3] + [6] * 256 + [1] * len(WORDS) + [4]
    scores = [0.0] * 260 + [round(-chosen.uniform(1, 12), 3) for _ in WORDS] + [0.0]
    # Ways of equal sums, and a token that costs more than the bytes would.
    scores[tokens.index("abc")] = -3.0
    scores[tokens.index("ab")] = scores[tokens.index("bc")] = -2.0
    scores[tokens.index("a")] = scores[tokens.index("c")] = -1.0
    scores[tokens.index("?!")] = -2500.0
    return {"model": "plamo2", "tokens": tokens, "types": types, "scores": scores}


def merged(merges, first):
    tokens = list(first)
    for merge in merges:
        joined = merge.replace(" ", "", 1)
        if joined not in tokens:
            tokens.append(joined)
    return tokens


def hybriddna():
    merges = ["t h", "th e", "Ġ the", "C C", "CC CC", "CCCC CC", "A C", "n a", "d na"]
    tokens = merged(merges, byte_characters().values())
    tokens += ["<dna>", "</dna>", "<oov>"]
    chosen = random.Random(2)
    groups = {"AAAAAA", "CCCCCC", "ACGTAC", "GTACGT", "GTAAAA", "TTTTTT"}
    while len(groups) < 60:
        groups.add("".join(chosen.choice("ACGT") for _ in range(6)))
    tokens += [group + "\ue000" for group in sorted(groups)]
    return {"model": "hybriddna", "pre": "gpt-2", "tokens": tokens, "types": [1] * len(tokens),
            "merges": merges}


def whitespace(lowercase):
    merges = ["t h", "th e", "日 本", "日本 語", "i n", "in g", "a b", "ab c", "é e"]
    letters = sorted(set("abcdefghint日本語éäß?!.XYZ"))
    tokens = merged(merges, ["[UNK]"] + letters)
    vocabulary = {"model": "whitespace", "pre": "whitespace", "tokens": tokens,
                  "types": [2] + [1] * (len(tokens) - 1), "merges": merges}
    if lowercase is not None:
        vocabulary["lowercase"] = lowercase
    return vocabulary


def texts():
    chosen = random.Random(3)
    pieces = WORDS + ["<dna>", "</dna>", "ACGTAC", "gtacgt", "CCCCCC", "TTTTTTA", "ACGTN", "<oov>",
                      "<|user|>", "<|bos|>", "\ufeff", "THE", "Éé", "\u3000", "\t", "ñ", "😀", "ABC",
                      "ing", "x", "Ä", "\u0130", " "]
    listed = ["", "\ufeffabc", "abcabc", "<dna>ACGTACgtacgtAC</dna> the<dna>", "<dna></dna>the",
              "日本語 日本\u3000語", "the thing in", "?!?!"]
    for _ in range(200):
        listed.append("".join(chosen.choice(pieces) for _ in range(chosen.randrange(1, 12))))
    return listed


def write(vocabulary, path):
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in ((writer.add_context_length, 64), (writer.add_embedding_length, 32),
                       (writer.add_block_count, 1), (writer.add_feed_forward_length, 32),
                       (writer.add_head_count, 1), (writer.add_layer_norm_rms_eps, 1e-5)):
        add(value)
    writer.add_tokenizer_model(vocabulary["model"])
    if "pre" in vocabulary:
        writer.add_tokenizer_pre(vocabulary["pre"])
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["types"])
    if "scores" in vocabulary:
        writer.add_token_scores(vocabulary["scores"])
    if "merges" in vocabulary:
        writer.add_token_merges(vocabulary["merges"])
    if "lowercase" in vocabulary:
        writer.add_bool("tokenizer.ggml.normalizer.lowercase", vocabulary["lowercase"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def ids(program, path, text, special):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        arguments = [program, "-m", path, "-f", file.name, "--ids", "--log-disable",
                     "--no-escape"]
        if not special:
            arguments += ["--no-bos", "--no-parse-special"]
        found = subprocess.run(arguments, capture_output=True, check=True, text=True).stdout
        return " ".join(map(str, ast.literal_eval(found.strip().splitlines()[-1])))


def main(program):
    golden = {"texts": texts(), "kinds": []}
    for vocabulary in (plamo2(), hybriddna(), whitespace(None), whitespace(True)):
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder) / "vocabulary.gguf")
            write(vocabulary, path)
            for name, special in (("plain", False), ("special", True)):
                vocabulary[name] = [ids(program, path, text, special) for text in golden["texts"]]
        golden["kinds"].append(vocabulary)
    text = json.dumps(golden, ensure_ascii=False, indent=0)
    (pathlib.Path(__file__).parent / "llama_vocab_golden.json").write_text(text + "\n")


main(sys.argv[1])
