// CompareHtml: fills the template assets/report.html. "{{name}}" in the template stands for a part
// of the page (report_parts.h), "{{name.ext}}" for the text of an asset. The template is walked
// once, so that what a model or a file name says is never taken for a placeholder.
//
// The page is one file and forbids itself any request by a Content-Security-Policy. All text that
// does not come from this source is escaped by EscapeHtml or EscapeJsonForScript.

#include <string>
#include <string_view>

#include "base/base64.h"
#include "halftone/compare.h"
#include "pipeline/assets.h"
#include "pipeline/report_parts.h"
#include "pipeline/report_text.h"

namespace halftone {
namespace {

// A section with a heading, or nothing if it has no content.
std::string Section(const std::string& id, const std::string& title, const std::string& intro,
                    const std::string& content) {
  if (content.empty()) return "";
  return "<section id=\"" + id + "\" aria-labelledby=\"" + id + "-title\">\n<h2 id=\"" + id +
         "-title\">" + title + "</h2>\n<p class=\"intro\">" + intro + "</p>\n" + content +
         "</section>\n";
}

std::string Note(const CompareReport& report) {
  if (report.note.empty()) return "";
  return "<p class=\"note\" role=\"note\">" + EscapeHtml(report.note) + "</p>\n";
}

std::string Part(const CompareReport& report, std::string_view name) {
  if (name == "title") return EscapeHtml(BaseName(report.model));
  if (name == "version") return EscapeHtml(report.version);
  if (name == "headline") return HeadlineHtml(report);
  if (name == "note") return Note(report);
  if (name == "cards") return CardsHtml(report);
  if (name == "facts") return FactsHtml(report);
  if (name == "legend") return LegendHtml(report);
  if (name == "table") return TableHtml(report);
  if (name == "speed") {
    return Section("speed", "Speed and memory",
                   "Each row of bars is one version. Timings are of this machine, with everything "
                   "else that ran on it.",
                   SpeedHtml(report));
  }
  if (name == "errors") {
    return Section("errors", "Where the error lies",
                   "How far the rounded weights are from the originals: the root mean square of "
                   "the change relative to that of the weights. The stronger the colour, the "
                   "further; the scale is logarithmic. Rounding guided by an importance matrix may "
                   "well show a larger error here and a smaller divergence above: it spends its "
                   "accuracy on the weights that matter.",
                   ErrorsHtml(report));
  }
  if (name == "samples") {
    return Section("samples", "The same prompts, continued",
                   "Each version always takes its likeliest token. The first word that differs "
                   "from the reference\u2019s text is marked; what follows it went its own way, "
                   "and different is not yet worse.",
                   SamplesHtml(report));
  }
  if (name == "json") return EscapeJsonForScript(DumpReport(report, -1));
  if (name == "csv") return EncodeBase64(CompareCsv(report));
  return std::string(Asset(name));
}

}  // namespace

std::string CompareHtml(const CompareReport& report) {
  std::string_view page = Asset("report.html");
  std::string html;
  for (;;) {
    const size_t begin = page.find("{{");
    const size_t end = page.find("}}", begin);
    if (begin == std::string_view::npos || end == std::string_view::npos) break;
    html += page.substr(0, begin);
    html += Part(report, page.substr(begin + 2, end - begin - 2));
    page.remove_prefix(end + 2);
  }
  html += page;
  return html;
}

}  // namespace halftone
