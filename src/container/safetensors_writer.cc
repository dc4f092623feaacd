#include "container/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "base/half.h"
#include "base/json.h"
#include "base/printable.h"

namespace halftone {
namespace {

constexpr uint64_t kAlignment = 8;

// JSON is UTF-8; other bytes would make a file that nobody can read.
bool IsUtf8(const std::string& text) {
  try {
    return !Json(text).dump().empty();
  } catch (const Json::exception&) {
    return false;
  }
}

// Throws for an entry that the format cannot hold.
void Check(const SafetensorsEntry& entry) {
  const std::string name = Printable(entry.name);
  if (!IsUtf8(entry.name) || entry.name == "__metadata__") {
    FailUsage("tensor '{}': safetensors has no such names", name);
  }
  uint64_t bits = static_cast<uint64_t>(entry.dtype->bits);
  for (const int64_t extent : entry.shape) {
    const auto next = CheckedMul(bits, static_cast<uint64_t>(extent));
    if (extent < 0 || !next) FailUsage("tensor '{}': the shape is too large", name);
    bits = *next;
  }
  if (bits % 8 != 0) FailUsage("tensor '{}': its elements are no whole bytes", name);
}

// The entries in the order in which they will lie.
std::vector<size_t> FileOrder(std::span<const SafetensorsEntry> entries) {
  std::vector<size_t> order(entries.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) {
    return std::tuple<int, std::string_view>(-entries[i].dtype->bits, entries[i].name);
  });
  return order;
}

}  // namespace

uint64_t SafetensorsEntry::bytes() const {
  uint64_t bits = static_cast<uint64_t>(dtype->bits);
  for (const int64_t extent : shape) bits *= static_cast<uint64_t>(extent);
  return bits / 8;
}

SafetensorsLayout LayOutSafetensors(std::span<const SafetensorsEntry> entries,
                                    const std::map<std::string, std::string>& metadata) {
  SafetensorsLayout layout;
  layout.offsets.resize(entries.size());
  std::string text = "{";
  const auto put = [&](const std::string& key, const OrderedJson& value) {
    text += (text.size() > 1 ? "," : "") + OrderedJson(key).dump() + ":" + value.dump();
  };
  if (!metadata.empty()) put("__metadata__", metadata);
  std::unordered_set<std::string_view> names;
  uint64_t at = 0;
  for (const size_t i : FileOrder(entries)) {
    const SafetensorsEntry& entry = entries[i];
    Check(entry);
    if (!names.insert(entry.name).second) {
      FailUsage("tensor '{}' is planned twice", Printable(entry.name));
    }
    layout.offsets[i] = at;
    const auto end = CheckedAdd(at, entry.bytes());
    if (!end) FailUsage("tensor '{}': the file is too large", Printable(entry.name));
    put(entry.name,
        {{"dtype", entry.dtype->name}, {"shape", entry.shape}, {"data_offsets", {at, *end}}});
    at = *end;
  }
  text += "}";
  text.resize(*CheckedRoundUp(text.size(), kAlignment), ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    FailUsage("the header of {} tensors takes {} bytes, safetensors allows {}", entries.size(),
              text.size(), kMaxSafetensorsHeader);
  }
  layout.head.resize(sizeof(uint64_t));
  StoreLe(layout.head.data(), uint64_t{text.size()});
  layout.head += text;
  for (uint64_t& offset : layout.offsets) offset += layout.head.size();
  layout.file_bytes = layout.head.size() + at;
  return layout;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::string shown,
                                     std::vector<SafetensorsEntry> entries,
                                     const std::map<std::string, std::string>& metadata)
    : shown_(std::move(shown)),
      entries_(std::move(entries)),
      layout_(LayOutSafetensors(entries_, metadata)),
      written_(entries_.size()) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) FailIo("{}: cannot create: {}", shown_, std::strerror(errno));
  WriteAt(0, std::span(reinterpret_cast<const uint8_t*>(layout_.head.data()), layout_.head.size()));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void SafetensorsWriter::WriteAt(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) FailIo("{}: cannot write: {}", shown_, std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

void SafetensorsWriter::Write(size_t entry, std::span<const uint8_t> bytes) {
  const uint64_t size = entries_.at(entry).bytes();
  uint64_t& written = written_[entry];
  if (bytes.size() > size - written) {
    FailUsage("{}: tensor '{}': {} bytes are more than the {} that are left of {}", shown_,
              Printable(entries_[entry].name), bytes.size(), size - written, size);
  }
  WriteAt(layout_.offsets[entry] + written, bytes);
  written += bytes.size();
}

void SafetensorsWriter::Finish() {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (written_[i] != entries_[i].bytes()) {
      FailUsage("{}: tensor '{}': only {} of its {} bytes were written", shown_,
                Printable(entries_[i].name), written_[i], entries_[i].bytes());
    }
  }
  const bool flushed = ::fsync(fd_) == 0;
  const int error = errno;
  if (::close(std::exchange(fd_, -1)) != 0 || !flushed) {
    FailIo("{}: cannot write: {}", shown_, std::strerror(flushed ? errno : error));
  }
}

}  // namespace halftone
