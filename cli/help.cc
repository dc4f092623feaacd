#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <sstream>

namespace halftone::cli {
namespace {

constexpr size_t kColumns = 80;
// Where descriptions begin.
constexpr size_t kOptionIndent = 30;
constexpr size_t kCommandIndent = 12;

// Lines of words, of which the first stands after `line` and the others below it.
std::string Fill(std::string line, const std::string& text) {
  const size_t indent = line.size();
  std::string out;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (line.size() > indent && line.size() + 1 + word.size() > kColumns) {
      out += line + "\n";
      line.assign(indent, ' ');
    }
    if (line.size() > indent) line += ' ';
    line += word;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return out + line + "\n";
}

// Letters to change, add or leave out until `a` is `b`.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// The first argument that looks like an option and is none of the command's, or "".
std::string UnknownOption(const CLI::App& command, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--") break;
    if (argument.size() < 2 || argument[0] != '-' ||
        std::isdigit(static_cast<unsigned char>(argument[1]))) {
      continue;
    }
    argument = argument[1] == '-' ? argument.substr(0, argument.find('=')) : argument.substr(0, 2);
    if (command.get_option_no_throw(argument) == nullptr) return argument;
  }
  return "";
}

}  // namespace

std::string HelpEntry(const std::string& name, const std::string& description, size_t indent) {
  std::string out, line = "  " + name;
  if (!name.empty() && line.size() + 2 > indent) {
    out = line + "\n";
    line.clear();
  }
  line.resize(indent, ' ');
  return out + Fill(line, description);
}

std::string HelpParagraph(const std::string& text) { return Fill("", text); }

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return HelpEntry(make_option_name(option, is_positional) + make_option_opts(option),
                   make_option_desc(option), kOptionIndent);
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_expected_max() == 0) return "";
  const std::string& value = option->get_option_text();
  std::string text = option->get_positional() ? "" : " " + (value.empty() ? "TEXT" : value);
  if (!option->get_default_str().empty()) text += " [" + option->get_default_str() + "]";
  if (option->get_required()) text += " (required)";
  return text;
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return HelpEntry(command->get_display_name(), command->get_description(), kCommandIndent);
}

std::string NoSuch(const std::string& kind, const std::string& name,
                   const std::vector<std::string>& names) {
  const std::string none = fmt::format("there is no {} '{}'; ", kind, name);
  const auto nearest = std::ranges::min_element(
      names, {}, [&](const std::string& candidate) { return Distance(name, candidate); });
  if (nearest != names.end() && Distance(name, *nearest) <= std::max<size_t>(1, name.size() / 3)) {
    return none + fmt::format("did you mean '{}'?", *nearest);
  }
  return none + fmt::format("there are: {}", fmt::join(names, ", "));
}

std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const auto parsed = app.get_subcommands();
  const CLI::App& command = parsed.empty() ? app : *parsed[0];
  const std::string help =
      parsed.empty() ? "halftone --help" : "halftone " + command.get_name() + " --help";
  // CLI11 finds first that what was misspelt is missing.
  const std::string unknown = UnknownOption(command, argc, argv);
  std::string what = error.what();
  if (!unknown.empty()) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    what = NoSuch("option", unknown, names);
  }
  return fmt::format("{} ({} explains)", what, help);
}

}  // namespace halftone::cli
