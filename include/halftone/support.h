// What this build can do: the tables of grids, presets, methods, containers and architectures, for
// help texts and language bindings.

#pragma once

#include <string>
#include <vector>

namespace halftone {

struct GridInfo {
  std::string name;
  double bits_per_weight;
  int block;              // weights that share a block; a row must be a multiple of it
  bool writable;          // quantize can produce it
  bool plain;             // numbers as they are, without rounding to few levels
  bool needs_importance;  // refuses to quantize without an imatrix or calibration text
};

struct NamedSummary {
  std::string name;
  std::string summary;
};

std::vector<GridInfo> Grids();
std::vector<std::string> KvGrids();   // that keys and values can be rounded to, most bits first
std::vector<NamedSummary> Presets();  // mixes of grids such as q4_k_m
std::vector<NamedSummary> Methods();
std::vector<NamedSummary> Containers();
std::vector<std::string> Architectures();

// "0.1.0".
std::string Version();

}  // namespace halftone
