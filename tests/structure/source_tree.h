// The project's own files as text: what the tests of the tree's structure look at.

#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/testing/paths.h"

namespace halftone {

// Path relative to the project's folder, with '/', to the file's text.
using SourceTree = std::map<std::string, std::string>;

// All text files below these folders; a folder that does not exist holds none. Skipped: names that
// begin with a dot, testdata (made by other programs) and what holds a NUL byte.
inline SourceTree LoadTree(const std::filesystem::path& root,
                           const std::vector<std::string>& folders) {
  namespace fs = std::filesystem;
  SourceTree tree;
  for (const std::string& folder : folders) {
    if (!fs::exists(root / folder)) continue;
    for (auto it = fs::recursive_directory_iterator(root / folder); it != fs::end(it); ++it) {
      const std::string name = it->path().filename().string();
      if (it->is_directory() && (name.starts_with('.') || name == "testdata")) {
        it.disable_recursion_pending();
      }
      if (name.starts_with('.') || !it->is_regular_file()) continue;
      std::ifstream file(it->path(), std::ios::binary);
      std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
      if (text.find('\0') != std::string::npos) continue;
      tree[fs::relative(it->path(), root).generic_string()] = std::move(text);
    }
  }
  return tree;
}

// Everything that is code: the library, the front ends, the tests and the benchmarks.
inline const SourceTree& Code() {
  static const SourceTree tree =
      LoadTree(SourcePath(), {"include", "src", "cli", "server", "python", "bench", "tests"});
  return tree;
}

inline bool EndsWithAny(std::string_view text, std::initializer_list<std::string_view> endings) {
  for (const std::string_view ending : endings) {
    if (text.ends_with(ending)) return true;
  }
  return false;
}

// C++ and CUDA, and the templates of either.
inline bool IsCpp(const std::string& path) {
  return EndsWithAny(path, {".h", ".cc", ".cu", ".cuh", ".def", ".h.in", ".cc.in", ".cu.in"});
}

inline bool IsHeader(const std::string& path) {
  return EndsWithAny(path, {".h", ".cuh", ".def", ".h.in"});
}

inline bool IsTest(const std::string& path) {
  return EndsWithAny(path, {"_test.cc", "_fuzz.cc"}) || path.starts_with("tests/");
}

struct Include {
  std::string name;  // what stands between the quotes or brackets
  bool quoted;
};

inline std::vector<Include> Includes(const std::string& text) {
  static const std::regex line(R"((?:^|\n)[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]*)[>"])");
  std::vector<Include> includes;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), line); it != std::sregex_iterator();
       ++it) {
    includes.push_back({(*it)[2], (*it)[1] == "\""});
  }
  return includes;
}

// Without comments that begin with //, the only ones that this project has.
inline std::string WithoutComments(const std::string& text) {
  static const std::regex comment("//[^\n]*");
  return std::regex_replace(text, comment, "");
}

// "src/kernel/cpu/isa.h" gives "kernel"; "" outside src/.
inline std::string LayerOf(const std::string& path) {
  if (!path.starts_with("src/")) return "";
  const size_t end = path.find('/', 4);
  return end == std::string::npos ? "" : path.substr(4, end - 4);
}

// The entries of a table: "HT_GRID(q4_k, Q4_K)" gives q4_k.
inline std::vector<std::string> TableEntries(const std::string& text, const std::string& macro) {
  const std::regex entry("(?:^|\n)" + macro + R"(\(([a-z0-9_]+))");
  std::vector<std::string> names;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), entry);
       it != std::sregex_iterator(); ++it) {
    names.push_back((*it)[1]);
  }
  return names;
}

}  // namespace halftone
