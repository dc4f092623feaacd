"""Tokenizers of every kind: the ids of tokenizers and sentencepiece for random Unicode and text.

HALFTONE_TEXTS says how many random texts (default 2000) each tokenizer is asked. HALFTONE_SHARED
names the large reference data, whose model and texts take part where it is there. By itself:

  python tests/interop/tokenizers_test.py     (HALFTONE: the program; text_answers lies below it)
"""

import json
import os
import pathlib
import random
import subprocess
import tempfile
import unicodedata
import unittest

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT = int(os.environ.get("HALFTONE_TEXTS", 2000))
SHARED = pathlib.Path(os.environ.get("HALFTONE_SHARED", ROOT.parent / "shared"))
MARK = "\u2581"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def written():
    text = (ROOT / "data" / "calibration.txt").read_text()
    for name in ("calibration.txt", "evaluation.txt"):
        path = SHARED / "text" / name
        if path.exists():
            text += path.read_text()[:4_000_000]
    return text


TEXT = written()
# What people write and what breaks tokenizers, besides all of Unicode.
BLOCKS = [(0x20, 0x7F), (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700),
          (0x900, 0xE80), (0x1100, 0x1200), (0x2000, 0x2070), (0x2100, 0x2800), (0x3040, 0x3100),
          (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xFE00, 0xFFF0), (0x1F300, 0x1FB00),
          (0x20000, 0x2A6E0), (0, 0xD800), (0xE000, 0x110000)]
PIECES = [" ", "  ", "    ", "\n", "\r\n", "\t", "\n\n\n", "'s", "'LL", "12", "345", "6789", "...",
          "!?", "\u00a0", "\u3000", "\u200d", "\ufeff", "e\u0301", "\U0001f1f0\U0001f1f7", "the",
          " of", "ing", "</s>", "<s>", "[INST]", "<|im_start|>", "<0x0A>", "A", "z", "\0"]


def texts(count):
    chosen = random.Random(20261126)
    for _ in range(count):
        parts = []
        for _ in range(chosen.randrange(1, 12)):
            kind = chosen.randrange(4)
            if kind == 0:
                begin = chosen.randrange(len(TEXT))
                parts.append(TEXT[begin:begin + chosen.randrange(1, 40)])
            elif kind == 1:
                parts.append(chosen.choice(PIECES) * chosen.randrange(1, 4))
            else:
                low, high = chosen.choice(BLOCKS)
                parts += [chr(chosen.randrange(low, high)) for _ in range(chosen.randrange(1, 9))]
        yield "".join(c for c in "".join(parts) if not "\ud800" <= c < "\ue000")


class Answers:
    """The program that says what halftone makes of texts (text_answers.cc)."""

    def __init__(self, path):
        program = pathlib.Path(os.environ["HALFTONE"]).parent / "tests" / "text_answers"
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if path is not None and (answer := self.ask(tokenizer=str(path))):
            raise RuntimeError(answer["error"])

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ids(self, text, special):
        answer = self.ask(text=text, special=special)
        return answer.get("ids", answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def sample(size):
    """Lines to train on."""
    chosen = random.Random(7)
    lines = [line for line in TEXT.split("\n") if line.strip()]
    return chosen.sample(lines, min(size, len(lines))) + list(texts(200))


def byte_level(pattern, folder, config):
    """Trained byte-level pairs behind a pre-tokenizer's pattern, with special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=6000, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sample(20000), trainer)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("[INST]", normalized=False, special=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer


def train_sentencepiece(folder, **options):
    lines = folder / "lines.txt"
    lines.write_text("\n".join(line.replace("\0", " ") for line in sample(20000)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(folder / "tokenizer"), vocab_size=4000,
        max_sentence_length=10000, minloglevel=2, hard_vocab_limit=False, num_threads=1, **options)
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def pieces(model):
    return [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]


def byte_fallback_json(model, folder):
    """A byte-pair model of SentencePiece as its converter writes it for tokenizers."""
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces(model))}
    merges = []
    for piece, score in pieces(model)[259:]:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((vocabulary[piece], vocabulary[left], vocabulary[right], left, right))
    merges = [tuple(m[3:]) for m in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def unigram_json(model, folder):
    tokenizer = Tokenizer(models.Unigram(pieces(model), 0, True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", MARK)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(MARK, "always", False)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def word_pieces(folder, **options):
    """Trained word pieces as BERT's tokenizer has them."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=8000, show_progress=False,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.train_from_iterator(sample(20000), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}))
    return tokenizer


def unlike_names(text, *_):
    return "<0x0A>" in text


class TokenizersTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def compare(self, path, ids, special, as_good=lambda text, a, b: False):
        """`as_good`: whether other ids for a text than the peer's are as good as those."""
        unlike = ties = 0
        with Answers(path) as answers:
            for text in texts(COUNT):
                expected, got = ids(text), answers.ids(text, special)
                if expected != got and as_good(text, expected, got):
                    ties += 1
                elif expected != got:
                    unlike += 1
                    if unlike <= 3:
                        print(f"  {text!r}\n    peer {expected}\n    here {got}")
        print(f"  {self.id().split('.')[-1]}: {COUNT} texts, {unlike} differences, {ties} ties",
              flush=True)
        self.assertEqual(unlike, 0)

    def compare_tokenizers(self, path, tokenizer):
        for special in (False, True):
            tokenizer.encode_special_tokens = not special
            self.compare(
                path, lambda text: tokenizer.encode(text, add_special_tokens=special).ids, special)

    def test_smollm2(self):
        model = SHARED / "models" / "ref-75m"
        if not model.exists():
            self.skipTest("needs the large reference data")
        self.compare_tokenizers(model, Tokenizer.from_file(str(model / "tokenizer.json")))

    def test_llama3_pattern(self):
        self.compare_tokenizers(self.folder, byte_level(LLAMA3, self.folder, {}))

    def test_qwen2_pattern(self):
        self.compare_tokenizers(self.folder, byte_level(QWEN2, self.folder, {}))

    def test_pairs_with_byte_fallback(self):
        model = train_sentencepiece(
            self.folder, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False)
        tokenizer = byte_fallback_json(model, self.folder)
        (self.folder / "tokenizer.model").unlink()
        tokenizer.encode_special_tokens = True
        self.compare(self.folder,
                     lambda text: tokenizer.encode(text, add_special_tokens=False).ids, False)

    def test_unigram(self):
        model = train_sentencepiece(
            self.folder, model_type="unigram", byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False)
        tokenizer = unigram_json(model, self.folder)
        (self.folder / "tokenizer.model").unlink()
        # tokenizers takes the spelled name of a byte for the byte, unlike sentencepiece.
        self.compare(self.folder,
                     lambda text: tokenizer.encode(text, add_special_tokens=False).ids, True,
                     unlike_names)

    def test_word_pieces(self):
        for options in ({}, {"lowercase": False}, {"strip_accents": False},
                        {"lowercase": False, "strip_accents": True}):
            with self.subTest(**options):
                print(f"  {options}:")
                self.compare_tokenizers(self.folder, word_pieces(self.folder, **options))

    def compare_written(self, ids, special, as_good=lambda text, written: False):
        """What is written of a folder's vocabulary gives tokenizers the same ids again."""
        with Answers(self.folder) as answers:
            written = answers.ask(write=True)["files"]["tokenizer.json"]
        again = Tokenizer.from_str(written)
        again.encode_special_tokens = not special
        unlike = ties = 0
        for text in texts(COUNT):
            expected, got = ids(text), again.encode(text, add_special_tokens=special).ids
            if expected != got and as_good(text, again):
                ties += 1
            elif expected != got:
                unlike += 1
                if unlike <= 3:
                    print(f"  {text!r}\n    original {expected}\n    written  {got}")
        print(f"  {self.id().split('.')[-1]}: {COUNT} texts, {unlike} differences, {ties} ties",
              flush=True)
        self.assertEqual(unlike, 0)

    def test_written_word_pieces(self):
        tokenizer = word_pieces(self.folder)
        for special in (False, True):
            tokenizer.encode_special_tokens = not special
            self.compare_written(
                lambda text: tokenizer.encode(text, add_special_tokens=special).ids, special)

    def test_written_unigram(self):
        for fallback in (True, False):
            for rules, merge in (("identity", False), ("identity", True), ("nmt_nfkc", True)):
                with self.subTest(fallback=fallback, rules=rules, merge=merge):
                    model = train_sentencepiece(
                        self.folder, model_type="unigram", byte_fallback=fallback,
                        normalization_rule_name=rules, remove_extra_whitespaces=merge)
                    print(f"  byte fallback {fallback}, {rules}, merged spaces {merge}:")

                    # tokenizers takes the spelled name of a byte for the byte, and replaces
                    # characters by graphemes where sentencepiece looks for the longest match.
                    def as_good(text, written):
                        return (fallback and "<0x0A>" in text or rules != "identity" and
                                written.normalizer.normalize_str(text) != model.normalize(text))

                    # Ours, which test_tokenizer_model compares with sentencepiece's.
                    with Answers(self.folder) as answers:
                        self.compare_written(lambda text: answers.ids(text, True), True, as_good)

    def test_tokenizer_model(self):
        for kind in ("bpe", "unigram"):
            for fallback in (True, False):
                for rules in ("identity", "nmt_nfkc"):
                    with self.subTest(kind=kind, fallback=fallback, rules=rules):
                        model = train_sentencepiece(
                            self.folder, model_type=kind, byte_fallback=fallback,
                            normalization_rule_name=rules,
                            remove_extra_whitespaces=rules != "identity")
                        print(f"  {kind}, byte fallback {fallback}, {rules}:")

                        # Sums of equal scores in another order: sentencepiece adds them in f32.
                        def as_good(_, a, b):
                            sums = [sum(map(model.get_score, ids)) for ids in (a, b)]
                            return kind == "unigram" and abs(sums[0] - sums[1]) < 1e-3

                        self.compare(self.folder, model.encode, False, as_good)


if __name__ == "__main__":
    unittest.main(verbosity=1)
