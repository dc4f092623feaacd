#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/base64.h"
#include "halftone/compare.h"
#include "pipeline/assets.h"
#include "pipeline/report_parts.h"
#include "pipeline/report_text.h"
#include "tests/testing/paths.h"
#include "tests/testing/synthetic_report.h"

namespace halftone {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// What a model or a file name might say to break out of a page.
const std::string kHostile =
    "</script></style><script>alert(1)</script><!-- {{json}} \"'><img src=x onerror=alert(1)> & "
    "\\u003c \x01\x7f ]]> \u202e \xc3\x28 \xed\xa0\x80 \xff";

// Every text of the report, to be replaced.
void ForEachText(CompareReport& report, const std::function<void(std::string&)>& visit) {
  for (std::string* text :
       {&report.model, &report.architecture, &report.text_file, &report.version, &report.note}) {
    visit(*text);
  }
  for (CompareRow& row : report.rows) {
    for (std::string* text : {&row.name, &row.grid, &row.method}) visit(*text);
    for (LayerError& error : row.errors) visit(error.tensor);
    for (Sample& sample : row.samples) {
      visit(sample.prompt);
      visit(sample.completion);
    }
  }
}

// ---- Assets ----

TEST(AssetTest, HoldsEveryFileByteForByte) {
  const std::filesystem::path folder = SourcePath("src/pipeline/assets");
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_EQ(Asset(entry.path().filename().string()), bytes) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 3);
  EXPECT_EQ(Asset("missing"), "");
}

// ---- JSON ----

double NumberOf(const json& value) { return value.is_null() ? kNan : value.get<double>(); }

// Exactly equal; NaN equals null, and infinities are not finite either.
void ExpectNumber(double expected, const json& row, const std::string& key, bool measured = true) {
  ASSERT_TRUE(row.contains(key)) << key;
  if (!measured || !std::isfinite(expected)) {
    EXPECT_TRUE(row.at(key).is_null()) << key;
  } else {
    EXPECT_EQ(NumberOf(row.at(key)), expected) << key;
  }
}

void ExpectEstimate(const Estimate& expected, const json& row, const std::string& key,
                    bool measured) {
  ExpectNumber(expected.value, row, key, measured);
  ExpectNumber(expected.error, row, key + "_error", measured);
}

void ExpectMeasurements(const CompareRow& row, const json& out) {
  EXPECT_EQ(out.at("name"), row.name);
  EXPECT_EQ(out.at("grid"), row.grid);
  EXPECT_EQ(out.at("method"), row.method);
  EXPECT_EQ(out.at("is_reference"), row.is_reference);
  EXPECT_EQ(out.at("pareto"), row.pareto);
  EXPECT_EQ(out.at("file_bytes"), row.file_bytes);
  EXPECT_EQ(out.at("tokens"), row.quality.tokens);
  EXPECT_EQ(out.at("peak_bytes"), row.speed.peak_bytes);
  EXPECT_EQ(out.at("weight_bytes"), row.speed.weight_bytes);
  ExpectNumber(row.bits_per_weight, out, "bits_per_weight");
  ExpectNumber(row.quantize_seconds, out, "quantize_seconds");
  const bool against = row.quality.has_reference;
  ExpectEstimate(row.quality.perplexity, out, "perplexity", true);
  ExpectEstimate(row.quality.kld_mean, out, "kld_mean", against);
  ExpectNumber(row.quality.kld_median, out, "kld_median", against);
  ExpectNumber(row.quality.kld_p99, out, "kld_p99", against);
  ExpectNumber(row.quality.kld_max, out, "kld_max", against);
  ExpectEstimate(row.quality.same_top1, out, "same_top1", against);
  ExpectEstimate(row.quality.rms_delta_p, out, "rms_delta_p", against);
  ExpectNumber(row.speed.prompt_tps, out, "prompt_tps");
  ExpectNumber(row.speed.generation_tps, out, "generation_tps");
  ExpectNumber(row.speed.load_seconds, out, "load_seconds");
  ExpectNumber(row.speed.read_gbps, out, "read_gbps");
  ExpectNumber(row.speed.machine_gbps, out, "machine_gbps");
}

TEST(CompareJsonTest, GivesEveryNumberBack) {
  CompareReport report = SyntheticReport::Make();
  report.rows[3].quality.kld_p99 = kNan;
  report.rows[4].quality.perplexity = {kInf, -kInf};
  report.rows[5].speed.generation_tps = kNan;
  report.rows[5].file_bytes = std::numeric_limits<uint64_t>::max();
  const json parsed = json::parse(CompareJson(report));
  EXPECT_EQ(parsed.at("model"), report.model);
  EXPECT_EQ(parsed.at("parameters"), report.parameters);
  EXPECT_EQ(parsed.at("context"), report.context);
  EXPECT_EQ(parsed.at("note"), report.note);
  ASSERT_EQ(parsed.at("rows").size(), report.rows.size());
  for (size_t i = 0; i < report.rows.size(); ++i) {
    SCOPED_TRACE(report.rows[i].name);
    const json& out = parsed.at("rows")[i];
    ExpectMeasurements(report.rows[i], out);
    ASSERT_EQ(out.at("errors").size(), report.rows[i].errors.size());
    for (size_t j = 0; j < report.rows[i].errors.size(); ++j) {
      EXPECT_EQ(out["errors"][j]["layer"], report.rows[i].errors[j].layer);
      EXPECT_EQ(out["errors"][j]["tensor"], report.rows[i].errors[j].tensor);
      ExpectNumber(report.rows[i].errors[j].relative_error, out["errors"][j], "relative_error");
    }
    ASSERT_EQ(out.at("samples").size(), report.rows[i].samples.size());
    for (size_t j = 0; j < report.rows[i].samples.size(); ++j) {
      EXPECT_EQ(out["samples"][j]["prompt"], report.rows[i].samples[j].prompt);
      EXPECT_EQ(out["samples"][j]["completion"], report.rows[i].samples[j].completion);
    }
  }
}

TEST(CompareJsonTest, TakesAnyBytes) {
  CompareReport report = SyntheticReport::Make();
  const std::string zero("zero \0 and \x1b[31m", 16);
  report.rows[1].samples[0].completion = zero;
  report.rows[2].samples[0].completion = "broken \xff\xfe utf-8";
  const json parsed = json::parse(CompareJson(report));
  EXPECT_EQ(parsed["rows"][1]["samples"][0]["completion"], zero);
  EXPECT_EQ(parsed["rows"][2]["samples"][0]["completion"], "broken \uFFFD\uFFFD utf-8");
}

// ---- CSV ----

// RFC 4180, section 2, as a state machine.
std::vector<std::vector<std::string>> ParseCsv(const std::string& csv) {
  std::vector<std::vector<std::string>> records(1, {""});
  bool quoted = false;
  for (size_t i = 0; i < csv.size(); ++i) {
    std::string& field = records.back().back();
    if (quoted) {
      if (csv[i] != '"') {
        field += csv[i];
      } else if (i + 1 < csv.size() && csv[i + 1] == '"') {
        field += csv[i++];
      } else {
        quoted = false;
      }
    } else if (csv[i] == '"') {
      EXPECT_EQ(field, "") << "a quote within a field at " << i;
      quoted = true;
    } else if (csv[i] == ',') {
      records.back().emplace_back();
    } else if (csv.compare(i, 2, "\r\n") == 0) {
      if (++i + 1 < csv.size()) records.push_back({""});
    } else {
      EXPECT_TRUE(csv[i] != '\r' && csv[i] != '\n') << "a bare line break at " << i;
      field += csv[i];
    }
  }
  EXPECT_FALSE(quoted);
  return records;
}

TEST(CompareCsvTest, QuotesByRfc4180) {
  CompareReport report;
  report.rows.resize(2);
  report.rows[0].name = "a,b";
  report.rows[0].grid = "say \"q4\"";
  report.rows[0].method = "two\r\nlines";
  report.rows[1].name = "plain name";
  const std::string csv = CompareCsv(report);
  EXPECT_THAT(csv, HasSubstr("\r\n\"a,b\",\"say \"\"q4\"\"\",\"two\r\nlines\",false,"));
  EXPECT_THAT(csv, HasSubstr("\r\nplain name,,,false,"));
  EXPECT_TRUE(csv.ends_with("\r\n"));
}

TEST(CompareCsvTest, HasOneRecordForEachRowWithTheNumbersOfTheJson) {
  CompareReport report = SyntheticReport::Make();
  report.rows[2].name = kHostile;
  report.rows[3].method = "line\r\n\"break\",";
  report.rows[4].quality.kld_mean.value = kNan;
  report.rows[5].speed.read_gbps = kInf;
  const auto records = ParseCsv(CompareCsv(report));
  const json parsed = json::parse(CompareJson(report));
  ASSERT_EQ(records.size(), report.rows.size() + 1);
  for (const char* key : {"perplexity", "kld_mean", "kld_median", "kld_p99", "kld_max", "same_top1",
                          "rms_delta_p", "tokens", "prompt_tps", "generation_tps", "load_seconds",
                          "peak_bytes", "weight_bytes", "read_gbps", "machine_gbps"}) {
    EXPECT_THAT(records[0], testing::Contains(key));
  }
  for (size_t i = 0; i < report.rows.size(); ++i) {
    ASSERT_EQ(records[i + 1].size(), records[0].size());
    for (size_t j = 0; j < records[0].size(); ++j) {
      const std::string& field = records[i + 1][j];
      const json& value = parsed["rows"][i].at(records[0][j]);
      if (records[0][j] == "name") {
        EXPECT_EQ(field, report.rows[i].name);
      } else if (value.is_string()) {
        EXPECT_EQ(field, value.get<std::string>());
      } else if (value.is_null()) {
        EXPECT_EQ(field, "");
      } else {
        EXPECT_EQ(json::parse(field), value) << records[0][j];
      }
    }
  }
}

// ---- Text ----

TEST(ReportTextTest, EscapesForHtml) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\">'&amp;'</a>"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;&#39;&lt;/a&gt;");
  EXPECT_EQ(EscapeHtml("tab\tline\n"), "tab\tline\n");
  EXPECT_EQ(EscapeHtml(std::string("\0\x1b\x7f", 3)), "\u2400\u241B\u2421");
  EXPECT_EQ(EscapeHtml("\u00e9\u4f60\U0001F600"), "\u00e9\u4f60\U0001F600");
  // Overlong, surrogate, beyond U+10FFFF, cut short: each byte is replaced.
  EXPECT_EQ(EscapeHtml("\xc0\xaf"), "\uFFFD\uFFFD");
  EXPECT_EQ(EscapeHtml("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(EscapeHtml("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(EscapeHtml("a\xe4\xbd"), "a\uFFFD\uFFFD");
}

TEST(ReportTextTest, JsonInAScriptSaysTheSameWithoutMarkup) {
  const json value = {{"a", "</script><!--&"}, {"b", {1, 2.5, nullptr}}};
  const std::string escaped = EscapeJsonForScript(value.dump());
  EXPECT_THAT(escaped, Not(testing::ContainsRegex("[<>&]")));
  EXPECT_EQ(json::parse(escaped), value);
}

TEST(ReportTextTest, WritesNumbersForPeople) {
  EXPECT_EQ(Significant(0.012345, 3), "0.0123");
  EXPECT_EQ(Significant(18.6123, 3), "18.6");
  EXPECT_EQ(Significant(1181.2, 3), "1181");
  EXPECT_EQ(Significant(12345, 3), "12\u202F345");
  EXPECT_EQ(Significant(-1234567, 3), "-1\u202F234\u202F567");
  EXPECT_EQ(Significant(1.25e-7, 2), "1.2e-7");
  EXPECT_EQ(Significant(3e12, 2), "3.0e12");
  EXPECT_EQ(Significant(0, 3), "0");
  EXPECT_EQ(Significant(kNan, 3), "\u2013");
  EXPECT_EQ(Significant(-kInf, 3), "\u2013");
  EXPECT_EQ(Decimals(1e300, 2), "1.00e300");
  EXPECT_EQ(Percent(0.274), "27\u00A0%");
  EXPECT_EQ(HumanBytes(84.2e6), "84.2\u00A0MB");
  EXPECT_EQ(HumanBytes(4.372e9), "4.37\u00A0GB");
  EXPECT_EQ(HumanSeconds(0.84), "0.8\u00A0s");
  EXPECT_EQ(HumanSeconds(200), "3\u00A0min 20\u00A0s");
  EXPECT_EQ(HumanSeconds(7500), "2\u00A0h 5\u00A0min");
  EXPECT_EQ(HumanSeconds(1e300), "2.78e296\u00A0h");
  EXPECT_EQ(HumanCount(134515008), "135\u00A0million");
  EXPECT_EQ(BaseName("/a/b/model.gguf"), "model.gguf");
  EXPECT_EQ(BaseName("folder/"), "folder");
  EXPECT_EQ(BaseName(""), "");
}

TEST(ReportTextTest, Base64ByRfc4648) {
  EXPECT_EQ(EncodeBase64(""), "");
  EXPECT_EQ(EncodeBase64("f"), "Zg==");
  EXPECT_EQ(EncodeBase64("fo"), "Zm8=");
  EXPECT_EQ(EncodeBase64("foo"), "Zm9v");
  EXPECT_EQ(EncodeBase64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(EncodeBase64("\xff\xfe\xfd"), "//79");
}

// ---- Highlights ----

CompareRow Variant(const std::string& name, uint64_t bytes, double kld, double top1) {
  CompareRow row;
  row.name = row.grid = name;
  row.method = "rtn";
  row.file_bytes = bytes;
  row.quality.has_reference = true;
  row.quality.kld_mean.value = kld;
  row.quality.same_top1.value = top1;
  row.pareto = true;
  return row;
}

CompareReport SmallReport() {
  CompareReport report;
  report.rows = {Variant("whole", 1000, 0, 1), Variant("large", 500, 0.001, 0.98),
                 Variant("middle", 300, 0.02, 0.93), Variant("small", 150, 0.4, 0.7)};
  report.rows[0].is_reference = true;
  report.rows[2].speed.generation_tps = 20;
  return report;
}

TEST(HighlightsTest, SuggestsTheSmallestThatAgreesWell) {
  CompareReport report = SmallReport();
  const Highlights found = FindHighlights(report);
  ASSERT_TRUE(found.suggested && found.closest && found.smallest && found.fastest);
  EXPECT_TRUE(found.good);
  EXPECT_EQ(found.suggested->name, "middle");
  EXPECT_EQ(found.closest->name, "large");
  EXPECT_EQ(found.smallest->name, "small");
  EXPECT_EQ(found.fastest->name, "middle");
  const std::string html = HeadlineHtml(report);
  EXPECT_THAT(html, HasSubstr("<strong>middle</strong> keeps 93\u00A0% of"));
  EXPECT_THAT(html, HasSubstr("in 30\u00A0% of its bytes"));
}

TEST(HighlightsTest, SaysSoWhereNoneAgreesWell) {
  CompareReport report = SmallReport();
  report.rows.erase(report.rows.begin() + 1, report.rows.begin() + 3);
  const Highlights found = FindHighlights(report);
  ASSERT_TRUE(found.suggested);
  EXPECT_FALSE(found.good);
  EXPECT_EQ(found.suggested->name, "small");
  EXPECT_THAT(HeadlineHtml(report), HasSubstr("no version measured"));
}

TEST(HighlightsTest, LeavesOutWhatAnotherBeats) {
  CompareReport report = SmallReport();
  report.rows.push_back(Variant("beaten", 290, 0.05, 0.91));
  report.rows.back().pareto = false;
  EXPECT_EQ(FindHighlights(report).suggested->name, "middle");
}

TEST(HighlightsTest, NothingToCompareIsNoHeadline) {
  CompareReport report = SmallReport();
  report.rows.resize(1);
  EXPECT_FALSE(FindHighlights(report).suggested);
  for (CompareRow& row : (report = SmallReport()).rows) row.quality.kld_mean.value = kNan;
  EXPECT_FALSE(FindHighlights(report).suggested);
  EXPECT_THAT(HeadlineHtml(report), HasSubstr("4 versions of"));
}

// ---- Samples ----

std::string Marked(const std::string& reference, const std::string& text) {
  CompareReport report;
  report.rows.resize(2);
  report.rows[0].is_reference = true;
  report.rows[0].samples = {{"prompt", reference}};
  report.rows[1].samples = {{"prompt", text}};
  const std::string html = SamplesHtml(report);
  const std::string second = html.substr(html.rfind("<p dir"));
  return second.substr(14, second.find("</p>") - 14);
}

TEST(SamplesTest, MarksTheFirstWordThatDiffers) {
  EXPECT_EQ(Marked(" The cat sat on the mat.", " The cat sat on a mat."),
            "<span class=\"same\">The cat sat on </span><mark>a</mark> mat.");
  EXPECT_EQ(Marked("one river", "one rival more"),
            "<span class=\"same\">one </span><mark>rival</mark> more");
  EXPECT_EQ(Marked("same text", "same text"), "<span class=\"same\">same text</span>");
  EXPECT_EQ(Marked("same text", "same text\nand more"),
            "<span class=\"same\">same text\n</span><mark>and</mark> more");
  EXPECT_EQ(Marked("same text", "same"),
            "<span class=\"same\">same</span><mark><i>ends here</i></mark>");
  EXPECT_EQ(Marked("same text", ""), "<span class=\"same\"></span><mark><i>ends here</i></mark>");
  EXPECT_EQ(Marked("text", "a<b>"), "<span class=\"same\"></span><mark>a&lt;b&gt;</mark>");
}

TEST(SamplesTest, NeverCutsACharacter) {
  std::string reference, text;
  for (int i = 0; i < 30; ++i) reference += "\u4f60";
  text = reference + "\u597d";  // differs in its second byte from the reference's next character
  reference += "\u5a7d";
  const std::string marked = Marked(reference, text);
  EXPECT_THAT(marked, HasSubstr("</span><mark>\u597d</mark>"));
  EXPECT_THAT(marked, Not(HasSubstr("\uFFFD")));
  // A long run without spaces: the mark ends between characters.
  for (int i = 0; i < 50; ++i) text += "\u597d";
  EXPECT_THAT(Marked(reference, text), Not(HasSubstr("\uFFFD")));
}

// ---- The page ----

int CountOf(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// What stands between `open` and the next `close`, each time.
std::vector<std::string> Between(const std::string& text, const std::string& open,
                                 const std::string& close) {
  std::vector<std::string> found;
  for (size_t at = text.find(open); at != std::string::npos; at = text.find(open, at)) {
    at += open.size();
    found.push_back(text.substr(at, text.find(close, at) - at));
  }
  return found;
}

TEST(CompareHtmlTest, ShowsEveryRowAndFillsEveryPlaceholder) {
  const CompareReport report = SyntheticReport::Make();
  const std::string html = CompareHtml(report);
  EXPECT_THAT(html, Not(HasSubstr("{{")));
  EXPECT_THAT(html, HasSubstr(EscapeHtml(report.note)));
  const int rows = static_cast<int>(report.rows.size());
  EXPECT_EQ(CountOf(html, "<td class=\"method\""), rows);
  EXPECT_EQ(CountOf(html, "<li class=\"bar "), 3 * rows);
  EXPECT_EQ(CountOf(html, "<li class=\"sample "), 3 * rows);
  EXPECT_EQ(CountOf(html, "<details"), 3);
  for (const CompareRow& row : report.rows) EXPECT_THAT(html, HasSubstr(">" + row.name + "<"));
}

TEST(CompareHtmlTest, HoldsTheReportAsJson) {
  const CompareReport report = SyntheticReport::Make();
  const std::string html = CompareHtml(report);
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = html.find(open) + open.size();
  const std::string data = html.substr(begin, html.find("</script>", begin) - begin);
  EXPECT_EQ(json::parse(data), json::parse(CompareJson(report)));
}

TEST(CompareHtmlTest, LoadsNothing) {
  const std::string html = CompareHtml(SyntheticReport::Make());
  EXPECT_THAT(html, Not(HasSubstr("http:")));
  EXPECT_THAT(html, Not(HasSubstr("https:")));
  EXPECT_THAT(html, Not(HasSubstr(" src=")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
  EXPECT_THAT(html, Not(HasSubstr("url(")));
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  const std::vector<std::string> targets = Between(html, "href=\"", "\"");
  EXPECT_GE(targets.size(), 6u);
  for (const std::string& target : targets) {
    EXPECT_TRUE(target.starts_with("#") || target.starts_with("data:")) << target;
  }
}

// The page must have the same elements whatever the texts say.
TEST(CompareHtmlTest, HostileTextsAddNoElement) {
  CompareReport hostile = SyntheticReport::Make();
  CompareReport plain = hostile;
  ForEachText(hostile, [](std::string& text) { text = kHostile; });
  ForEachText(plain, [](std::string& text) { text = "text"; });
  const std::string html = CompareHtml(hostile);
  const std::string expected = CompareHtml(plain);
  EXPECT_EQ(CountOf(html, "<"), CountOf(expected, "<"));
  EXPECT_EQ(CountOf(html, "<script"), CountOf(expected, "<script"));
  EXPECT_EQ(CountOf(html, "\""), CountOf(expected, "\"") + CountOf(html, "\\\""));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, HasSubstr("{{json}}"));  // as text, not filled in
}

TEST(CompareHtmlTest, MarksTheBestOfEachColumn) {
  const CompareReport report = SyntheticReport::Make();
  const std::string html = TableHtml(report);
  std::map<std::string, double> found;
  for (const std::string& cell : Between(html, " best\" data-key=\"", ">")) {
    found[cell.substr(0, cell.find('"'))] = std::stod(Between(cell, "data-v=\"", "\"").at(0));
  }
  double kld = kInf, top1 = 0, generation = 0;
  for (const CompareRow& row : report.rows) {
    if (row.is_reference) continue;
    kld = std::min(kld, row.quality.kld_mean.value);
    top1 = std::max(top1, row.quality.same_top1.value);
    generation = std::max(generation, row.speed.generation_tps);
  }
  EXPECT_EQ(found["kld_mean"], kld);
  EXPECT_EQ(found["same_top1"], top1);
  EXPECT_EQ(found["generation_tps"], generation);
  EXPECT_EQ(found["file_bytes"], report.rows.back().file_bytes);
  EXPECT_EQ(found.size(), 12u);
}

TEST(CompareHtmlTest, WhatWasNotMeasuredIsADash) {
  CompareReport report = SyntheticReport::Make();
  for (CompareRow& row : report.rows) {
    row.bits_per_weight = row.quantize_seconds = kNan;
    row.quality.perplexity = row.quality.kld_mean = row.quality.same_top1 = {kNan, kNan};
    row.quality.kld_median = row.quality.kld_p99 = kInf;
    row.quality.rms_delta_p = row.quality.reference_perplexity = {kNan, kInf};
    row.speed = BenchReport();
    row.speed.prompt_tps = row.speed.generation_tps = row.speed.read_gbps = kNan;
    row.speed.machine_gbps = kInf;
    for (LayerError& error : row.errors) error.relative_error = kNan;
  }
  const std::string html = CompareHtml(report);
  for (const std::string word : {"nan", "inf"}) {
    for (const char* before : {">", "\"", " ", "-", ":"}) {
      for (const char* after : {"<", "\"", " ", "%", "\u00A0"}) {
        EXPECT_THAT(html, Not(HasSubstr(before + word + after)));
      }
    }
  }
  EXPECT_EQ(ErrorsHtml(report), "");
  EXPECT_EQ(SpeedHtml(report), "");
}

TEST(CompareHtmlTest, TakesEmptyReports) {
  CompareReport report;
  EXPECT_THAT(CompareHtml(report), HasSubstr("</html>"));
  report.rows.resize(1);
  EXPECT_THAT(CompareHtml(report), HasSubstr("One version of"));
  report.rows.resize(40);
  EXPECT_THAT(CompareHtml(report), HasSubstr("40 versions of"));
  EXPECT_EQ(json::parse(CompareJson(report))["rows"].size(), 40u);
}

// The bars' lengths are the numbers: half the speed is half the length.
TEST(CompareHtmlTest, BarsAreInProportion) {
  CompareReport report = SmallReport();
  report.rows[1].speed.generation_tps = 10;
  report.rows[1].speed.weight_bytes = 500;
  report.rows[1].speed.machine_gbps = 20e-6;  // 40 tokens/s at 500 bytes a token
  const std::string html = SpeedHtml(report);
  EXPECT_THAT(html, HasSubstr("--limit:100.00%"));
  EXPECT_THAT(html, HasSubstr("--w:25.00%"));
  EXPECT_THAT(html, HasSubstr("--w:50.00%"));
  EXPECT_THAT(html, HasSubstr("10.0 <small>25\u00A0%</small>"));
}

// Root mean square over the layer's tensors that were rounded.
TEST(CompareHtmlTest, LayerErrorsAreRootMeanSquares) {
  CompareReport report = SmallReport();
  report.rows[1].errors = {{0, "blk.0.a.weight", 0.03},
                           {0, "blk.0.b.weight", 0.04},
                           {0, "blk.0.norm.weight", 0},
                           {-1, "embd.weight", 0.01}};
  const std::string html = ErrorsHtml(report);
  EXPECT_THAT(html, HasSubstr("large, layer 0: 3.54\u00A0%"));  // sqrt((9 + 16) / 2)
  EXPECT_THAT(html, HasSubstr("large, outside the layers: 1.00\u00A0%"));
  EXPECT_THAT(html, HasSubstr("large, a, all layers: 3.00\u00A0%"));
  EXPECT_THAT(html, Not(HasSubstr("norm")));
}

}  // namespace
}  // namespace halftone
