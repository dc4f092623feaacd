#include "pipeline/machine.h"

#include <dlfcn.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

namespace halftone {
namespace {

namespace fs = std::filesystem;

std::optional<uint64_t> ParseNumber(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

// A file that holds one number; none for "max" and for a file that is not there.
std::optional<uint64_t> NumberIn(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return ParseNumber(line);
}

// The number behind `key` in a file of "key number" lines.
std::optional<uint64_t> NumberAfter(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return ParseNumber(line.substr(key.size()));
  }
  return std::nullopt;
}

// Where one generation of control groups keeps its numbers.
struct GroupFiles {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* cache;  // key in memory.stat
};

constexpr GroupFiles kUnified = {"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "};
constexpr GroupFiles kLegacy = {"sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                "memory.usage_in_bytes", "total_inactive_file "};

void BoundByGroup(const fs::path& folder, const GroupFiles& files, MachineMemory& memory) {
  const auto limit = NumberIn(folder / files.limit);
  if (!limit) return;
  memory.installed = std::min(memory.installed, *limit);
  const uint64_t usage = NumberIn(folder / files.usage).value_or(0);
  const uint64_t cache = NumberAfter(folder / "memory.stat", files.cache).value_or(0);
  const uint64_t held = usage - std::min(usage, cache);
  memory.available = std::min(memory.available, *limit - std::min(*limit, held));
}

// The group and all its ancestors up to the mount. Inside a container the group's own path may not
// be mounted; the mount itself then is the container's group.
void BoundByGroups(const fs::path& root, std::string group, const GroupFiles& files,
                   MachineMemory& memory) {
  while (true) {
    BoundByGroup(root / files.mount / fs::path(group).relative_path(), files, memory);
    const size_t slash = group.find_last_of('/');
    if (group.empty() || slash == std::string::npos) return;
    group.resize(slash);
  }
}

// Whether a comma-separated list of controllers has "memory".
bool HasMemory(std::string controllers) {
  controllers = "," + controllers + ",";
  return controllers.find(",memory,") != std::string::npos;
}

// The part of NVML that is used here; names, layout and numbers are its documented ABI.
struct NvmlMemory {
  unsigned long long total, free, used;
};
using NvmlDevice = struct NvmlDeviceOpaque*;
constexpr int kNvmlSuccess = 0;

template <class Function>
Function* Symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

MachineMemory ReadMachineMemory(const fs::path& root) {
  const fs::path meminfo = root / "proc/meminfo";
  const uint64_t total = NumberAfter(meminfo, "MemTotal:").value_or(0);
  // Kernels before 3.14 do not estimate what is available.
  const uint64_t available = NumberAfter(meminfo, "MemAvailable:")
                                 .value_or(NumberAfter(meminfo, "MemFree:").value_or(total));
  MachineMemory memory = {total * 1024, available * 1024};

  // Lines are "id:controllers:group"; the unified hierarchy has id 0 and no controllers.
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) {
      BoundByGroups(root, group, kUnified, memory);
    } else if (HasMemory(controllers)) {
      BoundByGroups(root, group, kLegacy, memory);
    }
  }
  return memory;
}

MachineMemory ReadGpuMemory() {
  const std::unique_ptr<void, int (*)(void*)> library(
      dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL),
      [](void* p) { return p ? dlclose(p) : 0; });
  if (!library) return {};
  const auto init = Symbol<int()>(library.get(), "nvmlInit_v2");
  const auto shutdown = Symbol<int()>(library.get(), "nvmlShutdown");
  const auto count = Symbol<int(unsigned*)>(library.get(), "nvmlDeviceGetCount_v2");
  const auto handle =
      Symbol<int(unsigned, NvmlDevice*)>(library.get(), "nvmlDeviceGetHandleByIndex_v2");
  const auto info = Symbol<int(NvmlDevice, NvmlMemory*)>(library.get(), "nvmlDeviceGetMemoryInfo");
  if (!init || !shutdown || !count || !handle || !info || init() != kNvmlSuccess) return {};
  MachineMemory best;
  unsigned devices = 0;
  if (count(&devices) != kNvmlSuccess) devices = 0;
  for (unsigned i = 0; i < devices; ++i) {
    NvmlDevice device = nullptr;
    NvmlMemory memory = {};
    if (handle(i, &device) != kNvmlSuccess || info(device, &memory) != kNvmlSuccess) continue;
    if (memory.free >= best.available) best = {memory.total, memory.free};
  }
  shutdown();
  return best;
}

}  // namespace halftone
