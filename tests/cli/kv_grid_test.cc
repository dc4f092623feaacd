// --kv-grid of run, evaluate, bench and plan.

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"

namespace halftone {
namespace {

using nlohmann::json;
using testing::HasSubstr;

using Arguments = std::vector<std::string>;

class KvGridTest : public TinyModelTest {
 protected:
  static std::string OutputOf(Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    return run.out;
  }
  std::string Logits(const Arguments& more) const {
    OutputOf({"evaluate", model_, "--tokens", "5,6,7", "--npy", Path("logits.npy")}, more);
    return ReadBytes(Path("logits.npy"));
  }
};

TEST_F(KvGridTest, ChangesLogits) {
  const std::vector<std::string> logits = {Logits({}), Logits({"--kv-grid", "f16"}),
                                           Logits({"--kv-grid", "q8_0"}),
                                           Logits({"--kv-grid", "q4_0"})};
  for (size_t i = 0; i < logits.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_TRUE(logits[i] != logits[j]) << i << " " << j;
  }
  EXPECT_TRUE(Logits({"--kv-grid", "f32"}) == logits[0]);
  EXPECT_TRUE(Logits({"--kv-grid", "q8_0", "--threads", "1"}) == logits[2]);
}

TEST_F(KvGridTest, IsStatedWithItsBytes) {
  const std::pair<const char*, double> bits[] = {
      {"f32", 32}, {"f16", 16}, {"q8_0", 8.5}, {"q4_0", 4.5}};
  const Arguments bench = {"bench", model_, "-p", "8", "-n", "2", "-r", "1", "-d", "20"};
  const Arguments plan = {"plan", model_, "--context", "128"};
  for (const auto& [grid, each] : bits) {
    // Keys and values of one layer, 128 wide; a cache holds a multiple of 128 tokens.
    const double bytes = 2 * 128 * 128 * each / 8;
    const json measured = json::parse(OutputOf(bench, {"--kv-grid", grid, "--json"}));
    EXPECT_EQ(measured["kv_cache_bytes"], bytes) << grid;
    const json planned = json::parse(OutputOf(plan, {"--kv-grid", grid, "--json"}));
    EXPECT_EQ(planned["kv_grid"], grid);
    EXPECT_EQ(planned["rows"][0]["kv_cache_bytes"], bytes) << grid;
  }
  EXPECT_THAT(OutputOf(bench, {}), HasSubstr("in f16"));
  EXPECT_THAT(OutputOf(bench, {}), HasSubstr("2 tokens after 20"));
  EXPECT_THAT(OutputOf(plan, {}), HasSubstr("context 128 in f16"));
}

TEST_F(KvGridTest, RunsAndRefuses) {
  const Arguments run = {"run", model_, "-p", "the", "-n", "4", "--temp", "0"};
  EXPECT_EQ(OutputOf(run, {"--kv-grid", "f16"}), OutputOf(run, {}));
  OutputOf(run, {"--kv-grid", "q4_0"});
  for (const char* command : {"run", "bench", "plan"}) {
    const Finished refused = Halftone({command, model_, "--kv-grid", "q4_k"});
    EXPECT_EQ(refused.code, 2) << command;
    EXPECT_THAT(refused.err, HasSubstr("q4_k")) << command;
    EXPECT_EQ(refused.out, "");
  }
}

}  // namespace
}  // namespace halftone
