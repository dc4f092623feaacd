// What a training leaves besides the adapter.

#pragma once

#include <string>

#include "halftone/finetune.h"

namespace halftone {

// The points of FinetuneJson's text, for a run that is resumed; nothing where it is not that.
void ReadCurve(const std::string& json, FinetuneReport& report);

}  // namespace halftone
