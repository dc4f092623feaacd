"""Ids that Hugging Face's tokenizers gives to the texts of tokenizer_golden.json and a few more with
the tokenizer.json of whole models, for folder_tokenizer_test.cc.

  pip install tokenizers==0.23.3
  python3 make_folder_golden.py <folder>... > folder_golden.json     (ref-75m and tiny-bf16)

llama.cpp gives the same ids but for bytes that the vocabulary lacks, where it gives none and
Hugging Face the unknown token.
"""

import json
import pathlib
import sys

from tokenizers import Tokenizer

from make_tokenizer_golden import TEXTS

MORE = [
    "In 1905, Albert Einstein published four papers; the third (\"On the Electrodynamics of Moving "
    "Bodies\") introduced special relativity. It wasn't accepted at once -- they'd say it couldn't be!",
    "#include <vector>\n\ntemplate <class T>\nT Sum(const std::vector<T>& v) {\n  T sum{};\n"
    "  for (const auto& x : v) sum += x;\n  return sum;  // 0x7FFF\n}\n",
    "SELECT name, COUNT(*) FROM users WHERE id >= 1000 GROUP BY name;\n| a | b |\n|---|---|\n",
    "대한민국의 수도는 서울이며, 인구는 약 950만 명이다. 그는 '안녕'이라고 말했다.",
    "中华人民共和国首都北京，常住人口2184.3万人。「你好」",
    "القاهرة هي عاصمة جمهورية مصر العربية وعدد سكانها ٢٠ مليون نسمة.",
    "मुंबई भारत का सबसे बड़ा शहर है। กรุงเทพมหานคร Ελλάδα Россия ქართული",
    "👨‍👩‍👧‍👦👍🏽🏳️‍🌈 ✨ ☃️ ①②③ Ⅷ ㎏ ﷽ ﬁ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U000f0000",
    "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n"
    "<|im_start|>assistant\n<repo_name>x<file_sep><|im_start|",
    "https://example.org/a/b?c=d&e=%20f#g user@mail.example 192.168.0.1 2024-02-29T23:59:59Z",
    "\t\t\tx\n\n\n\n    y\r\n\r\n \t \n        z          ",
]


def main():
    print('{"texts": ' + json.dumps(TEXTS + MORE) + ',\n"folders": {')
    lines = []
    for folder in sys.argv[1:]:
        tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
        ids = {}
        for how in ("special", "plain"):
            tokenizer.encode_special_tokens = how == "plain"
            encoded = tokenizer.encode_batch(TEXTS + MORE, add_special_tokens=how == "special")
            ids[how] = [" ".join(map(str, e.ids)) for e in encoded]
        lines.append(f"{json.dumps(pathlib.Path(folder).name)}: {json.dumps(ids)}")
    print(",\n".join(lines) + "\n}}")


if __name__ == "__main__":
    main()
