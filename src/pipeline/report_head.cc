// What the page says before its table: the headline, the cards, the facts.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pipeline/report_parts.h"
#include "pipeline/report_text.h"

namespace halftone {
namespace {

constexpr int kMethodClasses = 6;

// One picture for each class, so that colour is not the only difference.
constexpr const char* kMarks[kMethodClasses] = {
    "<circle cx=\"6\" cy=\"6\" r=\"4.5\"/>",
    "<rect x=\"2\" y=\"2\" width=\"8\" height=\"8\" rx=\"1\"/>",
    "<path d=\"M6 1 11 10.5H1Z\"/>",
    "<path d=\"M6 .5 11.5 6 6 11.5 .5 6Z\"/>",
    "<path d=\"M6 11 1 1.5H11Z\"/>",
    "<path d=\"M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2Z\"/>",
};
constexpr const char* kReferenceMark =
    "<circle cx=\"6\" cy=\"6\" r=\"4\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\"/>";

bool HasDivergence(const CompareRow& row) {
  return !row.is_reference && row.quality.has_reference &&
         std::isfinite(row.quality.kld_mean.value);
}

std::string Strong(const CompareRow& row) {
  return fmt::format("<strong>{}</strong>", EscapeHtml(row.name));
}

// "27 % of its bytes", or "1.8 times its bytes".
std::string BytesPhrase(double ratio) {
  if (ratio < 1.095) return Percent(ratio) + " of its bytes";
  return Significant(ratio, 2) + " times its bytes";
}

std::string PerplexitySentence(const CompareRow& row) {
  const double mine = row.quality.perplexity.value;
  const double its = row.quality.reference_perplexity.value;
  if (!std::isfinite(mine) || !std::isfinite(its) || its <= 0) return "";
  const double change = mine / its - 1;
  return fmt::format(
      "Its perplexity is {} against {} ({}{}); its mean KL divergence from the reference is {} "
      "nats. ",
      Decimals(mine, 2), Decimals(its, 2), change < 0 ? "\u2212" : "+",
      Percent(std::abs(change), 1), Significant(row.quality.kld_mean.value, 3));
}

std::string SpeedSentence(const CompareReport& report, const CompareRow& row) {
  const CompareRow* reference = ReferenceRow(report);
  if (!(row.speed.generation_tps > 0)) return "";
  std::string sentence =
      fmt::format("It generates {} tokens/s", Significant(row.speed.generation_tps, 3));
  if (reference != nullptr && reference->speed.generation_tps > 0) {
    sentence += fmt::format(", the reference {}", Significant(reference->speed.generation_tps, 3));
  }
  return sentence + ". ";
}

struct Card {
  std::string label;
  const CompareRow* row;
  std::string value;   // HTML
  std::string detail;  // HTML
};

std::string CardHtml(const CompareReport& report, const Card& card) {
  return fmt::format(
      "<li class=\"card {}\"><span class=\"card-label\">{}</span>"
      "<span class=\"card-name\">{}{}</span>"
      "<span class=\"card-value\">{}</span><span class=\"card-detail\">{}</span></li>\n",
      MethodClass(report, *card.row), card.label, MethodMark(report, *card.row),
      EscapeHtml(card.row->name), card.value, card.detail);
}

// "27 % of the reference, 4.83 bits per weight"
std::string SizeDetail(const CompareReport& report, const CompareRow& row) {
  const double ratio = SizeRatio(report, row);
  std::string detail = Significant(row.bits_per_weight, 3) + " bits per weight";
  if (std::isfinite(ratio)) detail = Percent(ratio) + " of the reference, " + detail;
  return detail;
}

std::string AgreementDetail(const CompareRow& row) {
  return fmt::format("same likeliest token at {} of positions",
                     Percent(row.quality.same_top1.value, 1));
}

std::string Fact(std::string_view name, const std::string& value) {
  if (value.empty()) return "";
  return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", name, value);
}

}  // namespace

std::vector<std::string> ReportMethods(const CompareReport& report) {
  std::vector<std::string> methods;
  for (const CompareRow& row : report.rows) {
    if (row.is_reference) continue;
    if (std::find(methods.begin(), methods.end(), row.method) == methods.end()) {
      methods.push_back(row.method);
    }
  }
  return methods;
}

std::string MethodClass(const CompareReport& report, const CompareRow& row) {
  if (row.is_reference) return "mr";
  const std::vector<std::string> methods = ReportMethods(report);
  const auto at = std::find(methods.begin(), methods.end(), row.method) - methods.begin();
  return fmt::format("m{}", at % kMethodClasses);
}

std::string MethodMark(const CompareReport& report, const CompareRow& row) {
  const std::string method = MethodClass(report, row);
  return fmt::format(
      "<svg class=\"mark {}\" viewBox=\"0 0 12 12\" aria-hidden=\"true\" fill=\"currentColor\">"
      "{}</svg>",
      method, row.is_reference ? kReferenceMark : kMarks[method[1] - '0']);
}

const CompareRow* ReferenceRow(const CompareReport& report) {
  for (const CompareRow& row : report.rows) {
    if (row.is_reference) return &row;
  }
  return nullptr;
}

double SizeRatio(const CompareReport& report, const CompareRow& row) {
  const CompareRow* reference = ReferenceRow(report);
  if (reference == nullptr || reference->file_bytes == 0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return static_cast<double>(row.file_bytes) / static_cast<double>(reference->file_bytes);
}

Highlights FindHighlights(const CompareReport& report) {
  Highlights found;
  const bool front = std::any_of(report.rows.begin(), report.rows.end(),
                                 [](const auto& row) { return row.pareto && HasDivergence(row); });
  const auto top1 = [](const CompareRow* row) {
    return row == nullptr ? -1 : row->quality.same_top1.value;
  };
  for (const CompareRow& row : report.rows) {
    if (row.is_reference) continue;
    if (found.smallest == nullptr || row.file_bytes < found.smallest->file_bytes) {
      found.smallest = &row;
    }
    if (row.speed.generation_tps > 0 &&
        (found.fastest == nullptr ||
         row.speed.generation_tps > found.fastest->speed.generation_tps)) {
      found.fastest = &row;
    }
    if (!HasDivergence(row)) continue;
    if (found.closest == nullptr ||
        row.quality.kld_mean.value < found.closest->quality.kld_mean.value) {
      found.closest = &row;
    }
    if (front && !row.pareto) continue;
    const bool good = top1(&row) >= kGoodAgreement;
    const bool better = found.good ? good && row.file_bytes < found.suggested->file_bytes
                                   : good || top1(&row) > top1(found.suggested);
    if (better) {
      found.suggested = &row;
      found.good = good;
    }
  }
  return found;
}

std::string HeadlineHtml(const CompareReport& report) {
  const Highlights found = FindHighlights(report);
  if (found.suggested == nullptr) {
    return fmt::format(
        "<h1>{} of {}, measured side by side</h1>\n"
        "<p class=\"lead\">No divergence from a reference was measured, so nothing is said here "
        "about which is closest.</p>\n",
        report.rows.size() == 1 ? "One version" : fmt::format("{} versions", report.rows.size()),
        EscapeHtml(BaseName(report.model)));
  }
  const CompareRow& row = *found.suggested;
  const double ratio = SizeRatio(report, row);
  const std::string size =
      std::isfinite(ratio) ? BytesPhrase(ratio) : HumanBytes(static_cast<double>(row.file_bytes));
  std::string html =
      fmt::format("<h1>{} keeps {} of the reference\u2019s next-token choices in {}.</h1>\n",
                  Strong(row), Percent(row.quality.same_top1.value), size);
  html += fmt::format("<p class=\"lead\">{}{}</p>\n", PerplexitySentence(row),
                      SpeedSentence(report, row));
  html += fmt::format(
      "<p class=\"rule\">{}</p>\n",
      found.good ? fmt::format("It is named here because it is the smallest version measured that "
                               "has the same likeliest next token at {} of the positions or more.",
                               Percent(kGoodAgreement))
                 : fmt::format("It is named here because it agrees most often; no version measured "
                               "has the same likeliest next token at {} of the positions.",
                               Percent(kGoodAgreement)));
  return html;
}

std::string CardsHtml(const CompareReport& report) {
  const Highlights found = FindHighlights(report);
  std::vector<Card> cards;
  if (const CompareRow* row = found.suggested) {
    cards.push_back(
        {"Smallest that agrees well", row, HumanBytes(row->file_bytes), SizeDetail(report, *row)});
    if (!found.good) cards.back().label = "Agrees most often";
  }
  if (const CompareRow* row = found.closest) {
    cards.push_back({"Closest to the reference", row,
                     Significant(row->quality.kld_mean.value, 3) + " <small>nats</small>",
                     AgreementDetail(*row)});
  }
  if (const CompareRow* row = found.smallest) {
    cards.push_back({"Smallest of all", row, HumanBytes(row->file_bytes),
                     HasDivergence(*row) ? AgreementDetail(*row) : SizeDetail(report, *row)});
  }
  if (const CompareRow* row = found.fastest) {
    const CompareRow* reference = ReferenceRow(report);
    const bool known = reference != nullptr && reference->speed.generation_tps > 0;
    cards.push_back(
        {"Fastest to generate", row,
         Significant(row->speed.generation_tps, 3) + " <small>tokens/s</small>",
         known ? fmt::format(
                     "{} times the reference\u2019s speed",
                     Significant(row->speed.generation_tps / reference->speed.generation_tps, 2))
               : "median of the repeats"});
  }
  if (cards.empty()) return "";
  std::string html = "<ul class=\"cards\" aria-label=\"In short\">\n";
  for (const Card& card : cards) html += CardHtml(report, card);
  return html + "</ul>\n";
}

std::string FactsHtml(const CompareReport& report) {
  const CompareRow* reference = ReferenceRow(report);
  std::string html = "<dl class=\"facts\">\n";
  html += Fact("Model", EscapeHtml(BaseName(report.model)));
  html += Fact("Architecture", EscapeHtml(report.architecture));
  if (report.parameters > 0) {
    html += Fact("Parameters", HumanCount(static_cast<double>(report.parameters)));
  }
  if (reference != nullptr) {
    html += Fact("Reference", fmt::format("{}, {}", EscapeHtml(reference->name),
                                          HumanBytes(static_cast<double>(reference->file_bytes))));
  }
  html += Fact("Evaluation text", EscapeHtml(BaseName(report.text_file)));
  int64_t tokens = 0;
  for (const CompareRow& row : report.rows) tokens = std::max(tokens, row.quality.tokens);
  if (tokens > 0) {
    html += Fact("Scored", fmt::format("{} tokens in {} chunks of {}",
                                       Decimals(static_cast<double>(tokens), 0), report.chunks,
                                       report.context));
  }
  if (report.threads > 0) html += Fact("Threads", fmt::format("{}", report.threads));
  if (report.seconds > 0) html += Fact("Took", HumanSeconds(report.seconds));
  return html + "</dl>\n";
}

std::string LegendHtml(const CompareReport& report) {
  std::string html = "<ul class=\"legend\" aria-label=\"Methods\">\n";
  std::vector<std::string> seen;
  for (const CompareRow& row : report.rows) {
    const std::string name = row.is_reference ? "reference" : row.method;
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) continue;
    seen.push_back(name);
    html += fmt::format("<li>{}{}</li>\n", MethodMark(report, row), EscapeHtml(name));
  }
  return html + "</ul>\n";
}

}  // namespace halftone
