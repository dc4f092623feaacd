// What a fuzz target is: a function that hands any bytes at all to a reader of files.
//
// A reader may refuse them with halftone::Error. Whatever else comes out of it (another exception,
// a fault, an unbounded request for memory or time) is a finding. Targets are in targets.def; each
// is linked with libFuzzer to a program of its own (HALFTONE_FUZZ), and all of them run over their
// seeds in the ordinary tests (replay_test.cc).

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "halftone/error.h"

namespace halftone {

#define HT_FUZZ(name) void Fuzz_##name(std::string_view bytes);
#include "tests/fuzz/targets.def"
#undef HT_FUZZ

// Runs a reader that may refuse its input.
template <class Read>
void MayRefuse(const Read& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

// Where targets whose reader wants a folder make theirs, once, to fill it anew for each input: in
// memory where the system has such a folder.
inline std::filesystem::path FolderInMemory() {
  std::error_code error;
  const std::filesystem::path memory = "/dev/shm";
  return std::filesystem::is_directory(memory, error) ? memory
                                                      : std::filesystem::temp_directory_path();
}

}  // namespace halftone
