// --load-in-4bit and --load-in-8bit of run, evaluate and bench.

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/cli/npy.h"
#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"

namespace halftone {
namespace {

using nlohmann::json;
using testing::HasSubstr;

using Arguments = std::vector<std::string>;

class LoadInTest : public TinyModelTest {
 protected:
  Arguments With(Arguments arguments, const Arguments& more) const {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::string Logits(const Arguments& more) const {
    const Finished run = Halftone(
        With({"evaluate", model_, "--tokens", "5,6,7", "--npy", Path("logits.npy")}, more));
    EXPECT_EQ(run.code, 0) << run.err;
    return ReadBytes(Path("logits.npy"));
  }
  json Bench(const Arguments& more) const {
    const Finished run =
        Halftone(With({"bench", model_, "-p", "8", "-n", "2", "-r", "1", "--json"}, more));
    EXPECT_EQ(run.code, 0) << run.err;
    return run.code == 0 ? json::parse(run.out) : json();
  }
};

TEST_F(LoadInTest, EverySettingArrives) {
  const Arguments four = {"--load-in-4bit"}, eight = {"--load-in-8bit"};
  const std::vector<std::string> logits = {
      Logits({}),
      Logits(four),
      Logits(With(four, {"--bnb-4bit-quant-type", "fp4"})),
      Logits(With(four, {"--bnb-4bit-use-double-quant"})),
      Logits(eight),
      Logits(With(eight, {"--llm-int8-threshold", "0.01"})),
  };
  for (size_t i = 0; i < logits.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_TRUE(logits[i] != logits[j]) << i << " " << j;
  }
  EXPECT_TRUE(Logits(With(four, {"--bnb-4bit-quant-type", "nf4"})) == logits[1]);
  EXPECT_TRUE(Logits(With(eight, {"--llm-int8-threshold", "6", "--threads", "1"})) == logits[4]);
}

TEST_F(LoadInTest, RunAndBench) {
  const Arguments run = {"run", model_, "-p", "the", "-n", "4", "--temp", "0"};
  EXPECT_EQ(Halftone(With(run, {"--load-in-4bit"})).code, 0);
  EXPECT_EQ(Halftone(With(run, {"--load-in-8bit"})).code, 0);
  // The layer's matrices of 256 columns, from f32: 32 bits a weight to 4.5 and 8.125.
  const double weights = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 256;
  const double plain = Bench({})["weight_bytes"];
  EXPECT_EQ(plain - Bench({"--load-in-4bit"})["weight_bytes"].get<double>(),
            weights * (32 - 4.5) / 8);
  EXPECT_EQ(plain - Bench({"--load-in-8bit"})["weight_bytes"].get<double>(),
            weights * (32 - 8.125) / 8);
}

TEST_F(LoadInTest, RefusesWhatMeansNothing) {
  const auto refuses = [&](const Arguments& more, const std::string& part) {
    const Finished run = Halftone(With({"run", model_, "-p", "a"}, more));
    EXPECT_EQ(run.code, 2) << part;
    EXPECT_THAT(run.err, HasSubstr(part));
    EXPECT_EQ(run.out, "");
  };
  refuses({"--load-in-4bit", "--load-in-8bit"}, "excludes");
  refuses({"--bnb-4bit-quant-type", "fp4"}, "requires");
  refuses({"--bnb-4bit-use-double-quant"}, "requires");
  refuses({"--load-in-4bit", "--bnb-4bit-quant-type", "nf5"}, "nf5");
  refuses({"--load-in-8bit", "--llm-int8-threshold", "-1"}, "-1");
  refuses({"--load-in-8bit", "--llm-int8-threshold", "nan"}, "nan");
  refuses({"--llm-int8-threshold", "6"}, "only with bitsandbytes' 8 bits");
  refuses({"--load-in-4bit", "--llm-int8-threshold", "6"}, "only with bitsandbytes' 8 bits");

  ASSERT_EQ(Halftone({"quantize", model_, "-o", Path("q8.gguf"), "--grid", "q8_0"}).code, 0);
  const Finished run = Halftone({"run", Path("q8.gguf"), "-p", "a", "--load-in-4bit"});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("q8.gguf: no linear layer holds plain numbers"));
}

}  // namespace
}  // namespace halftone
