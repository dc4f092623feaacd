#include "hub/hub_id.h"

#include <algorithm>
#include <cctype>
#include <cstdint>

namespace halftone {
namespace {

constexpr size_t kMaxNameBytes = 96;  // the hub's own limit
constexpr size_t kMaxFileBytes = 1024;

bool IsRepoPart(std::string_view part) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  };
  return !part.empty() && part.size() <= kMaxNameBytes && std::ranges::all_of(part, allowed) &&
         part.find("--") == part.npos && part.find("..") == part.npos && part.front() != '-' &&
         part.front() != '.' && part.back() != '-' && part.back() != '.';
}

}  // namespace

bool IsSafeName(std::string_view name) {
  if (name.empty() || name.size() > kMaxFileBytes) return false;
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7F || c == '\\') return false;
  }
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

bool IsCommit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::optional<HubId> ParseHubId(std::string_view text) {
  HubId id;
  // A revision may hold what a file may not, and the other way round.
  if (const size_t at = text.find('@'); at != text.npos) {
    id.revision = text.substr(at + 1);
    text = text.substr(0, at);
    if (!IsSafeName(id.revision)) return std::nullopt;
  }
  if (const size_t colon = text.find(':'); colon != text.npos) {
    id.file = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (!IsSafeName(id.file)) return std::nullopt;
  }
  const size_t slash = text.find('/');
  if (slash == text.npos || !IsRepoPart(text.substr(0, slash)) ||
      !IsRepoPart(text.substr(slash + 1))) {
    return std::nullopt;
  }
  id.repo = text;
  return id;
}

}  // namespace halftone
