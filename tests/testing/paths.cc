#include "tests/testing/paths.h"

namespace halftone {

std::string SourcePath() { return HALFTONE_SOURCE_DIR; }

std::string SourcePath(std::string_view below) {
  return std::string(HALFTONE_SOURCE_DIR "/").append(below);
}

std::string BuiltPath(std::string_view below) {
  return std::string(HALFTONE_BINARY_DIR "/").append(below);
}

std::string ProgramPath() { return HALFTONE_CLI; }

std::string RandomModelPath() { return HALFTONE_RANDOM_MODEL; }

}  // namespace halftone
