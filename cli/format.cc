#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <utility>

#include "cli/terminal.h"
#include "halftone/error.h"

namespace halftone::cli {
namespace {

constexpr int kGap = 2;        // spaces between columns
constexpr int kNarrowest = 8;  // a column that gives way keeps this much

// Three significant digits.
std::string ThreeDigits(double value) {
  return fmt::format("{:.{}f}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 999.5 would round up to 1000.
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{} {}", ThreeDigits(value), kUnits[unit]);
}

std::string HumanCount(double count) {
  static constexpr const char* kUnits[] = {"", "k", "M", "B", "T"};
  if (count < 1000) return fmt::format("{:.{}f}", count, count < 10 && count > 0 ? 1 : 0);
  size_t unit = 0;
  while (count >= 999.5 && unit + 1 < std::size(kUnits)) {
    count /= 1000;
    ++unit;
  }
  return ThreeDigits(count) + kUnits[unit];
}

std::string HumanSeconds(double seconds) {
  if (!(seconds >= 0)) seconds = 0;
  if (seconds < 99.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::min(std::round(seconds), 1e9));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

uint64_t ParseBytes(const std::string& text) {
  const auto bad = [&] {
    return Error(Error::Kind::kUsage,
                 fmt::format("'{}' is no amount of memory; write for example 16GiB or 8GB",
                             Printable(text)));
  };
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !std::isfinite(value) || value < 0) throw bad();
  while (*end == ' ') ++end;
  std::string suffix;
  for (; *end != '\0'; ++end) suffix += static_cast<char>(std::tolower(*end));
  double factor = 1;
  if (!suffix.empty() && suffix != "b") {
    const size_t power = std::string_view("kmgt").find(suffix[0]);
    const std::string rest = suffix.substr(1);
    if (power == std::string_view::npos || (rest != "" && rest != "b" && rest != "ib")) throw bad();
    factor = std::pow(rest == "b" ? 1000.0 : 1024.0, static_cast<double>(power + 1));
  }
  if (value * factor < 1 || value * factor >= 0x1p63) throw bad();
  return static_cast<uint64_t>(value * factor);
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void Table::Add(std::vector<std::string> cells, bool emphasized) {
  cells.resize(columns_.size());
  rows_.push_back({std::move(cells), emphasized});
}

std::vector<int> Table::Widths(int columns) const {
  std::vector<int> widths;
  int excess = -kGap - columns;
  for (size_t c = 0; c < columns_.size(); ++c) {
    int width = DisplayWidth(columns_[c].title);
    for (const Row& row : rows_) width = std::max(width, DisplayWidth(row.cells[c]));
    widths.push_back(width);
    excess += width + kGap;
  }
  if (columns == 0) return widths;
  for (size_t c = columns_.size(); c-- > 0 && excess > 0;) {
    if (columns_[c].narrow != Narrow::kVanishes) continue;
    excess -= std::exchange(widths[c], 0) + kGap;
  }
  Shrink(Narrow::kShrinks, excess, widths);
  Shrink(Narrow::kLast, excess, widths);
  return widths;
}

// Takes away from the widest until it is like the next, and so on.
void Table::Shrink(Narrow which, int& excess, std::vector<int>& widths) const {
  for (; excess > 0; --excess) {
    int widest = -1;
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].narrow == which && widths[c] > kNarrowest &&
          (widest < 0 || widths[c] > widths[widest])) {
        widest = static_cast<int>(c);
      }
    }
    if (widest < 0) return;
    --widths[widest];
  }
}

std::string Table::Line(const std::vector<std::string>& cells,
                        const std::vector<int>& widths) const {
  std::string line;
  for (size_t c = 0; c < cells.size(); ++c) {
    if (widths[c] == 0) continue;
    const std::string cell = Shorten(cells[c], widths[c]);
    const std::string padding(static_cast<size_t>(widths[c] - DisplayWidth(cell)), ' ');
    if (!line.empty()) line.append(kGap, ' ');
    line += columns_[c].align == Align::kRight ? padding + cell : cell + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string Table::Render(int columns, bool colour) const {
  const std::vector<int> widths = Widths(columns);
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  const auto styled = [&](const std::string& line, const char* style) {
    return colour ? fmt::format("\033[{}m{}\033[0m\n", style, line) : line + "\n";
  };
  std::string out = styled(Line(titles, widths), "2");
  for (const Row& row : rows_) {
    const std::string line = Line(row.cells, widths);
    out += row.emphasized ? styled(line, "1;32") : line + "\n";
  }
  return out;
}

}  // namespace halftone::cli
