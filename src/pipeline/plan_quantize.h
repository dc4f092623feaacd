// Planning many quantizations of one model.

#pragma once

#include <memory>

#include "halftone/quantize.h"
#include "pipeline/source.h"

namespace halftone {

// As the public function of that name, for a model that is open already: reading a large tokenizer
// anew for every grid would take most of the time.
QuantizeReport PlanQuantize(std::shared_ptr<const Source> source, const QuantizeOptions& options);

}  // namespace halftone
