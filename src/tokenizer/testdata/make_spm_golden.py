"""Small models of SentencePiece, and word pieces, with the ids that their own libraries give to some
texts, for spm_golden_test.cc.

  pip install sentencepiece==0.2.3 tokenizers==0.23.3
  python3 make_spm_golden.py > spm_golden.json

"models" are tokenizer.model files in base64, trained on data/calibration.txt, of each kind, with and
without byte fallback, and with a map of characters (rules of our own: SentencePiece's have 240 kB).
"unigram" is one of them as a tokenizer.json, whose ids are those of tokenizers, "words" a vocabulary
of word pieces under BertNormalizer and BertPreTokenizer.
"""

import base64
import json
import pathlib
import tempfile

import sentencepiece
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from make_tokenizer_golden import TEXT, TEXTS

MARK = "\u2581"
# Characters to characters, in hexadecimal: full width to ASCII, a ligature, two to one, some to none.
RULES = "".join(f"{0xFF01 + i:X}\t{0x21 + i:X}\n" for i in range(94)) + (
    "FB01\t66 69\n65 301\tE9\n200B\t\n3000\t20\n9\t20\nA\t20\nD\t20\nA0\t20\n2026\t2E 2E 2E\n")
MORE = ["\uff28\uff45\uff4c\uff4c\uff4f \ufb01ne\u3000e\u0301\u200b\u2026", "a\u2581b \u2581", "  a  ",
        "Caf\u00e9 \u00c0\u00c9\u0130\u1e9e stra\u00dfe \u03a3\u03a3 \ud55c\uae00 \u0939\u093f\u0928",
        "\u4f60\u597d world,don't!#$ \ufffd\u00ad\u0007x", "\u00e9" * 101 + " " + "e" * 101, "\uf900\u0344",
        "a\ue000\tb\x00\nc"]


def train(folder, **options):
    lines = pathlib.Path(folder, "lines.txt")
    lines.write_text(TEXT.replace("\n\n", "\n"))
    rules = pathlib.Path(folder, "rules.tsv")
    rules.write_text(RULES)
    if options.pop("rules", False):
        options["normalization_rule_tsv"] = str(rules)
    else:
        options["normalization_rule_name"] = "identity"
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(folder) + "/m", max_sentence_length=20000,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
    return pathlib.Path(folder, "m.model").read_bytes()


def ids(lists):
    return [" ".join(map(str, one)) for one in lists]


def spm(name, **options):
    with tempfile.TemporaryDirectory() as folder:
        model = train(folder, **options)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return {"name": name, "model": base64.b64encode(model).decode(),
            "ids": ids(map(processor.encode, TEXTS + MORE))}


def unigram(model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(model))
    pieces = [(processor.id_to_piece(i), processor.get_score(i))
              for i in range(processor.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(MARK, "always", False)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return {"tokenizer": json.loads(tokenizer.to_str()),
            "ids": ids(tokenizer.encode(t, add_special_tokens=False).ids for t in TEXTS + MORE)}


def words():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        TEXT.split("\n\n") + TEXTS + MORE, trainers.WordPieceTrainer(
            vocab_size=900, special_tokens=special, show_progress=False))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokenizer.encode_special_tokens = True
    return {"vocabulary": [text for text, _ in vocabulary],
            "ids": ids(tokenizer.encode(t, add_special_tokens=False).ids for t in TEXTS + MORE)}


def main():
    kinds = [
        spm("pairs, bytes", model_type="bpe", vocab_size=420, byte_fallback=True,
            remove_extra_whitespaces=False),
        spm("pairs, rules", model_type="bpe", vocab_size=200, rules=True),
        spm("unigram, rules", model_type="unigram", vocab_size=250, rules=True),
        spm("unigram, bytes", model_type="unigram", vocab_size=480, byte_fallback=True,
            remove_extra_whitespaces=False, add_dummy_prefix=False),
        spm("unigram", model_type="unigram", vocab_size=200, remove_extra_whitespaces=False),
    ]
    golden = {"texts": TEXTS + MORE, "models": kinds, "unigram": unigram(kinds[-1]["model"]),
              "words": words()}
    print(json.dumps(golden, separators=(",", ":")))


if __name__ == "__main__":
    main()
