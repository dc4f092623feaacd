// Sample completions beside the reference's, with the first word that differs marked. All samples
// are drawn greedily, so a difference is the model's, not the dice's; after the first one the texts
// go separate ways, however small the cause, and only its place means something.

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "pipeline/report_parts.h"
#include "pipeline/report_text.h"

namespace halftone {
namespace {

// Longer than any word that a person would want marked whole; text without spaces, such as Chinese,
// is then marked from the character that differs.
constexpr size_t kLongestWord = 40;

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// The start of the UTF-8 character that the byte at `at` belongs to.
size_t CharacterStart(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (text[at] & 0xC0) == 0x80) --at;
  return at;
}

// The start of the first word in which `text` differs from `reference`; its end, if it does not.
size_t FirstDifference(std::string_view text, std::string_view reference) {
  const auto [mine, its] =
      std::mismatch(text.begin(), text.end(), reference.begin(), reference.end());
  auto at = static_cast<size_t>(mine - text.begin());
  // Where one text merely goes on, the words before are whole.
  const bool whole = mine == text.end() ? its == reference.end() || IsSpace(*its)
                                        : its == reference.end() && IsSpace(*mine);
  if (whole) return at;
  size_t word = at;
  while (word > 0 && !IsSpace(text[word - 1])) --word;
  return at - word <= kLongestWord ? word : CharacterStart(text, at);
}

// The end of the word that starts at `start`, the spaces before it included.
size_t WordEnd(std::string_view text, size_t start) {
  size_t end = start;
  while (end < text.size() && IsSpace(text[end])) ++end;
  const size_t limit = std::min(text.size(), end + kLongestWord);
  while (end < limit && !IsSpace(text[end])) ++end;
  return end < text.size() && !IsSpace(text[end]) ? CharacterStart(text, end) : end;
}

size_t CountWords(std::string_view text) {
  size_t words = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsSpace(text[i]) && (i == 0 || IsSpace(text[i - 1]))) ++words;
  }
  return words;
}

struct Compared {
  std::string verdict;
  std::string html;
};

// A completion starts with the space after its prompt, which nobody wants to see.
std::string_view WithoutSpace(std::string_view text) {
  return text.substr(std::min(text.size(), text.find_first_not_of(' ')));
}

Compared CompareTexts(std::string_view text, std::string_view reference) {
  if (text == reference) {
    return {"identical",
            fmt::format("<span class=\"same\">{}</span>", EscapeHtml(WithoutSpace(text)))};
  }
  size_t same = FirstDifference(text, reference);
  const size_t end = WordEnd(text, same);
  while (same < end && IsSpace(text[same])) ++same;
  const std::string marked =
      end > same ? EscapeHtml(text.substr(same, end - same)) : "<i>ends here</i>";
  const size_t words = CountWords(text.substr(0, same));
  return {words == 0 ? "differs from the first word"
                     : fmt::format("same for {} word{}", words, words == 1 ? "" : "s"),
          fmt::format("<span class=\"same\">{}</span><mark>{}</mark>{}",
                      EscapeHtml(WithoutSpace(text.substr(0, same))), marked,
                      EscapeHtml(text.substr(end)))};
}

// The completion of a prompt, which is usually at the same place in every row; null if it has none.
const std::string* Completion(const CompareRow& row, const std::string& prompt, size_t index) {
  if (index < row.samples.size() && row.samples[index].prompt == prompt) {
    return &row.samples[index].completion;
  }
  for (const Sample& sample : row.samples) {
    if (sample.prompt == prompt) return &sample.completion;
  }
  return nullptr;
}

std::string SampleHtml(const CompareReport& report, size_t index, const Compared& compared) {
  const CompareRow& row = report.rows[index];
  return fmt::format(
      "<li class=\"sample {}{}\" data-row=\"{}\"><div class=\"sample-head\">{}<b>{}</b><span "
      "class=\"verdict\">{}</span></div><p dir=\"auto\">{}</p></li>\n",
      MethodClass(report, row), row.is_reference ? " reference" : "", index,
      MethodMark(report, row), EscapeHtml(row.name), compared.verdict, compared.html);
}

}  // namespace

std::string SamplesHtml(const CompareReport& report) {
  const CompareRow* reference = ReferenceRow(report);
  const CompareRow* first = reference;
  for (const CompareRow& row : report.rows) {
    if (first == nullptr || first->samples.empty()) first = &row;
  }
  if (first == nullptr || first->samples.empty()) return "";
  std::string html;
  for (size_t i = 0; i < first->samples.size(); ++i) {
    const std::string& prompt = first->samples[i].prompt;
    const std::string* expected =
        reference == nullptr ? nullptr : Completion(*reference, prompt, i);
    html += fmt::format(
        "<details class=\"prompt\"{}><summary><span class=\"vh\">Prompt: </span><q "
        "dir=\"auto\">{}</q></summary>\n<ul class=\"samples\">\n",
        i == 0 ? " open" : "", EscapeHtml(prompt));
    for (size_t row = 0; row < report.rows.size(); ++row) {
      const std::string* text = Completion(report.rows[row], prompt, i);
      if (text == nullptr) continue;
      const bool plain = expected == nullptr || report.rows[row].is_reference;
      html += SampleHtml(
          report, row,
          plain ? Compared{"", EscapeHtml(WithoutSpace(*text))} : CompareTexts(*text, *expected));
    }
    html += "</ul>\n</details>\n";
  }
  return html;
}

}  // namespace halftone
