#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/printable.h"

namespace halftone {

struct SplitPattern {
  std::string_view json;  // as tokenizer.json spells it, in Oniguruma's syntax
  std::string_view pcre;  // where PCRE2 needs another spelling of the same, else empty
  Threes threes = Threes::kNo;
};

struct PreTokenizerRow {
  std::string_view names[20];    // unused places are empty
  const SplitPattern* steps[6];  // unused places are null
  bool ignore_merges = false;
  bool add_bos = false;

  std::span<const SplitPattern* const> Steps() const {
    return {steps, std::ranges::find(steps, nullptr)};
  }
};

namespace {

constexpr SplitPattern kByteLevel = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", {}};
constexpr SplitPattern kNumber = {R"(\p{N})", {}};
// Digits asks Rust, whose Unicode 17 has thirteen digits more than the regular expressions.
constexpr SplitPattern kDigit = {R"(\p{N})", R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])"};
constexpr SplitPattern kDigits = {R"(\p{N}+)", {}};
constexpr SplitPattern kPunctuation = {R"([\p{P}$+<=>^`|~]+)", {}};
constexpr SplitPattern kThreeAsciiDigits = {"[0-9][0-9][0-9]", {}};
constexpr SplitPattern kUpToThreeDigits = {R"(\p{N}{1,3})", {}};
constexpr SplitPattern kNewline = {"[\r\n]", {}};
constexpr SplitPattern kLines = {R"([^\n]+|[\n]+)", {}};

constexpr SplitPattern kLlama3 = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
constexpr SplitPattern kQwen2 = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                                 R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
                                 {}};
constexpr SplitPattern kQwen35 = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
    R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
constexpr SplitPattern kMiniCpm5 = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
constexpr SplitPattern kUfakzeka = {
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", {}};
constexpr SplitPattern kJais2 = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|)"
    R"(\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})",
    // Only at the beginning of a run of spaces may there be a newline left in it: looking for it
    // before every piece would cost a time quadratic in the run's length.
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|(?<![^\S\r\n])\s*[\r\n]+|)"
    R"(\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|)"
    R"(\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"};
constexpr SplitPattern kBailing = {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}|)"
                                   R"( ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
                                   {}};
constexpr SplitPattern kSeedCoder = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^)"
                                     "\r\n"
                                     R"(\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N})"
                                     "\r\n"
                                     R"(]+|\s*[)"
                                     "\r\n"
                                     R"(]+|\s+(?!\S)|\s+)",
                                     {}};
// The groups repeat once for each letter of a run; possessive, they take no stack for it. Nothing
// follows them in their alternative, so the match is the same.
constexpr SplitPattern kExaoneMoe = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*+(?: \p{L}\p{M}*+)*+)++|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"};

constexpr SplitPattern kTekken = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
constexpr SplitPattern kGpt4o = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
constexpr SplitPattern kYoutuScripts = {
    "[\uAC00-\uD7A3\u3131-\u318E]+|[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B"
    "\uFF0C\u3001-\u303F\uFE30-\uFE4F]+|[\u3105-\u312F]+|[\u4E00-\u9FA5\u3040-\u309F\u30A0-"
    "\u30FF]+",
    {}};
constexpr SplitPattern kYoutu = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
// PCRE2 cannot intersect classes: "these letters, but not Han" is written as "none of all others".
// Its \p{Han} is the script in some versions and the wider script extensions in others.
#define HT_HAN                                                                               \
  R"(\x{2E80}-\x{2E99}\x{2E9B}-\x{2EF3}\x{2F00}-\x{2FD5}\x{3005}\x{3007}\x{3021}-\x{3029})"  \
  R"(\x{3038}-\x{303B}\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FA6D}\x{FA70}-\x{FAD9})" \
  R"(\x{16FE2}\x{16FE3}\x{16FF0}\x{16FF1}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B738})"            \
  R"(\x{2B740}-\x{2B81D}\x{2B820}-\x{2CEA1}\x{2CEB0}-\x{2EBE0}\x{2F800}-\x{2FA1D})"          \
  R"(\x{30000}-\x{3134A})"
#define HT_UPPER R"([^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C})" HT_HAN "]"
#define HT_LOWER R"([^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C})" HT_HAN "]"
constexpr SplitPattern kKimiK2 = {
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    "[" HT_HAN R"(]+|[^\r\n\p{L}\p{N}]?)" HT_UPPER "*" HT_LOWER
    R"(+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?)" HT_UPPER "+" HT_LOWER
    R"(*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
#undef HT_HAN
#undef HT_UPPER
#undef HT_LOWER

constexpr SplitPattern kDeepSeekWords = {
    "\\s?[A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295"
    "-\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-"
    "\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5"
    "\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-"
    "\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-"
    "\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-"
    "\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-"
    "\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149\u214E"
    "\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-"
    "\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17"
    "\uFF21-\uFF3A\uFF41-\uFF5A\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-"
    "\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2\U000118A0-\U000118DF\U0001E900-"
    "\U0001E943]+",
    {}};
constexpr SplitPattern kDeepSeekPunctuation = {
    "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+", {}};
// The first space of a run only: otherwise each space of a run that does not end the piece would be
// tried in turn, at a cost quadratic in its length. Newlines are pieces of their own by now.
constexpr SplitPattern kTrailingSpace = {R"(\s+$)", R"((?<!\s)\s+\z)"};
constexpr SplitPattern kDeepSeekCjk = {"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+", {}};
constexpr SplitPattern kCoderWords = {R"(\s?\p{L}+)", {}};
constexpr SplitPattern kCoderPunctuation = {R"(\s?\p{P}+)", {}};
constexpr SplitPattern kHanKana = {"[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+", {}};
constexpr SplitPattern kDeepSeekV3 = {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
                                      "\r\n"
                                      R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
                                      R"( ?[\p{P}\p{S}]+[)"
                                      "\r\n"
                                      R"(]*|\s*[)"
                                      "\r\n"
                                      R"(]+|\s+(?!\S)|\s+)",
                                      {}};
constexpr SplitPattern kSpark25 = {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
                                   "\r\n"
                                   R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
                                   R"( ?[\p{P}\p{S}]+|[)"
                                   "\r\n"
                                   R"(]|\s+(?!\S)|\s+)",
                                   {}};
constexpr SplitPattern kAfmoeScripts = {
    "[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF\u3040-\u309F\u30A0-\u30FF\uFF65-\uFF9F\u2F00-"
    "\u2FDF\u0E40-\u0E7F\u0E80-\u0EFF\u1780-\u17FF\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF"
    "\uAC00-\uD7AF\u1100-\u11FF]+",
    {}};
constexpr SplitPattern kAfmoe = {
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    {}};
constexpr SplitPattern kWordsToPunctuation = {
    " ?[^(\\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+", {}};

// Threes of digits counted from the end of a run. The look-ahead that spells it is tried at every
// digit of the run and would look at all the rest of it each time.
constexpr SplitPattern kThreesFromTheEnd = {R"((?=(\d{3})+(?!\d)))", R"(\d+)", Threes::kCuts};
constexpr SplitPattern kThreesOfAWord = {
    R"(\d{1,3}(?=(?:\d{3})*\b))",
    R"((?<!\d)\d++(?![\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\xB2\xB3\xB9\xBC-\xBE]))", Threes::kPieces};
// llama.cpp's own word for it, which is no regular expression.
constexpr SplitPattern kThreesOfNumbers = {R"(\p{AFMoE_digits})", R"(\p{N}+)", Threes::kPieces};

constexpr SplitPattern kSentinel = {"<sentinel:[0-9]+>", {}};
constexpr SplitPattern kImageToken = {"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", {}};
constexpr SplitPattern kTabsAndPairs = {R"(([\t\n]|    |  ))", {}};
constexpr SplitPattern kOnePunctuation = {R"([\p{P}$+<=>^`|~])", {}};

// llama.cpp's pattern for files that name no pre-tokenizer: a mixture that fits no model exactly.
constexpr SplitPattern kDefaultPunctuation = {R"([\p{P}\$\+<=>\^~\|]+)", {}};

constexpr PreTokenizerRow kRows[] = {
    {{"default"}, {&kDefaultPunctuation, &kByteLevel, &kDigits, &kThreeAsciiDigits}},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano"},
     {&kLlama3},
     true,
     true},
    {{"glm4", "glm5"}, {&kLlama3}, true},
    {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {&kLlama3}},
    {{"jais-2"}, {&kJais2}},
    {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan",
      "solar-open", "grok-2"},
     {&kQwen2}},
    {{"qwen35"}, {&kQwen35}},
    {{"minicpm5"}, {&kUpToThreeDigits, &kMiniCpm5}, true},
    {{"ufakzeka"}, {&kUfakzeka}},
    {{"laguna"}, {&kLines, &kQwen2}},
    {{"bailingmoe", "bailingmoe2", "llada-moe"}, {&kBailing}},
    {{"seed-coder"}, {&kSeedCoder}},
    {{"exaone-moe"}, {&kExaoneMoe}},
    {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
     {&kDigit, &kByteLevel}},
    {{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0",
      "mellum", "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "mpt", "olmo", "jais",
      "trillion", "granite-docling", "exaone4"},
     {&kByteLevel}},
    {{"falcon"}, {&kPunctuation, &kByteLevel, &kThreeAsciiDigits}},
    {{"tekken"}, {&kTekken}, true, true},
    {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {&kGpt4o}},
    {{"granite-embed-multi-97m"}, {&kGpt4o}, true},
    {{"tiny_aya", "cohere2moe"}, {&kThreesOfAWord, &kGpt4o}},
    {{"youtu"}, {&kYoutuScripts, &kYoutu}, true},
    {{"kimi-k2"}, {&kKimiK2}},
    {{"superbpe"}, {&kDigits, &kThreesFromTheEnd}},
    {{"deepseek-llm"},
     {&kNewline, &kDeepSeekWords, &kDeepSeekPunctuation, &kTrailingSpace, &kDeepSeekCjk, &kDigit}},
    {{"deepseek-coder"}, {&kNewline, &kCoderWords, &kCoderPunctuation, &kDeepSeekCjk, &kDigit}},
    {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
     {&kUpToThreeDigits, &kHanKana, &kDeepSeekV3}},
    {{"spark2_5"}, {&kUpToThreeDigits, &kHanKana, &kSpark25, &kNumber}},
    {{"afmoe"}, {&kThreesOfNumbers, &kAfmoeScripts, &kAfmoe}},
    {{"poro-chat", "bloom", "gpt3-finnish"}, {&kWordsToPunctuation}},
    {{"viking"}, {&kWordsToPunctuation, &kDigit}},
    {{"chameleon"},
     {&kSentinel, &kImageToken, &kTabsAndPairs, &kDigit, &kOnePunctuation, &kByteLevel},
     false,
     true},
};

bool StartsCharacter(char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }

// Calls at(begin) for every three of characters, counted from `end`, that lies in [begin, end).
template <class At>
void ForThrees(std::string_view text, size_t begin, size_t end, const At& at) {
  auto left = std::ranges::count_if(text.substr(begin, end - begin), StartsCharacter);
  for (size_t i = begin; i < end; ++i) {
    if (!StartsCharacter(text[i])) continue;
    if (left % 3 == 0) at(i);
    --left;
  }
}

}  // namespace

const std::string_view kByteLevelPattern = kByteLevel.json;
const std::string_view kPunctuationPattern = kPunctuation.json;
const std::string_view kDigitPattern = kDigit.json;
const std::string_view kDigitsPattern = kDigits.json;

PreTokenizer::PreTokenizer(std::string_view name, const std::string& source) {
  if (name.empty()) name = "default";
  const auto* row = std::ranges::find_if(kRows, [&](const PreTokenizerRow& r) {
    return std::ranges::find(r.names, name) != std::end(r.names);
  });
  if (row == std::end(kRows)) {
    FailUnsupported("{}: unknown pre-tokenizer tokenizer.ggml.pre '{}'", source, Printable(name));
  }
  row_ = row;
  for (const SplitPattern* pattern : row->Steps()) {
    steps_.push_back(
        {Regex(pattern->pcre.empty() ? pattern->json : pattern->pcre), pattern->threes});
  }
}

bool PreTokenizer::ignore_merges() const { return row_->ignore_merges; }

bool PreTokenizer::add_bos() const { return row_->add_bos; }

std::vector<HfStep> PreTokenizer::HfSteps() const {
  std::vector<HfStep> steps;
  for (const SplitPattern* pattern : row_->Steps()) {
    if (pattern == &kThreesOfNumbers) {
      FailUnsupported("tokenizer.json has no pre-tokenizer like tokenizer.ggml.pre '{}'",
                      row_->names[0]);
    }
    using Kind = HfStep::Kind;
    const Kind kind = pattern == &kDigit         ? Kind::kDigit
                      : pattern == &kDigits      ? Kind::kDigits
                      : pattern == &kPunctuation ? Kind::kPunctuation
                      : pattern == &kByteLevel   ? Kind::kByteLevel
                                                 : Kind::kSplit;
    steps.push_back({kind, pattern->json});
  }
  return steps;
}

void PreTokenizer::SplitFrom(size_t step, std::string_view text, size_t begin, size_t end,
                             RegexMatcher& matcher, const PieceFunction& piece) const {
  if (begin == end) return;
  if (step == steps_.size()) {
    piece(begin, end);
    return;
  }
  const std::string_view subject = text.substr(begin, end - begin);
  const Threes threes = steps_[step].threes;
  size_t last = begin;  // end of the last piece
  const auto cut = [&](size_t at) {
    SplitFrom(step + 1, text, last, at, matcher, piece);
    last = at;
  };
  for (size_t at = 0; at < subject.size();) {
    const auto match = matcher.Find(steps_[step].regex, subject, at);
    if (!match) break;
    if (threes != Threes::kCuts) cut(begin + match->begin);
    if (threes != Threes::kNo) {
      ForThrees(text, begin + match->begin, begin + match->end, cut);
    }
    if (threes != Threes::kCuts) cut(begin + match->end);
    at = match->end;
  }
  cut(end);
}

std::string_view PreTokenizerNamed(std::span<const std::string> steps, bool ignore_merges) {
  for (const PreTokenizerRow& row : kRows) {
    if (row.ignore_merges == ignore_merges &&
        std::ranges::equal(row.Steps(), steps, {}, [](const SplitPattern* p) { return p->json; })) {
      return row.names[0];
    }
  }
  return {};
}

std::vector<std::string_view> PreTokenizerNames() {
  std::vector<std::string_view> names;
  for (const PreTokenizerRow& row : kRows) names.push_back(row.names[0]);
  return names;
}

}  // namespace halftone
