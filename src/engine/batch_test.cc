// Several sequences together against each of them alone: the same bits.

#include "engine/batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "container/container.h"
#include "halftone/error.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

using Ids = std::vector<int32_t>;

std::shared_ptr<const LoadedModel> Load(const std::filesystem::path& path, int threads = 2) {
  return std::make_shared<const LoadedModel>(OpenCheckpoint(path),
                                             std::shared_ptr<Ops>(MakeCpuOps(threads)));
}

Ids SomeIds(int64_t count, uint32_t seed, int64_t vocabulary) {
  std::mt19937 engine(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(engine() % vocabulary);
  return ids;
}

// The logits after each of the ids, from a session that has the machine for itself.
std::vector<std::vector<float>> Alone(const std::shared_ptr<const LoadedModel>& model,
                                      const Ids& ids, const Grid& grid) {
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  std::vector<std::vector<float>> logits(ids.size(), std::vector<float>(vocabulary));
  Session session(model, std::ssize(ids), grid);
  for (size_t i = 0; i < ids.size(); ++i) {
    session.Append(std::span(ids).subspan(i, 1), 1, logits[i].data());
  }
  return logits;
}

// One sequence of a test: which tokens it takes, from which step on.
struct Member {
  Ids ids;
  int64_t joins;   // the step with its prompt
  int64_t prompt;  // its tokens, then come single ones
  std::vector<std::vector<float>> expected;
  std::unique_ptr<Session> session;
};

// Sequences of different lengths that join one after another and leave when their ids end.
void ExpectTheSameBits(const std::shared_ptr<const LoadedModel>& model, int64_t sequences,
                       const Grid& grid) {
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  std::vector<Member> members;
  for (int64_t i = 0; i < sequences; ++i) {
    Member member;
    member.prompt = 1 + 5 * i % 12;
    member.joins = i / 3;
    member.ids = SomeIds(member.prompt + 4 + 7 * i % 5, 11 + i, vocabulary);
    member.expected = Alone(model, member.ids, grid);
    member.session = std::make_unique<Session>(model, std::ssize(member.ids), grid);
    members.push_back(std::move(member));
  }
  Batch batch(model, 64);
  std::vector<float> logits(sequences * vocabulary);
  int64_t most = 0;
  for (int64_t step = 0;; ++step) {
    std::vector<Batch::Part> parts;
    std::vector<const Member*> present;
    bool waiting = false;
    for (const Member& member : members) {
      waiting = waiting || member.joins > step;
      const int64_t at = member.session->position();
      if (member.joins > step || at == std::ssize(member.ids)) continue;
      const int64_t n = at == 0 ? member.prompt : 1;
      parts.push_back({member.session.get(), std::span(member.ids).subspan(at, n)});
      present.push_back(&member);
    }
    if (parts.empty() && !waiting) break;
    batch.Step(parts, logits.data());
    most = std::max(most, std::ssize(parts));
    for (size_t i = 0; i < present.size(); ++i) {
      const auto& expected = present[i]->expected[present[i]->session->position() - 1];
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), logits.begin() + i * vocabulary))
          << grid.name << ": step " << step << ", part " << i << " of " << parts.size();
    }
  }
  EXPECT_GE(most, std::min<int64_t>(sequences, 6));
}

TEST(BatchTest, GivesEachSequenceItsOwnBits) {
  HALFTONE_NEED_SHARED("models/tiny1m");
  for (const int threads : {1, 2, 3}) {
    const auto model = Load(SharedPath("models/tiny1m"), threads);
    for (const Grid* grid : CacheGrids()) {
      for (const int64_t sequences : {1, 2, 8}) ExpectTheSameBits(model, sequences, *grid);
    }
  }
}

// Weights whose products for single tokens are kernels of their own, and rounded activations.
TEST(BatchTest, GivesEachSequenceItsOwnBitsOnQuantizedWeights) {
  for (const char* folder :
       {"tiny-gguf-Q4_K_M-imatrix", "tiny-gptq-4bit-g128-actorder", "tiny-bnb-int8"}) {
    HALFTONE_NEED_SHARED(std::string("fixtures/") + folder);
    std::filesystem::path path = SharedPath(std::string("fixtures/") + folder);
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() == ".gguf") path = entry.path();
    }
    ExpectTheSameBits(Load(path), 8, GridNamed("f16"));
  }
}

TEST(BatchTest, GoesOnWhereASessionWasAndIsRewound) {
  HALFTONE_NEED_SHARED("models/tiny1m");
  const auto model = Load(SharedPath("models/tiny1m"));
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  const Ids ids = SomeIds(10, 3, vocabulary), other = SomeIds(4, 4, vocabulary);
  const auto expected = Alone(model, ids, F32Grid());
  Session session(model, 10), neighbour(model, 4);
  std::vector<float> logits(2 * vocabulary);
  session.Append(std::span(ids).first(4), 0, nullptr);
  Batch batch(model, 8);
  const Batch::Part parts[] = {{&neighbour, other}, {&session, std::span(ids).subspan(4, 3)}};
  batch.Step(parts, logits.data());
  EXPECT_TRUE(std::equal(expected[6].begin(), expected[6].end(), logits.begin() + vocabulary));
  session.Rewind(5);
  const Batch::Part again[] = {{&session, std::span(ids).subspan(5, 4)}};
  batch.Step(again, logits.data());
  EXPECT_TRUE(std::equal(expected[8].begin(), expected[8].end(), logits.begin()));
  session.Append(std::span(ids).subspan(9, 1), 1, logits.data());
  EXPECT_TRUE(std::equal(expected[9].begin(), expected[9].end(), logits.begin()));
}

TEST(BatchTest, RefusesWithoutAChange) {
  HALFTONE_NEED_SHARED("models/tiny1m");
  const auto model = Load(SharedPath("models/tiny1m")), other = Load(SharedPath("models/tiny1m"));
  Session a(model, 4), b(model, 4), stranger(other, 4);
  Batch batch(model, 6);
  std::vector<float> logits(4 * 512);
  const Ids one = {1}, three = {1, 2, 3}, four = {1, 2, 3, 4}, five = {1, 2, 3, 4, 5};
  const Ids unknown = {512};
  const auto refuses = [&](std::vector<Batch::Part> parts) {
    EXPECT_THROW(batch.Step(parts, logits.data()), Error);
    EXPECT_EQ(a.position() + b.position() + stranger.position(), 0);
  };
  refuses({{&a, one}, {&a, one}});
  refuses({{&a, one}, {&stranger, one}});
  refuses({{&a, four}, {&b, three}});  // 7 of 6
  refuses({{&a, one}, {&b, five}});    // 5 of a context of 4
  refuses({{&a, one}, {&b, unknown}});
  refuses({{&a, one}, {&b, {}}});
  batch.Step({}, nullptr);
  const Batch::Part parts[] = {{&a, three}, {&b, three}};
  batch.Step(parts, logits.data());
  EXPECT_EQ(a.position() + b.position(), 6);
}

}  // namespace
}  // namespace halftone
