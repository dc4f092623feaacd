#include "base/json.h"

#include "base/error.h"
#include "base/foreign_file.h"

namespace halftone {

Json ParseJson(std::string_view text, const std::string& source) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& e) {
    if (const auto foreign = ForeignFile(text); !text.empty() && !foreign.empty()) {
      FailFormat("{}: {}", source, foreign);
    }
    FailFormat("{}: not valid JSON at byte {}", source, e.byte);
  } catch (const Json::out_of_range&) {
    // The one complaint about text that is not a parse_error.
    FailFormat("{}: not valid JSON: a number is too large", source);
  }
}

}  // namespace halftone
