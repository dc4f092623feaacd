// Options that several commands have, so that they read alike everywhere.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/console.h"
#include "halftone/quantize.h"
#include "halftone/support.h"

namespace halftone::cli {

inline void AddModel(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model, "A .gguf file, or a Hugging Face folder")->required();
}

inline void AddThreads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "Threads; 0: one for each processor")
      ->check(CLI::Range(0, 1024))
      ->option_text("N");
}

inline void AddContext(CLI::App& app, int64_t& context, const char* meaning) {
  app.add_option("--context", context, meaning)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->option_text("N")
      ->capture_default_str();
}

inline void AddChunks(CLI::App& app, int64_t& chunks) {
  app.add_option("--chunks", chunks, "Chunks to read at most; 0: the whole text")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->option_text("N")
      ->capture_default_str();
}

// "q4_0, q4_1, ..." in lines that follow a heading, for help texts.
std::string NameList(const std::string& heading, const std::vector<std::string>& names);
std::string NameList(const std::string& heading, const std::vector<NamedSummary>& entries);

// Grids that quantize can write.
std::vector<std::string> WritableGrids();

// What quantize and convert did: a summary by grid, or with `all` every tensor.
void PrintQuantizeReport(Console& console, const QuantizeReport& report, bool all);
Json QuantizeJson(const QuantizeReport& report);

}  // namespace halftone::cli
