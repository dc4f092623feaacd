// Large reference files that the tests use where they are present: the folder that the environment
// variable HALFTONE_SHARED names, or `shared` beside the project's folder. Users do not have it;
// the tests that need it then skip, saying so.

#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {

inline std::filesystem::path SharedPath(const std::string& relative) {
  const char* variable = std::getenv("HALFTONE_SHARED");
  const std::filesystem::path root = variable != nullptr ? variable : SourcePath("../shared");
  return root / relative;
}

// The fixture tiny-bf16 as one folder: its second shard lies in a folder of its own, behind a link
// that not every copy of the fixtures has kept. It is there until the tests end.
inline std::filesystem::path TinyBf16Folder() {
  namespace fs = std::filesystem;
  static const TempFolder folder;
  if (folder.Files() > 0) return folder.path();
  const fs::path source = fs::canonical(SharedPath("fixtures/tiny-bf16"));
  for (const auto& entry : fs::directory_iterator(source)) {
    const fs::path name = entry.path().filename();
    const fs::path shard = source.parent_path() / "tiny-bf16-shard2" / name;
    fs::create_symlink(fs::exists(shard) ? shard : entry.path(), folder.path() / name);
  }
  return folder.path();
}

}  // namespace halftone

// Skips the running test, with the reason, unless the shared file or folder is there.
#define HALFTONE_NEED_SHARED(relative)                                           \
  do {                                                                           \
    if (!std::filesystem::exists(::halftone::SharedPath(relative))) {            \
      GTEST_SKIP() << "needs " << (relative) << " of the shared reference data"; \
    }                                                                            \
  } while (false)
