"""Models for the tests: small ones that safetensors and tokenizers write here, and the shared
reference files, where they are there."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import halftone

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "data" / "evaluation.txt"

CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if tools %}[{{ tools | length }} tools]{% endif %}"
    "{% if mood %}[{{ mood }}]{% endif %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)

SPECIAL = ["<unk>", "<s>", "</s>"]


def byte_level_tokenizer(vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(TEXT)], trainer)
    return tokenizer


def sentence_piece_tokenizer(vocabulary: int) -> Tokenizer:
    """As transformers converts Llama's: pairs over whole texts, bytes where a letter is unknown."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - 256, show_progress=False)
    trained.train([str(TEXT)], trainer)
    learned = json.loads(trained.to_str())["model"]
    tokens = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [token for token in learned["vocab"] if token not in tokens][
        : vocabulary - len(tokens)
    ]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    known = set(tokens)
    merges = [m for m in merges if m[0] in known and m[1] in known and m[0] + m[1] in known]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def write_llama(folder: Path, tokenizer: Tokenizer, hidden=256, layers=2) -> None:
    """A llama of random weights, in the form of transformers."""
    vocabulary, feed_forward = tokenizer.get_vocab_size(), 2 * hidden
    random = np.random.default_rng(1)

    def matrix(rows, columns):
        return (random.standard_t(5, (rows, columns)) / np.sqrt(columns)).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": matrix(vocabulary, hidden),
        "model.norm.weight": np.ones(hidden, np.float32),
        "lm_head.weight": matrix(vocabulary, hidden) * 4,
    }
    # Special tokens are never the likeliest, so that texts are as long as is asked for.
    tensors["lm_head.weight"][: len(SPECIAL)] = 0
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[prefix + norm + ".weight"] = np.ones(hidden, np.float32)
        for name, rows, columns in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", hidden // 2, hidden),
            ("self_attn.v_proj", hidden // 2, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", feed_forward, hidden),
            ("mlp.up_proj", feed_forward, hidden),
            ("mlp.down_proj", hidden, feed_forward),
        ):
            tensors[f"{prefix}{name}.weight"] = matrix(rows, columns)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": CHAT_TEMPLATE,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder of transformers' kind with byte-level pairs."""
    folder = tmp_path_factory.mktemp("tiny")
    write_llama(folder, byte_level_tokenizer(512))
    return folder


@pytest.fixture(scope="session")
def sentence_piece(tmp_path_factory) -> Path:
    """The same with a tokenizer of Llama's kind."""
    folder = tmp_path_factory.mktemp("sentence_piece")
    write_llama(folder, sentence_piece_tokenizer(600))
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    halftone.convert(tiny, path)
    return path


@pytest.fixture(scope="session")
def text_file() -> Path:
    return TEXT


def shared_path(relative: str) -> Path:
    folder = os.environ.get("HALFTONE_SHARED")
    path = (Path(folder) if folder else ROOT.parent / "shared") / relative
    if not path.exists():
        pytest.skip(f"needs {relative} of the shared reference data")
    return path


@pytest.fixture(scope="session")
def shared():
    return shared_path


@pytest.fixture(scope="session")
def tiny_bf16(tmp_path_factory):
    """The shared fixture tiny-bf16 as one folder: its second shard lies in a folder beside it."""
    source = shared_path("fixtures/tiny-bf16")
    folder = tmp_path_factory.mktemp("tiny-bf16")
    for file in source.iterdir():
        shard = source.parent / "tiny-bf16-shard2" / file.name
        (folder / file.name).symlink_to(shard if shard.exists() else file)
    return folder
