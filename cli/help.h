// How the command line explains itself: help texts of 80 columns, and what to say about wrong
// usage.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace halftone::cli {

// Option names on the left with "FILE", "N [512]" or "NAME (required)" after them, descriptions on
// the right.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

// "  name" and the description beside it from column `indent` on, or below where the name is long;
// broken into lines.
std::string HelpEntry(const std::string& name, const std::string& description, size_t indent);

// The text broken into lines, the last one ended too.
std::string HelpParagraph(const std::string& text);

// "there is no <kind> '<name>'", followed by the name that it was probably meant to be or, where
// none is near, by all there are.
std::string NoSuch(const std::string& kind, const std::string& name,
                   const std::vector<std::string>& names);

// What was wrong with the arguments that did not parse, and which help explains them.
std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv);

}  // namespace halftone::cli
