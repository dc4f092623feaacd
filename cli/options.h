// Options that several commands have, so that they read alike everywhere.

#pragma once

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/help.h"
#include "halftone/activations.h"
#include "halftone/hub.h"
#include "halftone/precision.h"
#include "halftone/quantize.h"
#include "halftone/support.h"

namespace halftone::cli {

inline void AddModel(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model,
                 "A .gguf file, a Hugging Face folder, or ORG/NAME[:FILE] of the hub")
      ->required();
}

// What to open for the model that was named: its path, or where it lies after it was fetched.
inline std::string FindModel(Console& console, const std::string& model) {
  return LocalModel(model, console.progress());
}

// A file that a command writes. It comes into being under another name and is then renamed, which
// would put a file in the place of a device.
inline CLI::Option* AddOutput(CLI::App& app, const std::string& name, std::string& path,
                              const char* meaning) {
  return app.add_option(name, path, meaning)
      ->option_text("FILE")
      ->check([](const std::string& text) {
        std::error_code error;
        const auto status = std::filesystem::status(text, error);
        const bool odd = std::filesystem::is_other(status);
        return odd ? text + " is no regular file" : std::string();
      });
}

// CLI::Range lets through what is not a number.
inline CLI::Validator Between(double low, double high) {
  return {[low, high](const std::string& text) {
            char* end = nullptr;
            const double value = std::strtod(text.c_str(), &end);
            if (end != text.c_str() && *end == '\0' && value >= low && value <= high) {
              return std::string();
            }
            return fmt::format("{} is no number from {} to {}", text, low, high);
          },
          ""};
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

// What keys and values are rounded to.
void AddKvGrid(CLI::App& app, std::string& grid);

// Rounding while loading, in transformers' words.
void AddPrecision(CLI::App& app, Precision& precision);

inline CLI::Option* AddAdapter(CLI::App& app, std::string& adapter, const char* meaning) {
  return app.add_option("--adapter", adapter, meaning)->option_text("PATH");
}

void AddActivations(CLI::App& app, Activations& activations);

// Where to cut what is written; `text` is read with ParseBytes.
inline void AddSplit(CLI::App& app, std::string& text) {
  app.add_option("--split-max-size", text,
                 "Bytes of weights in one file at most, \"2GB\"; without it a GGUF file is one, a "
                 "folder's files end at 5 GB")
      ->option_text("SIZE");
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
