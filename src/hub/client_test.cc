// Addresses, redirects and who gets the token, against a transport that only writes down what it is
// asked.

#include "hub/client.h"

#include <gmock/gmock.h>

#include <deque>

#include "tests/testing/expect_error.h"

namespace halftone {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
constexpr const char* kBearer = "Authorization: Bearer hf_secret";

class ScriptedTransport : public Transport {
 public:
  ScriptedTransport(std::deque<HttpReply> replies, std::vector<HttpRequest>& asked)
      : replies_(std::move(replies)), asked_(asked) {}
  HttpReply Send(const HttpRequest& request) override {
    asked_.push_back(request);
    if (replies_.empty()) return {.status = 200, .headers = {}, .error = {}};
    HttpReply reply = replies_.front();
    replies_.pop_front();
    return reply;
  }

 private:
  std::deque<HttpReply> replies_;
  std::vector<HttpRequest>& asked_;
};

HttpReply To(const std::string& location, int status = 302) {
  return {.status = status, .headers = {{"location", location}}, .error = {}};
}

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    settings_.endpoint = "https://hub.example";
    settings_.token = "hf_secret";
    settings_.first_wait = 0.001;
    settings_.attempts = 3;
  }
  HubClient Client(std::deque<HttpReply> replies) {
    return {settings_, nullptr, std::make_unique<ScriptedTransport>(std::move(replies), asked_)};
  }
  HttpReply Get(std::deque<HttpReply> replies) {
    HubClient client = Client(std::move(replies));
    return client.Get({"org/model", kCommit, "f", "etag", 10}, 0, 10, nullptr);
  }
  // Who was asked, with a '*' where the token went along.
  std::vector<std::string> Asked() const {
    std::vector<std::string> list;
    for (const HttpRequest& request : asked_) {
      const bool token = std::ranges::find(request.headers, kBearer) != request.headers.end();
      list.push_back((token ? "*" : "") + Origin(request.url));
    }
    return list;
  }

  HubSettings settings_;
  std::vector<HttpRequest> asked_;
};

TEST_F(ClientTest, TheTokenStaysWithTheEndpoint) {
  Get({To("https://cdn.example/f"),
       To("https://hub.example/again"),
       {.status = 206, .headers = {}, .error = {}}});
  EXPECT_THAT(Asked(),
              ElementsAre("*https://hub.example", "https://cdn.example", "*https://hub.example"));
  // Neither another port, another scheme, a part of the name nor a name before the real host.
  for (const char* elsewhere : {"https://hub.example:8443/f", "https://hub.example.evil.example/f",
                                "https://hub.example@evil.example/f", "https://evilhub.example/f",
                                "https://hub.example%2eevil/f", "//evil.example/f"}) {
    asked_.clear();
    Get({To(elsewhere)});
    ASSERT_EQ(asked_.size(), 2u) << elsewhere;
    EXPECT_THAT(asked_[1].headers, Not(Contains(kBearer))) << elsewhere;
  }
}

TEST_F(ClientTest, NoRedirectLeadsOutOfTls) {
  const HttpReply reply = Get({To("http://hub.example/f")});
  EXPECT_EQ(asked_.size(), 1u);
  EXPECT_THAT(reply.error, testing::HasSubstr("from https to 'http://hub.example'"));
  EXPECT_TRUE(reply.hopeless);
}

TEST_F(ClientTest, RedirectsInACircleEnd) {
  std::deque<HttpReply> circle;
  for (int i = 0; i < 50; ++i) circle.push_back(To(i % 2 == 0 ? "/a" : "/b", 307));
  EXPECT_EQ(Get(circle).error, "redirects lead in a circle");
  EXPECT_LE(asked_.size(), 4u);
  asked_.clear();
  std::deque<HttpReply> line;
  for (int i = 0; i < 50; ++i) line.push_back(To("/" + std::to_string(i), 301));
  EXPECT_EQ(Get(line).error, "redirects lead in a circle");
  EXPECT_LE(asked_.size(), 11u);
}

TEST_F(ClientTest, WhereAFileLiesIsRememberedUntilThatPlaceRefuses) {
  HubClient client = Client({To("https://cdn.example/f"),
                             {.status = 206, .headers = {}, .error = {}},
                             {.status = 206, .headers = {}, .error = {}},
                             {.status = 403, .headers = {}, .error = {}}});
  const RemoteFile file{"org/model", kCommit, "f", "etag", 100};
  for (int i = 0; i < 4; ++i) client.Get(file, 10, 20, nullptr);
  EXPECT_THAT(Asked(),
              ElementsAre("*https://hub.example", "https://cdn.example", "https://cdn.example",
                          "https://cdn.example", "*https://hub.example"));
  EXPECT_THAT(asked_[2].headers, Contains("Range: bytes=10-19"));
}

TEST_F(ClientTest, ResolvesLocations) {
  EXPECT_EQ(Resolved("https://a.b/c/d?q=/", "e"), "https://a.b/c/e");
  EXPECT_EQ(Resolved("https://a.b/c/d", "/e?f"), "https://a.b/e?f");
  EXPECT_EQ(Resolved("https://a.b", "e"), "https://a.b/e");
  EXPECT_EQ(Resolved("https://a.b:1/c", "//x.y/z"), "https://x.y/z");
  EXPECT_EQ(Resolved("https://a.b/c", "HTTP://x.y/z"), "HTTP://x.y/z");
  EXPECT_EQ(Origin("HTTPS://A.b:1/C"), "https://a.b:1");
  EXPECT_EQ(Origin("https://a.b?c"), "https://a.b");
  EXPECT_EQ(EscapedPath("a b/\xC3\xA9?#%.gguf"), "a%20b/%C3%A9%3F%23%25.gguf");
}

TEST_F(ClientTest, HeadReadsWhatTheHubSaysOfTheFile) {
  HubClient client = Client({{.status = 302,
                              .headers = {{"x-repo-commit", kCommit},
                                          {"x-linked-etag", "\"abc\""},
                                          {"x-linked-size", "123456789012"},
                                          {"etag", "W/\"other\""},
                                          {"content-length", "5"},
                                          {"location", "https://cdn.example/f"}},
                              .error = {}}});
  const RemoteFile file = client.Head("org/model", kCommit, "f");
  EXPECT_EQ(file.etag, "abc");
  EXPECT_EQ(file.bytes, 123456789012u);
  EXPECT_EQ(asked_.size(), 1u);
}

// An etag becomes a file's name.
TEST_F(ClientTest, HeadRefusesWhatWouldLeaveTheCache) {
  for (const char* etag : {"", "\"\"", "\"../../x\"", "a/b", ".", "\"a b\"", "\"a\"b\""}) {
    HubClient client = Client(
        {{.status = 200, .headers = {{"etag", etag}, {"content-length", "5"}}, .error = {}}});
    ExpectError(Error::Kind::kFormat, "names no checksum",
                [&] { client.Head("org/model", kCommit, "f"); });
  }
  HubClient other = Client({{.status = 200,
                             .headers = {{"etag", "a"},
                                         {"content-length", "5"},
                                         {"x-repo-commit", std::string(40, 'f')}},
                             .error = {}}});
  ExpectError(Error::Kind::kFormat, "answers for commit",
              [&] { other.Head("org/model", kCommit, "f"); });
}

TEST_F(ClientTest, TriesAgainWhatMayPass) {
  for (const int status : {408, 429, 500, 502, 503, 504}) {
    asked_.clear();
    HubClient client =
        Client({{.status = status, .headers = {}, .error = {}},
                {.status = 0, .headers = {}, .error = "cut"},
                {.status = 200, .headers = {{"etag", "a"}, {"content-length", "5"}}, .error = {}}});
    EXPECT_EQ(client.Head("org/model", kCommit, "f").bytes, 5u);
    EXPECT_EQ(asked_.size(), 3u);
  }
  for (const int status : {400, 401, 403, 404, 416}) {
    asked_.clear();
    HubClient client = Client({{.status = status, .headers = {}, .error = {}}});
    EXPECT_TRUE(Caught([&] { client.Head("org/model", kCommit, "f"); }));
    EXPECT_EQ(asked_.size(), 1u) << status;
  }
}

TEST_F(ClientTest, WaitsAsLongAsItIsAsked) {
  const HttpReply busy{.status = 429, .headers = {{"retry-after", "1"}}, .error = {}};
  Attempts attempts(settings_, nullptr);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(attempts.Again(busy));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  // But not for an hour.
  const HttpReply closed{.status = 429, .headers = {{"retry-after", "3600"}}, .error = {}};
  Attempts fresh(settings_, nullptr);
  EXPECT_FALSE(fresh.Again(closed));
  EXPECT_EQ(RetryAfterSeconds("Wed, 21 Oct 2015 07:28:00 GMT"), -1);
}

TEST_F(ClientTest, SaysWhatToDo) {
  const auto message = [&](int status, const std::string& code) {
    HubClient client = Client({});
    return std::string(Caught([&] {
                         client.FailReply(
                             "org/model", "file 'f'",
                             {.status = status, .headers = {{"x-error-code", code}}, .error = {}});
                       })->what());
  };
  using testing::HasSubstr;
  EXPECT_THAT(message(401, ""), HasSubstr("does not accept the token"));
  EXPECT_THAT(message(401, "GatedRepo"), HasSubstr("accept the model's terms on https://hub.ex"));
  EXPECT_THAT(message(403, ""), HasSubstr("accept the model's terms on https://hub.example/org/"));
  EXPECT_THAT(message(404, "RepoNotFound"), HasSubstr("has no such model"));
  EXPECT_THAT(message(404, "EntryNotFound"), HasSubstr("there is no file 'f'"));
  EXPECT_THAT(message(429, ""), HasSubstr("too many requests"));
  EXPECT_THAT(message(503, ""), HasSubstr("status 503"));
  settings_.token.clear();
  EXPECT_THAT(message(401, "RepoNotFound"),
              HasSubstr("set HF_TOKEN to a token from https://hub.example/settings/tokens"));
}

}  // namespace
}  // namespace halftone
