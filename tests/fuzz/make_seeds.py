"""The seeds of the fuzz targets, tests/fuzz/seeds/<target>/<name>.

  python3 tests/fuzz/make_seeds.py

Files of every kind that is read, small; the shapes that broke other readers, by the number under
which they were published; and "hostile-*", which break one rule each. What fuzzing has found lies
beside them as "found-*" and is not made here.

  CVE-2024-21802  a tensor of more dimensions than the array for them holds (TALOS-2024-1914); with
                  it TALOS-2024-1912, 1913, 1915 and 1916: counts and lengths that overflow as bytes
  CVE-2025-53630  sizes of tensors whose sum wraps around 2^64
  CVE-2026-27940  the same just below 2^64: what is added for the headers wraps
  CVE-2026-7482   a tensor whose data goes on behind the end of the file
  43 bytes        an array whose length nobody held against the file (gguf-py looped over it)
"""

import json
import pathlib
import struct

SEEDS = pathlib.Path(__file__).parent / "seeds"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = dict(zip(range(13), "BbHhIif?__Qqd"))


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, value, element=None):
    out = text(name) + struct.pack("<I", kind)
    if kind == STRING:
        return out + text(value)
    if kind == ARRAY:
        out += struct.pack("<IQ", element, len(value))
        if element == STRING:
            return out + b"".join(map(text, value))
        return out + b"".join(struct.pack("<" + FORMATS[element], v) for v in value)
    return out + struct.pack("<" + FORMATS[kind], value)


def tensor(name, extents, kind, offset, dims=None):
    out = text(name) + struct.pack("<I", len(extents) if dims is None else dims)
    return out + struct.pack(f"<{len(extents)}QiQ", *extents, kind, offset)


def gguf(keys=(), tensors=(), data=b"", version=3, n_keys=None, n_tensors=None):
    n_keys = len(keys) if n_keys is None else n_keys
    n_tensors = len(tensors) if n_tensors is None else n_tensors
    out = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys)
    out += b"".join(keys) + b"".join(tensors)
    return out + b"\0" * (-len(out) % 32) + data


ARCHITECTURE = [
    key("general.architecture", STRING, "llama"),
    key("llama.block_count", U32, 1),
    key("llama.context_length", U32, 64),
    key("llama.embedding_length", U32, 32),
    key("llama.feed_forward_length", U32, 32),
    key("llama.attention.head_count", U32, 4),
    key("llama.attention.head_count_kv", U32, 2),
    key("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
    key("llama.rope.freq_base", F32, 1e4),
]


def tokenizer(model, tokens, types, scores=None, merges=None, more=()):
    keys = [
        key("tokenizer.ggml.model", STRING, model),
        key("tokenizer.ggml.tokens", ARRAY, tokens, STRING),
        key("tokenizer.ggml.token_type", ARRAY, types, I32),
    ]
    if scores is not None:
        keys.append(key("tokenizer.ggml.scores", ARRAY, scores, F32))
    if merges is not None:
        keys.append(key("tokenizer.ggml.merges", ARRAY, merges, STRING))
    return keys + list(more)


PIECES = ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "\u2581a", "te", "x", "t", "text", "\u00e9"]
TYPES = [2, 3, 3, 6, 1, 1, 1, 1, 1, 4, 1]
SCORES = [0, 0, 0, 0, -1, -2, -3, -4, -5, -6, -7.5]


def ggufs():
    q8 = tensor("blk.0.w", [64, 2], 8, 32)
    yield "plain", gguf(ARCHITECTURE, [tensor("norm", [5], 0, 0), q8], bytes(32 + 136))
    yield "every-type", gguf(
        [
            *(key(f"k{t}", t, 1) for t in (U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64)),
            key("s", STRING, "text"),
            *(key(f"a{t}", ARRAY, [1, 0], t) for t in (U8, I16, U32, F32, BOOL, I64, F64)),
            key("as", ARRAY, ["a", "", "\u0120x"], STRING),
        ]
    )
    yield "alignment", gguf([key("general.alignment", U32, 32)], [tensor("a", [1], 0, 0)], bytes(32))
    yield "version-2", gguf(ARCHITECTURE, [tensor("a", [3], 1, 0)], bytes(32), version=2)
    yield "split", gguf(
        [key("split.no", U16, 0), key("split.count", U16, 2), key("split.tensors.count", I32, 2)]
    )
    yield "spm", gguf(tokenizer("llama", PIECES, TYPES, SCORES))
    yield "unigram", gguf(tokenizer("t5", PIECES, TYPES, SCORES))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581a", "\u2581text", "ext", "\u25811", "2"]
    yield "wordpiece", gguf(tokenizer("bert", words, [3, 2, 3, 3, 1, 1, 1, 1, 1]))
    yield "rwkv", gguf(tokenizer("rwkv", ["<s>", "\\x00", "A", " t", "\\n", "te"], [3, 6, 1, 1, 1, 1]))
    alphabet = [chr(c) for c in range(33, 127)] + ["\u0120", "te", "xt", "text", "\u0120text"]
    merges = ["t e", "x t", "te xt", "\u0120 text"]
    for pre in ("gpt-2", "llama-bpe", "deepseek-llm"):
        yield f"bpe-{pre}", gguf(
            tokenizer(
                "gpt2", alphabet, [1] * len(alphabet), None, merges,
                [key("tokenizer.ggml.pre", STRING, pre)],
            )
        )  # fmt: skip
    yield "gemma4", gguf(tokenizer("gemma4", PIECES, TYPES, SCORES, ["t e", "te x", "tex t"]))

    big = 1 << 62
    yield "cve-2024-21802-dimensions", gguf([], [tensor("a", [1] * 8, 0, 0)], bytes(32))
    yield "cve-2024-21802-dimensions-max", gguf([], [tensor("a", [1] * 4, 0, 0, dims=2**32 - 1)])
    yield "talos-2024-1912-array", gguf([text("a") + struct.pack("<IIQ", ARRAY, STRING, big)])
    yield "talos-2024-1913-tensors", gguf(n_tensors=2**64 // 88 + 1)
    yield "talos-2024-1915-string", gguf([struct.pack("<Q", 2**64 - 1) + b"abc"])
    yield "talos-2024-1916-keys", gguf(n_keys=2**64 // 48 + 1)
    half = tensor("a", [1 << 61], 0, 0), tensor("b", [1 << 61], 0, 1 << 63)
    yield "cve-2025-53630-sum", gguf([], [*half, tensor("c", [8], 0, 0)], bytes(32))
    almost = [tensor("a", [(1 << 61) - 8], 0, 0), tensor("b", [(1 << 61) - 32], 0, 2**63 - 32)]
    yield "cve-2026-27940-headers", gguf([], almost, bytes(64))
    yield "cve-2026-27940-product", gguf([], [tensor("a", [1 << 32, 1 << 30], 0, 0)], bytes(64))
    yield "cve-2026-7482-data", gguf(ARCHITECTURE, [tensor("blk.0.w", [64, 4096], 8, 0)], bytes(68))
    yield "cve-2026-7482-offset", gguf([], [tensor("a", [16], 0, 2**64 - 32)], bytes(64))
    yield "43-bytes", gguf([struct.pack("<Q", 3) + b"abc" + struct.pack("<II", ARRAY, ARRAY)])[:43]
    yield "array-without-end", gguf([text("a") + struct.pack("<IIQ", ARRAY, U8, 2**64 - 1)])[:49]
    nested = b"".join(struct.pack("<IQ", ARRAY, 1) for _ in range(64))
    yield "arrays-of-arrays", gguf([text("a") + struct.pack("<I", ARRAY) + nested])
    yield "hostile-alignment", gguf([key("general.alignment", U32, 2**31)])
    yield "hostile-scores", gguf(tokenizer("llama", PIECES, TYPES, SCORES[:3]))
    yield "empty", b""


def safetensors(header, data=b""):
    raw = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_files():
    yield "plain", safetensors(
        {
            "__metadata__": {"format": "pt"},
            "a": entry("F32", [2, 2], 0, 16),
            "b": entry("BF16", [3], 16, 22),
            "c": entry("I64", [0, 7], 22, 22),
            "d": entry("F8_E4M3", [], 22, 23),
        },
        bytes(23),
    )
    yield "empty", safetensors({})
    yield "hostile-length", struct.pack("<Q", 2**64 - 1) + b"{}"
    yield "hostile-hole", safetensors({"a": entry("U8", [1], 1, 2)}, bytes(2))
    yield "hostile-overlap", safetensors(
        {"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, bytes(3)
    )
    yield "hostile-product", safetensors({"a": entry("F32", [1 << 32, 1 << 30], 0, 0)})
    yield "hostile-negative", safetensors({"a": entry("U8", [-1, -1], 0, 1)}, bytes(1))
    yield "hostile-end", safetensors({"a": entry("U8", [100], 0, 100)}, bytes(4))
    yield "hostile-depth", safetensors('{"a":' + "[" * 500 + "]" * 500 + "}")
    yield "hostile-twice", safetensors(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', bytes(1)
    )  # fmt: skip


def indexes():
    good = {"metadata": {"total_size": 8}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    yield "plain", json.dumps(good).encode()
    yield "hostile-path", json.dumps({"weight_map": {"a": "../a.safetensors"}}).encode()
    yield "hostile-absolute", json.dumps({"weight_map": {"a": "/etc/passwd"}}).encode()
    yield "hostile-itself", json.dumps({"weight_map": {"a": "model.safetensors.index.json"}}).encode()
    yield "hostile-folder", json.dumps({"weight_map": {"a": "."}}).encode()
    yield "hostile-missing", json.dumps({"weight_map": {"c": "a.safetensors"}}).encode()
    yield "hostile-depth", b'{"weight_map":' + b"[" * 500
    yield "no-map", b"{}"


def joined(tokenizer_json, config=None):
    raw = json.dumps(tokenizer_json, ensure_ascii=False).encode()
    return raw if config is None else raw + b"\0" + json.dumps(config).encode()


def added(ident, content, special=True):
    return {"id": ident, "content": content, "special": special}


def tokenizer_jsons():
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True}
    special = [added(0, "<s>"), added(1, "</s>")]
    vocab = {t: i for i, t in enumerate(["<s>", "</s>", "A", "t", "e", "x", "te", "xt", "\u0120"])}
    merges = [["t", "e"], ["x", "t"]]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        "pair": [],
    }
    yield "byte-level", joined(
        {
            "added_tokens": special,
            "pre_tokenizer": byte_level,
            "post_processor": template,
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        },
        config,
    )
    yield "steps", joined(
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
            },
            "model": {"type": "BPE", "vocab": vocab, "merges": ["t e", "x t"]},
        }
    )
    pieces = ["<unk>", "<s>", "</s>", "<0xC3>", "<0xFF>", "\u2581", "t", "e", "x", "te", "\u2581te"]
    yield "byte-fallback", joined(
        {
            "added_tokens": [added(1, "<s>"), added(2, "</s>"), added(11, "<tool>", False)],
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": "\u2581"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                ],
            },
            "model": {
                "type": "BPE",
                "byte_fallback": True,
                "unk_token": "<unk>",
                "vocab": {t: i for i, t in enumerate(pieces)},
                "merges": [["t", "e"], ["\u2581", "te"]],
            },
        },
        config,
    )
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    yield "unigram", joined(
        {
            "added_tokens": [added(0, "<unk>")],
            "pre_tokenizer": metaspace,
            "model": {
                "type": "Unigram",
                "unk_id": 0,
                "vocab": [["<unk>", 0], ["\u2581", -2], ["t", -3.5], ["text", -4], ["\u2581A", -5]],
            },
        }
    )
    yield "wordpiece", joined(
        {
            "added_tokens": [added(0, "[UNK]")],
            "normalizer": {"type": "BertNormalizer", "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "vocab": {"[UNK]": 0, "a": 1, "text": 2, "##xt": 3, "te": 4, ",": 5},
            },
        }
    )
    yield "hostile-id", joined({"model": {"type": "BPE", "vocab": {"a": 2**63 - 1}, "merges": []}})
    yield "hostile-negative", joined({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})
    yield "hostile-depth", b'{"model":' + b'{"a":' * 400
    yield "hostile-types", joined({"model": {"type": 7, "vocab": [], "merges": {}}, "added_tokens": 1})


def varint(value):
    value %= 1 << 64
    out = b""
    while value >= 128:
        out += bytes([value % 128 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field of a message of protocol buffers."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def double_array(replacements):
    """A map of single bytes to texts, as SentencePiece compiles it (spm_normalizer.h)."""
    units, texts = [0] * 512, b""
    units[0] = 256 << 10  # the children of the root are at 256 ^ byte
    for at, (byte, text) in enumerate(replacements.items()):
        place, value = 256 ^ byte, 2 + 2 * at
        units[place] = byte | 0x100 | (place ^ value) << 10
        units[value] = 1 << 31 | len(texts)
        texts += text.encode() + b"\0"
    trie = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(trie)) + trie + texts


def tokenizer_models():
    pieces = b"".join(
        field(1, field(1, text) + field(2, float(score)) + (field(3, kind) if kind != 1 else b""))
        for text, kind, score in zip(PIECES, TYPES, SCORES)
    )
    ids = field(40, 0) + field(41, 1) + field(42, 2) + field(43, -1)
    plain = field(1, "identity") + field(3, 0) + field(4, 0)
    character_map = double_array({0x41: "te", 0x09: " ", 0xC3: ""})
    replacing = field(1, "own") + field(2, character_map) + field(3, 1) + field(4, 1)
    yield "unigram", pieces + field(2, field(3, 1) + ids) + field(3, replacing)
    yield "bpe", pieces + field(2, field(3, 2) + field(35, 1) + ids) + field(3, plain)
    yield "word", pieces + field(2, field(3, 3) + ids)
    yield "suffix", pieces + field(2, field(3, 1) + field(24, 1) + ids)
    yield "unknown-fields", field(99, 1) + field(98, 1.0) + pieces + field(7, b"x") + field(97, -1)
    yield "no-pieces", field(2, ids)
    yield "hostile-length", pieces + varint(1 << 3 | 2) + varint(2**63)
    yield "hostile-varint", pieces + b"\xff" * 11
    yield "hostile-group", pieces + varint(1 << 3 | 3)
    yield "hostile-ids", pieces + field(2, field(40, 2**31 - 1) + field(41, -5) + field(42, 99))
    yield "hostile-map", pieces + field(3, field(2, struct.pack("<I", 2**32 - 4) + b"abc\0"))
    wild = struct.pack("<I", 64) + struct.pack("<16I", *[2**32 - 1] * 16) + b"a\0"
    yield "hostile-trie", pieces + field(3, field(2, wild))


def chat_templates():
    loop = "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{% endfor %}"
    yield "loop", loop.encode()
    yield "tools", (
        "{%- if tools %}{% for tool in tools %}{{ tool | tojson(indent=2) }}\n{% endfor %}{% endif %}"
        "{% set ns = namespace(n=0) %}{% for m in messages[1:] %}{% set ns.n = ns.n + loop.index0 %}"
        "{% if m.tool_calls is defined and not m.content %}{{ m.tool_calls[0].function.arguments.items()"
        " | list }}{% elif m.content is string %}{{ m.content.split('x')[-1].strip() }}{% else %}"
        "{% continue %}{% endif %}{{ ns.n }}{% endfor %}"
    ).encode()
    yield "macro", (
        "{% macro say(x, y='z') %}{{ x ~ y }}{% endmacro %}{{ say(messages | length) }}"
        "{{ messages | map(attribute='role') | unique | join(', ') | upper }}"
        "{{ '%s %5.2f' % ('a', 1.5) }}{{ (1, 2) + (3,) }}{{ {'a': 1} | dictsort }}{{ 7 // 2 ** -1 }}"
        "{% call say(1) %}x{% endcall %}{% filter upper %}a{% endfilter %}{% raw %}{{ }}{% endraw %}"
    ).encode()
    yield "generation", (
        "{% generation %}{{ bos_token }}{% endgeneration %}{{ strftime_now('%d %b %Y')[:0] }}"
        "{{ messages | selectattr('role', 'equalto', 'user') | list | last }}{# note #}"
    ).encode()
    yield "error", b"{{ raise_exception('No ' + messages[0]['role']) }}"
    yield "hostile-loop", b"{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
    yield "hostile-memory", b"{% set ns = namespace(s='x') %}" + b"{% set ns.s = ns.s * 99 %}" * 9
    yield "hostile-recursion", b"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"
    yield "hostile-depth", b"{{ " + b"(" * 2000
    yield "hostile-blocks", b"{% if 1 %}" * 600
    yield "hostile-power", b"{{ 9 ** 9 ** 9 ** 9 }}{{ 'x' * 10 ** 18 }}{{ range(10 ** 18) | list }}"
    yield "hostile-format", b"{{ '%999999999d' % 1 }}{{ 'x'.ljust(10 ** 15) }}{{ 'x' | indent(10 ** 15) }}"
    yield "unclosed", b"{% if messages"


def legacy(entries, tail=b"", count=None):
    out = struct.pack("<i", len(entries) if count is None else count)
    for name, calls, values in entries:
        raw = name.encode()
        out += struct.pack("<i", len(raw)) + raw + struct.pack("<ii", calls, len(values))
        out += struct.pack(f"<{len(values)}f", *values)
    return out + tail


def imatrices():
    tail = struct.pack("<ii", 3, 8) + b"text.txt"
    yield "legacy", legacy([("blk.0.attn_q.weight", 2, [1, 2, 3, 4])], tail)
    yield "legacy-count", legacy([], count=2**31 - 1)
    yield "legacy-negative", legacy([("a", -1, [1])], count=-1)
    yield "legacy-values", struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 2**31 - 1)
    keys = [
        key("general.type", STRING, "imatrix"),
        key("imatrix.datasets", ARRAY, ["a.txt"], STRING),
        key("imatrix.chunk_count", U32, 3),
        key("imatrix.chunk_size", U32, 512),
    ]
    sums = tensor("blk.0.attn_q.weight.in_sum2", [4, 2], 0, 0)
    counts = tensor("blk.0.attn_q.weight.counts", [1, 2], 0, 32)
    data = struct.pack("<8f", *range(8)) + struct.pack("<2f", 5, 0) + bytes(24)
    yield "gguf", gguf(keys, [sums, counts], data)
    yield "gguf-no-counts", gguf(keys, [sums], data)
    wrong = tensor("blk.0.attn_q.weight.counts", [2, 1], 0, 32)
    yield "gguf-shape", gguf(keys, [sums, wrong], data)


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e4,
    "vocab_size": 100,
    "hidden_act": "silu",
}


def configs():
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    methods = {
        "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 8, "desc_act": False, "sym": True},
        "awq": {"quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm"},
        "bitsandbytes": {
            "quant_method": "bitsandbytes",
            "load_in_8bit": True,
            "llm_int8_threshold": 6.0,
        },
        "compressed-tensors": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "channel"},
                }
            },
        },
    }
    yield "plain", json.dumps(LLAMA).encode()
    yield "scaled", json.dumps(
        LLAMA | {"rope_scaling": scaled | {"original_max_position_embeddings": 32}}
    ).encode()
    for name, settings in methods.items():
        yield name, json.dumps(LLAMA | {"quantization_config": settings}).encode()
    hostile = {"num_hidden_layers": 2**62, "hidden_size": 2**40, "num_attention_heads": 0}
    for name, value in hostile.items():
        yield f"hostile-{name}", json.dumps(LLAMA | {name: value}).encode()
    yield "hostile-types", json.dumps({name: [name] for name in LLAMA}).encode()
    yield "hostile-bits", json.dumps(
        LLAMA | {"quantization_config": methods["gptq"] | {"bits": 2**31, "group_size": 0}}
    ).encode()
    yield "hostile-depth", b'{"quantization_config":' + b"[" * 500


TARGETS = {
    "gguf": ggufs,
    "safetensors": safetensors_files,
    "safetensors_index": indexes,
    "tokenizer_json": tokenizer_jsons,
    "tokenizer_model": tokenizer_models,
    "chat_template": chat_templates,
    "imatrix": imatrices,
    "config": configs,
}

if __name__ == "__main__":
    for target, files in TARGETS.items():
        folder = SEEDS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files():
            (folder / name).write_bytes(content)
