// Numbers as people read them, and aligned tables.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halftone::cli {

// "527 MB", "3.50 GB": three digits, powers of 1000, as disks and memory bandwidths are stated.
std::string HumanBytes(uint64_t bytes);

// "134.5M", "7.24B".
std::string HumanCount(double count);

// "0.8 s", "12.3 s", "2:05", "1:02:05".
std::string HumanSeconds(double seconds);

// Bytes from "16GiB", "16 GB", "1.5G" (G is GiB) or "17179869184". Throws Error (kUsage) naming the
// text if it is none of these.
uint64_t ParseBytes(const std::string& text);

// "[576, 49152]".
std::string ShapeText(const std::vector<int64_t>& shape);

enum class Align { kLeft, kRight };

// What becomes of a column where the table is too wide.
enum class Narrow {
  kStays,     // as it is
  kVanishes,  // the first to give way, from the right
  kShrinks,   // then these shrink, the widest first
  kLast,      // and at last these
};

struct Column {
  std::string title;
  Align align = Align::kRight;
  Narrow narrow = Narrow::kStays;
};

// A table whose columns are as wide as their widest cell, unless it would exceed the width that it
// is rendered for.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell for each column. An emphasized row is printed bold where there is colour.
  void Add(std::vector<std::string> cells, bool emphasized = false);

  bool empty() const { return rows_.empty(); }

  // The lines of the table, each ended by a newline. columns = 0: as wide as it needs.
  std::string Render(int columns, bool colour) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool emphasized;
  };

  // Of each column; 0 for one that vanished.
  std::vector<int> Widths(int columns) const;
  void Shrink(Narrow which, int& excess, std::vector<int>& widths) const;
  std::string Line(const std::vector<std::string>& cells, const std::vector<int>& widths) const;

  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace halftone::cli
