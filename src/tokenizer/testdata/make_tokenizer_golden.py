"""Small tokenizers of each kind with the ids that Hugging Face's tokenizers gives to some texts, for
tokenizer_golden_test.cc.

  pip install tokenizers==0.23.3
  python3 make_tokenizer_golden.py > tokenizer_golden.json

Each is trained on data/calibration.txt. "special" are the ids with special tokens recognized and
added, "plain" those with special tokens spelled out. The last kinds have byte fallback: their
vocabularies are put together as converters from SentencePiece do it, in which every cut of a token
into two tokens is a merge ("scored"), or as tokenizers trains them, with one merge for each token.
"""

import json
import pathlib

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from make_pre_tokenizer_golden import BYTES, CASES, GPT2

TEXT = (pathlib.Path(__file__).parents[3] / "data" / "calibration.txt").read_text()
MARK = "\u2581"


def added(ident, content, special=True):
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": ident, "content": content, "special": special, **flags}


def template(first, last, ids):
    token = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    a, b = ({"Sequence": {"id": s, "type_id": i}} for i, s in enumerate("AB"))
    single = [token(first)] + [a] + ([token(last)] if last else [])
    special = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in filter(None, (first, last))}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": single + [b] + ([token(last)] if last else []),
        "special_tokens": special,
    }


def train(pre_tokenizer, size, alphabet):
    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Sequence([])
    pieces.__setstate__(json.dumps(pre_tokenizer).encode())
    tokenizer.pre_tokenizer = pieces
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(TEXT.split("\n\n"), trainer)
    return json.loads(tokenizer.to_str())["model"]


def byte_level(name, specials, post=None, more=(), config=None, alphabet=None):
    """`specials`: (content, special); `more`: tokens that no merge makes."""
    ignore_merges, steps = CASES[name]
    element = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
    model = train(element, 340, alphabet or pre_tokenizers.ByteLevel.alphabet())
    vocabulary = model["vocab"]
    for text in more:
        vocabulary[text] = len(vocabulary)
    model.update(unk_token=None, ignore_merges=ignore_merges)
    tokens = [added(len(vocabulary) + i, *s) for i, s in enumerate(specials)]
    ids = {t["content"]: t["id"] for t in tokens}
    return {
        "name": name,
        "tokenizer": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": tokens,
            "normalizer": None,
            "pre_tokenizer": element,
            "post_processor": post(ids) if post else None,
            "decoder": dict(GPT2, add_prefix_space=True),
            "model": model,
        },
        "tokenizer_config": config or {},
        # Three rows more than there are tokens.
        "vocab_size": len(vocabulary) + len(tokens) + 3,
    }


def scored(tokens):
    """Every merge of two tokens to a third, in the order of the thirds."""
    merges = []
    for token in tokens:
        cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
        merges += [list(c) for c in cuts if c[0] in tokens and c[1] in tokens]
    return merges


def byte_fallback(name, normalizer, pre_tokenizer, is_scored, post, config=None):
    marked = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
    trained = train(marked, 300, [])
    tokens = list(trained["vocab"])
    vocabulary = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + tokens
    vocabulary = {t: i for i, t in enumerate(vocabulary)}
    specials = [added(i, t) for i, t in enumerate(["<unk>", "<s>", "</s>"])]
    specials += [added(len(vocabulary), "<tool>", False), added(len(vocabulary) + 1, "[INST]")]
    ids = {t["content"]: t["id"] for t in specials}
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    model = dict(trained, vocab=vocabulary, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    if is_scored:
        model["merges"] = scored(tokens)
    return {
        "name": name,
        "tokenizer": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": specials,
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": post(ids) if post else None,
            "decoder": decoder,
            "model": model,
        },
        "tokenizer_config": config or {},
        "vocab_size": len(vocabulary) + 2,
    }


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": False}


PREPEND = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
    ],
}
REPLACE = PREPEND["normalizers"][1]
LLAMA_CONFIG = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

KINDS = [
    lambda: byte_level("gpt-2", [("<|endoftext|>",), ("<a>", False), ("<a><b>", False)]),
    lambda: byte_level(
        "llama-bpe",
        [("<|begin_of_text|>",), ("<|end_of_text|>",), ("<|eot_id|>",), ("<tool>", False)],
        post=lambda ids: {
            "type": "Sequence",
            "processors": [
                dict(BYTES, add_prefix_space=True, use_regex=True),
                template("<|begin_of_text|>", None, ids),
            ],
        },
        more=["Ġworld", "ĠRomanus", "123"],
        config={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    ),
    lambda: byte_level(
        "qwen2",
        [("<|endoftext|>",), ("<|im_start|>",), ("<|im_end|>",)],
        config={
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "special": True},
        },
    ),
    # Without the bytes that UTF-8 never has, as in SmolLM's own.
    lambda: byte_level(
        "smollm",
        [("<|endoftext|>",), ("<|im_start|>",), ("<|im_end|>",)],
        alphabet=[c for c in pre_tokenizers.ByteLevel.alphabet() if c not in "ÀÁõö÷øùúûüýþÿ"],
    ),
    lambda: byte_level(
        "tekken",
        [("<unk>",), ("<s>",), ("</s>",), ("[INST]",)],
        post=lambda ids: template("<s>", "</s>", ids),
        config=LLAMA_CONFIG,
    ),
    lambda: byte_level("deepseek-llm", [("<｜begin▁of▁sentence｜>",), ("<extra>", False)]),
    lambda: byte_fallback(
        "prepend, scored", PREPEND, None, True, lambda ids: template("<s>", None, ids), LLAMA_CONFIG
    ),
    lambda: byte_fallback(
        "first, scored",
        None,
        metaspace("first"),
        True,
        lambda ids: template("<s>", None, ids),
        dict(LLAMA_CONFIG, add_prefix_space=None),
    ),
    lambda: byte_fallback(
        "always, learned",
        None,
        metaspace("always"),
        False,
        lambda ids: template("<s>", "</s>", ids),
        LLAMA_CONFIG,
    ),
    lambda: byte_fallback(
        "never, learned", REPLACE, None, False, None, dict(LLAMA_CONFIG, add_bos_token=False)
    ),
]

TEXTS = [
    "Hello, world! They've said it's the 4th of July, 1776.",
    "for (int i = 0; i < 10; ++i) {\n\tsum += a[i] * 3.14e-2;\n}\n\n\n  return sum;",
    "1234567890 12 345 ½ ٣٤",
    "🚀 🤷‍♂️ 🇰🇷!",
    "한국어 문장입니다. 中文，句子。日本語のテキスト",
    "مرحبا بالعالم, שלום",
    " leading and  double   spaces \t tab \r\n crlf \u00a0nbsp\u3000wide ",
    "control \u0000\u0001\u001b[0m\u007f\u0085 end",
    "e\u0301 is not é; \ufeffbom \u200bzwsp \U0010ffff",
    "<s>[INST] hi [/INST]</s> <unk><0x0A>▁",
    "a<|im_start|>user\nhi<|im_end|>\n<|endoftext|><|eot_id|> <|begin_of_text|>",
    "<a><a><b><tool>x<tool> <extra><a",
    "the the the theater whether WHETHER thethethe",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    " ",
    "",
]


def main():
    print('{"texts": ' + json.dumps(TEXTS) + ',\n"kinds": [')
    for i, make in enumerate(KINDS):
        kind = make()
        tokenizer = Tokenizer.from_str(json.dumps(kind["tokenizer"]))
        for how in ("special", "plain"):
            tokenizer.encode_special_tokens = how == "plain"
            encoded = [tokenizer.encode(t, add_special_tokens=how == "special") for t in TEXTS]
            kind[how] = [" ".join(map(str, e.ids)) for e in encoded]
        print(("" if i == 0 else ",\n") + json.dumps(kind, separators=(",", ":")), end="")
    print("\n]}")


if __name__ == "__main__":
    main()
