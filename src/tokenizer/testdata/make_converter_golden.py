"""The tokenizer keys that llama.cpp's converter writes, for hf_tokenizer_test.cc.

  pip install transformers==5.24.0 tokenizers==0.23.3 numpy pyyaml
  python3 make_converter_golden.py <llama.cpp source> [folder...] > converter_golden.json

The source is the one that llama-cpp-python 0.3.36 carries. Converted are the kinds of
tokenizer_golden.json, some of them with other members in their files too, and the given folders
(ref-75m): for each the keys in order, with the type id and the value. In place of an array stand the
type id of its elements, their number and FNV-1a (64 bits) of them, strings ended by a zero byte and
numbers little-endian; in place of a long string its bytes' number and hash.
The converter names the pre-tokenizers of known models only; the kinds are new to it and their name
is given to it.
"""

import json
import pathlib
import struct
import sys
import tempfile
import types
from unittest import mock

HERE = pathlib.Path(__file__).parent
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
}




def added(ident, content, special=True):
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": ident, "content": content, "special": special, **flags}


def token(text):
    return {"SpecialToken": {"id": text, "type_id": 0}}


A, B = ({"Sequence": {"id": s, "type_id": 0}} for s in "AB")


def template(single, pair, ids):
    tokens = {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in ids.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


# The kind "gpt-2" ends at id 345, of which the last three have no token.
CLS_SEP = [added(340, "[CLS]"), added(341, "[SEP]"), added(342, "<mask>", False)]
IDS = {"[CLS]": 340, "[SEP]": 341}
BERT = template(
    [token("[CLS]"), A, token("[SEP]")],
    [token("[CLS]"), A, token("[SEP]"), B, token("[SEP]")],
    IDS,
)
VARIATIONS = {
    "cls and sep": ({"added_tokens": CLS_SEP, "post_processor": BERT}, {}, {}),
    "cls and sep have roles": (
        {"added_tokens": CLS_SEP, "post_processor": BERT},
        {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "<mask>"},
        {},
    ),
    "roberta": (
        {
            "added_tokens": CLS_SEP,
            "post_processor": {
                "type": "RobertaProcessing",
                "sep": ["[SEP]", 341],
                "cls": ["[CLS]", 340],
                "trim_offsets": True,
                "add_prefix_space": False,
            },
        },
        {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "<mask>"},
        {},
    ),
    "separated pair": (
        {
            "added_tokens": CLS_SEP,
            "post_processor": template([A], [A, token("[SEP]"), B], IDS),
        },
        {"bos_token": "[CLS]", "eos_token": "[SEP]"},
        {},
    ),
    "doubly separated pair": (
        {
            "added_tokens": CLS_SEP,
            "post_processor": template(
                [token("[CLS]"), A, token("[SEP]")],
                [token("[CLS]"), A, token("[SEP]"), token("[SEP]"), B, token("[SEP]")],
                IDS,
            ),
        },
        {"bos_token": "[CLS]", "eos_token": "[SEP]", "sep_token": "[SEP]"},
        {},
    ),
    "ends with another": (
        {
            "added_tokens": CLS_SEP,
            "post_processor": template([A, token("[SEP]")], [A, B, token("[SEP]")], IDS),
        },
        {"bos_token": "[CLS]", "eos_token": "[CLS]", "add_bos_token": True, "add_eos_token": False},
        {},
    ),
    "begins with another": (
        {
            "added_tokens": CLS_SEP,
            "post_processor": template([token("[CLS]"), A], [token("[CLS]"), A, B], IDS),
        },
        {"bos_token": "[SEP]"},
        {},
    ),
    "looks special": (
        {
            "added_tokens": [
                added(340, "<|x|>", False),
                added(341, "<unused7>", False),
                added(342, "\u2581a\u2581", False),
            ]
        },
        {},
        {},
    ),
    "ids of config.json": (
        {"added_tokens": CLS_SEP},
        {"eos_token": "[SEP]"},
        {"bos_token_id": 340, "eos_token_id": 5, "pad_token_id": None, "sep_token_id": [1, 2]},
    ),
    "chat template": ({}, {"chat_template": "{{ messages }}", "add_prefix_space": True}, {}),
    "chat templates": (
        {},
        {
            "chat_template": [
                {"name": "default", "template": "a"},
                {"name": "tool use", "template": "b"},
            ]
        },
        {},
    ),
}


class FakeTorch(types.ModuleType):
    """Tensors play no part in a vocabulary."""

    class Tensor:
        pass

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = mock.MagicMock(name=name)
        setattr(self, name, value)
        return value


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def convert(base, model_class, folder, pre, out):
    recognize = base.TextModel.get_vocab_base_pre
    given = (lambda self, tokenizer: pre) if pre else recognize
    with mock.patch.object(base.TextModel, "get_vocab_base_pre", given):
        model = model_class(folder, base.gguf.LlamaFileType.MOSTLY_F16, out)
        model.set_vocab()
    return model.gguf_writer.kv_data[0]


def write(folder, kind, case):
    folder.mkdir()
    config = dict(CONFIG, vocab_size=kind["vocab_size"]) | case.get("config", {})
    tokenizer_config = kind["tokenizer_config"] | {"tokenizer_class": "PreTrainedTokenizerFast"}
    tokenizer_config |= case.get("tokenizer_config", {})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    tokenizer = kind["tokenizer"] | case.get("tokenizer", {})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def describe(gguf, key, value):
    kind = value.type
    if kind == gguf.GGUFValueType.STRING and len(value.value) > 32:
        return [key, int(kind), len(value.value.encode()), fnv(value.value.encode())]
    if kind != gguf.GGUFValueType.ARRAY:
        return [key, int(kind), value.value]
    element = value.sub_type or gguf.GGUFValueType.get_type(value.value[0])
    if element == gguf.GGUFValueType.STRING:
        texts = (t.encode() if isinstance(t, str) else bytes(t) for t in value.value)
        data = b"".join(t + b"\0" for t in texts)
    else:
        code = {gguf.GGUFValueType.INT32: "i", gguf.GGUFValueType.FLOAT32: "f"}[element]
        data = struct.pack(f"<{len(value.value)}{code}", *value.value)
    return [key, int(kind), int(element), len(value.value), fnv(data)]


def main():
    source = pathlib.Path(sys.argv[1])
    sys.path[:0] = [str(source / "gguf-py"), str(source)]
    import transformers  # before the fake, as it looks for torch and does without

    sys.modules["torch"] = FakeTorch("torch")
    import conversion.base as base
    import gguf
    from conversion.llama import LlamaModel

    transformers.logging.set_verbosity_error()

    cases = []
    with tempfile.TemporaryDirectory() as temporary:
        for folder in map(pathlib.Path, sys.argv[2:]):
            cases.append(({"name": folder.name}, folder, None))
        kinds = json.loads((HERE / "tokenizer_golden.json").read_text())["kinds"]
        cases += [({"name": kind["name"], "kind": i}, None, kind) for i, kind in enumerate(kinds)]
        for name, patches in VARIATIONS.items():
            case = {"name": name, "kind": 0}
            case |= zip(("tokenizer", "tokenizer_config", "config"), patches)
            cases.append((case, None, kinds[0]))
        print("[")
        for i, (case, folder, kind) in enumerate(cases):
            if not folder:
                folder = pathlib.Path(temporary) / str(i)
                write(folder, kind, case)
            out = pathlib.Path(temporary) / "out.gguf"
            keys = convert(base, LlamaModel, folder, kind and kind["name"], out)
            keys = [describe(gguf, k, v) for k, v in keys.items() if k.startswith("tokenizer.")]
            case = json.dumps(case)[:-1] + ', "keys": [\n  ' + ",\n  ".join(map(json.dumps, keys))
            print(case + "]}" + ("," if i + 1 < len(cases) else "\n]"))


if __name__ == "__main__":
    main()
