#include "evaluation/memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

namespace halftone {

void ResetPeakMemory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);  // what an earlier model freed is not this one's memory
#endif
  std::ofstream("/proc/self/clear_refs") << "5";
}

uint64_t PeakMemory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    uint64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace halftone
