#include "pipeline/overlap.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace halftone {
namespace {

constexpr size_t kWords = 8;
constexpr size_t kKept = 512;
constexpr double kNotable = 0.02;
constexpr const char* kNameKey = "halftone.calibration.name";
constexpr const char* kSketchKey = "halftone.calibration.sketch";

// FNV-1a of the words, each ended, then mixed so that the least hashes are a fair sample.
uint64_t HashOf(const std::vector<std::string_view>& words, size_t first) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (size_t w = first; w < first + kWords; ++w) {
    for (const char c : words[w]) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
    hash = (hash ^ 0x20) * 0x100000001B3u;
  }
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53u;
  return (hash ^ (hash >> 33)) >> 1;  // a signed number in whatever reads the file
}

// Ascending and distinct.
std::vector<uint64_t> HashesOf(std::string_view text) {
  std::vector<std::string_view> words;
  constexpr std::string_view kBlank = " \t\r\n\f\v";
  for (size_t at = text.find_first_not_of(kBlank); at != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kBlank, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kBlank, end);
  }
  std::vector<uint64_t> hashes;
  for (size_t w = 0; w + kWords <= words.size(); ++w) hashes.push_back(HashOf(words, w));
  std::ranges::sort(hashes);
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  return hashes;
}

}  // namespace

TextSketch SketchOf(std::string_view text) {
  TextSketch sketch{HashesOf(text), true};
  if (sketch.least.size() > kKept) {
    sketch.least.resize(kKept);
    sketch.whole = false;
  }
  return sketch;
}

double ShareIn(const TextSketch& sketch, std::string_view text) {
  int64_t found = 0, seen = 0;
  for (const uint64_t hash : HashesOf(text)) {
    // Above its last one a sketch that is not whole knows nothing.
    if (!sketch.whole && (sketch.least.empty() || hash > sketch.least.back())) break;
    ++seen;
    found += std::ranges::binary_search(sketch.least, hash);
  }
  return seen > 0 ? static_cast<double>(found) / static_cast<double>(seen) : 0;
}

void NoteOverlap(const TextSketch& calibration, std::string_view text, Progress* progress) {
  const double share = ShareIn(calibration, text);
  if (progress == nullptr || share <= kNotable) return;
  progress->Note(
      fmt::format("{:.0f} % of the evaluation text is in the text that the model was "
                  "calibrated on: the figures flatter it",
                  100 * share));
}

CalibrationRecord RecordOf(std::string_view file, std::string_view text) {
  return {std::filesystem::path(file).filename().string(), SketchOf(text)};
}

void WriteRecord(const CalibrationRecord& record, Metadata& metadata) {
  metadata.Set(kNameKey, Value(record.name));
  metadata.Set(kSketchKey, Array{record.sketch.least});
}

std::optional<CalibrationRecord> ReadRecord(const Metadata& metadata) {
  const std::string* name = metadata.String(kNameKey);
  const auto hashes = metadata.Ints(kSketchKey);
  if (name == nullptr || !hashes) return std::nullopt;
  CalibrationRecord record{*name, {{hashes->begin(), hashes->end()}, false}};
  std::vector<uint64_t>& least = record.sketch.least;
  std::ranges::sort(least);
  least.erase(std::unique(least.begin(), least.end()), least.end());
  if (least.size() > kKept) least.resize(kKept);
  record.sketch.whole = least.size() < kKept;
  return record;
}

}  // namespace halftone
