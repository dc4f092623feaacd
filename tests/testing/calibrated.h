// For tests that quantize a trained model by what it does on text.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "halftone/evaluate.h"
#include "halftone/quantize.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {

// A small model with its tokenizer, and a folder for what is made of it. Few tokens keep the tests
// short.
class CalibratedTest : public testing::Test {
 protected:
  void SetUp() override {
    HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
    model_ = TinyBf16Folder().string();
  }

  // With everything but a grid or a target.
  static QuantizeOptions Calibrated(const std::string& method, int64_t chunks) {
    QuantizeOptions options;
    options.method = method;
    options.calibration = SourcePath("data/calibration.txt");
    options.context = kContext;
    options.calibration_chunks = chunks;
    return options;
  }

  std::string Out(const std::string& name) const { return (folder_.path() / name).string(); }

  // Of the file from the model, in nats.
  double Divergence(const std::string& file) const {
    EvaluateOptions options;
    options.reference = model_;
    options.context = kContext;
    options.chunks = 4;
    return Evaluate(file, SourcePath("data/evaluation.txt"), options).kld_mean.value;
  }

  static constexpr int64_t kContext = 128;

  std::string model_;
  TempFolder folder_;
};

}  // namespace halftone
