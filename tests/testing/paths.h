// Where this clone lies, and what is built of it. paths.cc alone is compiled with these names, so
// that a compiler cache takes the tests of clones in other folders for the same.

#pragma once

#include <string>
#include <string_view>

namespace halftone {

// The clone's folder, or a file or folder of it by its path within.
std::string SourcePath();
std::string SourcePath(std::string_view below);

// One of the build folder.
std::string BuiltPath(std::string_view below);

// The program `halftone`, and bench/random_model.
std::string ProgramPath();
std::string RandomModelPath();

}  // namespace halftone
