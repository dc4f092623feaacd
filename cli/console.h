// The program's two streams: data on stdout, everything else on stderr.

#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "cli/format.h"
#include "cli/progress.h"

namespace halftone::cli {

// Keys stay in the order in which they were added.
using Json = nlohmann::ordered_json;

class Console {
 public:
  Console();

  // --json was given: print one JSON value instead of text.
  bool json = false;

  // Where the library reports to.
  Progress* progress() { return &progress_; }
  // Takes an unfinished bar away, before an error message.
  void Abandon() { progress_.Abandon(); }

  // Data, on stdout.
  void Print(std::string_view text);
  void Print(const Table& table);
  void PrintJson(const Json& value);
  // Bold where stdout shows colour.
  std::string Bold(std::string_view text) const;

  // A line for a person, on stderr.
  void Say(std::string_view line);
  // Dimmed where stderr shows colour.
  std::string Dim(std::string_view text) const;

  // Pushes everything out. Throws Error (kIo) if stdout could not be written, as on a full disk.
  void Flush();

 private:
  const bool out_terminal_;
  const bool out_colour_;
  const bool error_colour_;
  ConsoleProgress progress_;
};

}  // namespace halftone::cli
