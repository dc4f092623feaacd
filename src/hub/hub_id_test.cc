#include "hub/hub_id.h"

#include <gtest/gtest.h>

namespace halftone {
namespace {

TEST(HubIdTest, TakesNamesApart) {
  const auto plain = ParseHubId("org/Model-1.5_x");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->repo, "org/Model-1.5_x");
  EXPECT_EQ(plain->file, "");
  EXPECT_EQ(plain->revision, "main");
  const auto full = ParseHubId("org/model:sub/part one.gguf@refs/pr/7");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->repo, "org/model");
  EXPECT_EQ(full->file, "sub/part one.gguf");
  EXPECT_EQ(full->revision, "refs/pr/7");
}

TEST(HubIdTest, RefusesWhatTheHubDoesNotHave) {
  for (const char* text : {"",
                           "model",
                           "/model",
                           "org/",
                           "org/a/b",
                           "./model",
                           "../model",
                           "org/..",
                           "org/.hidden",
                           "org/a--b",
                           "org/a..b",
                           "-org/model",
                           "org/model-",
                           "or g/model",
                           "org/mo\ndel",
                           "org/model:",
                           "org/model@",
                           "org/model:../x",
                           "org/model:/etc/passwd",
                           "org/model:a//b",
                           "org/model@../../x",
                           "org/model:a\\b",
                           "org/mod\xC3\xA9l"}) {
    EXPECT_FALSE(ParseHubId(text)) << text;
  }
  EXPECT_FALSE(ParseHubId("org/" + std::string(97, 'a')));
  EXPECT_TRUE(ParseHubId("org/" + std::string(96, 'a')));
}

TEST(HubIdTest, KnowsCommits) {
  EXPECT_TRUE(IsCommit("0123456789abcdef0123456789abcdef01234567"));
  EXPECT_FALSE(IsCommit("0123456789ABCDEF0123456789abcdef01234567"));
  EXPECT_FALSE(IsCommit("main"));
}

}  // namespace
}  // namespace halftone
