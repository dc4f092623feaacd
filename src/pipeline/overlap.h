// How much of one text is found in another: a model that was calibrated on what it is judged by
// looks better than it is.
//
// A text is the set of hashes of its sequences of eight words. A sketch keeps the least of them
// (Broder 1997), which is enough to estimate the share of another text's sequences that are in it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halftone/progress.h"
#include "tensor/metadata.h"

namespace halftone {

struct TextSketch {
  std::vector<uint64_t> least;  // ascending, distinct
  bool whole = false;           // these are all that the text has
};

TextSketch SketchOf(std::string_view text);

// The share of `text`'s sequences that are in the sketched text, 0 to 1.
double ShareIn(const TextSketch& sketch, std::string_view text);

// Tells a person if more than 2 % of the text is in what the model was calibrated on. `progress`
// may be null.
void NoteOverlap(const TextSketch& calibration, std::string_view text, Progress* progress);

// What a file says of the text that it was calibrated on. In GGUF metadata, of models and of
// importance matrices: halftone.calibration.name, a string, and .sketch, an array of integers.
struct CalibrationRecord {
  std::string name;
  TextSketch sketch;
};

// `file`: the text's path; its last part is kept.
CalibrationRecord RecordOf(std::string_view file, std::string_view text);
void WriteRecord(const CalibrationRecord& record, Metadata& metadata);
// None where the keys are absent or not of these types.
std::optional<CalibrationRecord> ReadRecord(const Metadata& metadata);

}  // namespace halftone
