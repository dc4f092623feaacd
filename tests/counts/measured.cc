// The program whose instructions tests/counts/run counts: loads a model, reads a prompt, generates.
//
//   counts_measured MODEL PROMPT GENERATE     tokens of each
//
// Its ids are fixed and nothing is sampled, so that what is counted does not depend on logits. One
// thread: others would spin for as long as the machine likes.

#include <cstdlib>
#include <memory>

#include "engine/session.h"
#include "evaluation/speed.h"
#include "kernel/ops.h"
#include "pipeline/load.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  constexpr int kThreads = 1;
  halftone::BenchOptions options;
  options.prompt = std::atoi(argv[2]);
  options.generate = std::atoi(argv[3]);
  options.repeats = 1;
  options.threads = kThreads;
  const auto model = std::make_shared<const halftone::LoadedModel>(
      halftone::OpenToRun(argv[1], {}, kThreads),
      std::shared_ptr<halftone::Ops>(halftone::MakeCpuOps(kThreads, halftone::Activations::kInt8)));
  halftone::BenchReport report;
  halftone::MeasureSpeed(model, options, report);
  return 0;
}
