#include "base/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace halftone {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
// What is smaller comes from the heap: a mapping of its own would waste more than it gains.
constexpr uint64_t kMapped = 256 << 10;
constexpr uint64_t kLine = 64;

std::shared_ptr<uint8_t[]> FromHeap(uint64_t bytes) {
  const uint64_t size = std::max<uint64_t>(1, (bytes + kLine - 1) / kLine) * kLine;
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kLine, size));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, size);
  return {memory, [](uint8_t* p) { std::free(p); }};
}

}  // namespace

std::shared_ptr<uint8_t[]> AllocatePages(uint64_t bytes) {
  if (bytes < kMapped) return FromHeap(bytes);
  const bool huge = bytes >= kHugePage;
  const uint64_t length = bytes + (huge ? kHugePage : 0);
  if (length < bytes) throw std::bad_alloc();
  void* mapping =
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  auto* memory = static_cast<uint8_t*>(mapping);
  if (huge) {
    memory += (kHugePage - reinterpret_cast<uintptr_t>(mapping) % kHugePage) % kHugePage;
#if defined(MADV_HUGEPAGE)
    // Not the rest, of which a huge page would be mostly empty. If the system refuses, small pages
    // do.
    ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  }
  return {memory, [mapping, length](uint8_t*) { ::munmap(mapping, length); }};
}

}  // namespace halftone
