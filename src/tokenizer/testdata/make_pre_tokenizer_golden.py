"""How Hugging Face's tokenizers cut texts, for pre_tokenizer_test.cc.

  pip install tokenizers==0.23.3
  python3 make_pre_tokenizer_golden.py > pre_tokenizer_golden.json

Each case is the "pre_tokenizer" of a tokenizer.json of the models that the name stands for, and the
lengths in bytes of the pieces that it makes of each text. The lists of steps are facts about those
models' files; where llama.cpp's src/llama-vocab.cpp quotes them, they are as quoted. For names that only llama.cpp has
("afmoe" and "default") they spell what its code does.
"""

import json

from tokenizers import pre_tokenizers

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = dict(BYTES, use_regex=True)
DIGITS = {"type": "Digits", "individual_digits": True}


def punctuation(behavior):
    return {"type": "Punctuation", "behavior": behavior}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def words(numbers, contractions=CONTRACTIONS + "|"):
    return (
        contractions
        + r"[^\r\n\p{L}\p{N}]?\p{L}+|"
        + numbers
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        + SPACES
    )


def cased(numbers, contraction, upper, lower, tail):
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{contraction}|"
        rf"[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{contraction}|"
        rf"{numbers}| ?[^\s\p{{L}}\p{{N}}]+{tail}*|{SPACES}"
    )


UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = cased(r"\p{N}{1,3}", CONTRACTIONS + "?", UPPER, LOWER, r"[\r\n/]")
NOT_HAN = r"&&[^\p{Han}]]"
KIMI = r"[\p{Han}]+|" + cased(
    r"\p{N}{1,3}", CONTRACTIONS + "?", UPPER[:-1] + NOT_HAN, LOWER[:-1] + NOT_HAN, r"[\r\n]"
)

ASCII_PUNCTUATION = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]".replace('\\"', '"')
HAN_KANA = "[一-龥\u3040-\u309f\u30a0-\u30ff]+"
DEEPSEEK_CJK = "[一-龥\u0800-一가-\ud7ff]+"
DEEPSEEK_V3 = (
    ASCII_PUNCTUATION
    + "[A-Za-z]+|[^\r\n"
    + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["
    + "\r\n"
    + r"]*|\s*["
    + "\r\n"
    + r"]+|\s+(?!\S)|\s+"
)
DEEPSEEK_WORDS = (
    "\\s?[A-Za-z"
    "\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5"
    "\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
    "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3"
    "\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115"
    "\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
    "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943"
    "]+"
)
YOUTU_SCRIPTS = (
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c"
    "\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
)
AFMOE_SCRIPTS = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    "\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af"
    "\u1100-\u11ff]+"
)
AFMOE = (
    ASCII_PUNCTUATION
    + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    + SPACES
)
THREES = r"(?=(\d{3})+(?!\d))"
WORDS_TO_PUNCTUATION = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"

# name of tokenizer.ggml.pre: (ignore_merges, steps)
CASES = {
    "llama-bpe": (True, [split(words(r"\p{N}{1,3}")), BYTES]),
    "dbrx": (False, [split(words(r"\p{N}{1,3}")), BYTES]),
    "qwen2": (False, [split(words(r"\p{N}")), BYTES]),
    "qwen35": (
        False,
        [
            split(
                CONTRACTIONS
                + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
                + SPACES
            ),
            BYTES,
        ],
    ),
    "minicpm5": (True, [split(r"\p{N}{1,3}"), split(words(r"\p{N}+")), BYTES]),
    "ufakzeka": (False, [split(words(r"\p{N}", "")), BYTES]),
    "laguna": (False, [split(r"[^\n]+|[\n]+"), split(words(r"\p{N}")), BYTES]),
    "jais-2": (
        False,
        [
            split(
                CONTRACTIONS
                + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
                + r"|\s{1,2}(?!\S)|\s{1}"
            ),
            BYTES,
        ],
    ),
    "bailingmoe": (
        False,
        [
            split(
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|"
                r"\s*[\r\n]|\s+(?!\S)|\s+",
                "Removed",
                True,
            ),
            BYTES,
        ],
    ),
    "seed-coder": (
        False,
        [
            split(
                CONTRACTIONS
                + "|[^\r\n"
                + r"\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}"
                + "\r\n"
                + r"]+|\s*["
                + "\r\n"
                + r"]+|\s+(?!\S)|\s+"
            ),
            BYTES,
        ],
    ),
    "exaone-moe": (
        False,
        [
            split(
                CONTRACTIONS
                + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|"
                + r" ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
            ),
            BYTES,
        ],
    ),
    "smollm": (False, [DIGITS, GPT2]),
    "gpt-2": (False, [GPT2]),
    "falcon": (False, [punctuation("Contiguous"), GPT2, split("[0-9][0-9][0-9]")]),
    "tekken": (True, [split(cased(r"\p{N}", "", UPPER, LOWER, r"[\r\n/]")), BYTES]),
    "gpt-4o": (False, [split(GPT4O), BYTES]),
    "granite-embed-multi-97m": (True, [split(GPT4O), BYTES]),
    "tiny_aya": (False, [split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(GPT4O), BYTES]),
    "youtu": (
        True,
        [
            split(YOUTU_SCRIPTS),
            split(cased(r"\p{N}", CONTRACTIONS + "?", UPPER, LOWER, r"[\r\n/]")),
            BYTES,
        ],
    ),
    "kimi-k2": (False, [split(KIMI), BYTES]),
    "superbpe": (False, [split(r"\p{N}+"), split(THREES), BYTES]),
    "deepseek-llm": (
        False,
        [
            split("[\r\n]"),
            split(DEEPSEEK_WORDS),
            split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
            split(r"\s+$"),
            split(DEEPSEEK_CJK),
            DIGITS,
            BYTES,
        ],
    ),
    "deepseek-coder": (
        False,
        [
            split("[\r\n]"),
            split(r"\s?\p{L}+"),
            split(r"\s?\p{P}+"),
            split(DEEPSEEK_CJK),
            DIGITS,
            BYTES,
        ],
    ),
    "deepseek-v3": (False, [split(r"\p{N}{1,3}"), split(HAN_KANA), split(DEEPSEEK_V3), BYTES]),
    "spark2_5": (
        False,
        [
            split(r"\p{N}{1,3}"),
            split(HAN_KANA),
            split(
                DEEPSEEK_V3.replace("[\r\n]*|\\s*[\r\n]+", "|[\r\n]"),
            ),
            split(r"\p{N}"),
            BYTES,
        ],
    ),
    # Its first step in llama.cpp is code: runs of digits are cut off, then into threes.
    "afmoe": (
        False,
        [
            split(r"\p{N}+"),
            split(r"(?=(\p{N}{3})+(?!\p{N}))"),
            split(AFMOE_SCRIPTS),
            split(AFMOE),
            BYTES,
        ],
    ),
    "poro-chat": (False, [split(WORDS_TO_PUNCTUATION), BYTES]),
    "viking": (False, [split(WORDS_TO_PUNCTUATION), DIGITS, BYTES]),
    "chameleon": (
        False,
        [
            split("<sentinel:[0-9]+>"),
            split("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
            split(r"([\t\n]|    |  )"),
            DIGITS,
            punctuation("Isolated"),
            GPT2,
        ],
    ),
    # What llama.cpp does where a file names no pre-tokenizer.
    "default": (
        False,
        [
            split(r"[\p{P}\$\+<=>\^~\|]+"),
            split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
            split(r"\p{N}+"),
            split("[0-9][0-9][0-9]"),
            BYTES,
        ],
    ),
}

TEXTS = [
    "Hello, world! It's 2024; they'LL've gone, I'm SURE'D it.",
    "don't DON'T we'Re 'tis 'Twas ''' ''s ’s 'ſ 'K",
    "1 12 123 1234 12345 123456 1234567 3.14 1,000,000 ½ Ⅷ ٣٤٥ १२३४ 五 １２３",
    "x12345y 12345_6 ab123cd4567 7-8\u00b2\u00b3",
    "int main() { return a[i]->b != 0x1F && !c; }\n\t// done\n",
    "def f(x):\n    if x:\n\n        return  x**2  \n\n\n\n",
    "HTTPServer parseXMLDoc camelCase snake_case CamelCASE ǅungla Ǆ ʰa ªº",
    "  two\t\ttabs \t mixed   three    four     five      six ",
    "\r\n\r\nline\r\n \r \n  \n x\r",
    " \u00a0 \u3000\u2003x\u2028y\u2029z\u0085w \u200b v\ufeff\u180e ",
    "...!!??--==>> <= += ::/ // /// @#$%^&*()_+`~ \"quoted\"",
    "(a) [b] {c} <d> (e).f,g!h?i…j。k，l、m।n۔o،p",
    "안녕하세요 세계 ㄱㄴㄷ ㅏ 한국어를 공부합니다",
    "我在apple工作1314151天～ 你好，世界！ 𠀀𪜶 々〇〡 ⺀",
    "こんにちは カタカナ ｶﾀｶﾅ ー ・ 東京タワー",
    "ㄅㄆㄇ 中文 English 混合 한글 テスト",
    "مرحبا بالعالم ١٢٣ السَّلَامُ عَلَيْكُمْ",
    "שָׁלוֹם עולם",
    "हिन्दी में लिखा हुआ। ক্ষ বাংলা",
    "สวัสดีชาวโลก ກຂຄ កាន់តែ မြန်မာ",
    "Ελληνικά κείμενο нещо на Български ქართული Հայերեն",
    "café cafe\u0301 naïve a\u0300\u0301\u0302 \u0301x Å A\u030a",
    "🚀 (normal) 😶\u200d🌫️ 👩‍👩‍👧 🇰🇷 ✅ 🦙🦙!",
    "a\u0000b\u0001\u001f\u007f\u009f c\ue000\U0010ffff\ufffd",
    "<sentinel:12> IMGIMGABCZ IMGIMGZ <|im_start|>user\nhi<|im_end|>",
    "€100 £5 ¥ ∑∫√ ←→ ①②③ ⅓ ° ± × ÷ µ",
    "' s 't\n're  'll",
    "a b c d efg h",
    "x                                 y",
    "end   ",
    "",
]


def pieces(pre_tokenizer, text):
    ends = [b for _, (_, b) in pre_tokenizer.pre_tokenize_str(text)]
    begins = [0] + ends[:-1]
    return [len(text[a:b].encode()) for a, b in zip(begins, ends)]


def main():
    cases = []
    for name, (ignore_merges, steps) in CASES.items():
        element = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
        # The tokenizers library reads a pre-tokenizer only as part of a whole tokenizer.
        state = json.dumps(element).encode()
        pre_tokenizer = pre_tokenizers.Sequence([])
        pre_tokenizer.__setstate__(state)
        cases.append(
            {
                "name": name,
                "ignore_merges": ignore_merges,
                "pre_tokenizer": element,
                "pieces": [" ".join(map(str, pieces(pre_tokenizer, t))) for t in TEXTS],
            }
        )
    lines = [json.dumps(case) for case in cases]
    texts = [json.dumps(text) for text in TEXTS]
    print('{"texts": [\n' + ",\n".join(texts) + '\n],\n"cases": [\n' + ",\n".join(lines) + "\n]}")


if __name__ == "__main__":
    main()
