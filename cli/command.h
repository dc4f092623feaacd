// What a command of the program is.

#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/console.h"

namespace halftone::cli {

class Command {
 public:
  virtual ~Command() = default;

  // Adds the options to the command's parser. --help and --json are there already.
  virtual void Declare(CLI::App& app) = 0;

  // Printed below the options: at least one command line that works as it stands, and the JSON
  // keys.
  virtual std::string Footer() const = 0;

  // Does the work; data go to console.Print or console.Json. Throws Error.
  virtual void Run(Console& console) = 0;
};

#define HT_COMMAND(name, Type, summary) std::unique_ptr<Command> Make##Type();
#include "cli/commands.def"
#undef HT_COMMAND

}  // namespace halftone::cli
