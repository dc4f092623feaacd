// Large reference files that the tests use where they are present: the folder that the environment
// variable HALFTONE_SHARED names, or `shared` beside the project's folder. Users do not have it; the
// tests that need it then skip, saying so.

#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace halftone {

inline std::filesystem::path SharedPath(const std::string& relative) {
  const char* variable = std::getenv("HALFTONE_SHARED");
  const std::filesystem::path root =
      variable != nullptr ? std::filesystem::path(variable)
                          : std::filesystem::path(HALFTONE_SOURCE_DIR) / ".." / "shared";
  return root / relative;
}

}  // namespace halftone

// Skips the running test, with the reason, unless the shared file or folder is there.
#define HALFTONE_NEED_SHARED(relative)                                           \
  do {                                                                           \
    if (!std::filesystem::exists(::halftone::SharedPath(relative))) {            \
      GTEST_SKIP() << "needs " << (relative) << " of the shared reference data"; \
    }                                                                            \
  } while (false)
