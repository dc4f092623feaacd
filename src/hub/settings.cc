#include "hub/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTokenBytes = 4096;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool IsTrue(std::string value) {
  std::ranges::transform(value, value.begin(), [](unsigned char c) { return std::tolower(c); });
  return value == "1" || value == "true" || value == "yes" || value == "on";
}

fs::path HubHome() {
  if (const std::string home = Variable("HF_HOME"); !home.empty()) return home;
  if (const std::string cache = Variable("XDG_CACHE_HOME"); !cache.empty()) {
    return fs::path(cache) / "huggingface";
  }
  const std::string home = Variable("HOME");
  return fs::path(home.empty() ? "." : home) / ".cache" / "huggingface";
}

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The token goes into a header: whatever could end that line must not be in it.
std::string CheckedToken(std::string token, const std::string& source) {
  token = Trimmed(token);
  if (!std::ranges::all_of(token, [](unsigned char c) { return c > 0x20 && c < 0x7F; })) {
    FailUsage("{}: holds no token", source);
  }
  return token;
}

std::string FindToken(const fs::path& home) {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const std::string token = Variable(name); !token.empty()) return CheckedToken(token, name);
  }
  if (IsTrue(Variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return {};
  const std::string named = Variable("HF_TOKEN_PATH");
  const fs::path path = named.empty() ? home / "token" : fs::path(named);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  return CheckedToken(ReadTextFile(path, kMaxTokenBytes), path.string());
}

}  // namespace

HubSettings HubSettingsFromEnvironment() {
  HubSettings settings;
  if (std::string endpoint = Variable("HF_ENDPOINT"); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    if ((!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) ||
        std::ranges::any_of(endpoint, [](unsigned char c) { return c <= 0x20; })) {
      FailUsage("HF_ENDPOINT: '{}' is no address that begins with https://", Printable(endpoint));
    }
    settings.endpoint = endpoint;
  }
  const fs::path home = HubHome();
  settings.cache = home / "hub";
  for (const char* name : {"HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"}) {
    if (const std::string cache = Variable(name); !cache.empty()) settings.cache = cache;
  }
  settings.token = FindToken(home);
  settings.offline = IsTrue(Variable("HF_HUB_OFFLINE"));
  return settings;
}

}  // namespace halftone
