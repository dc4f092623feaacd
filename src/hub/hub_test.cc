// Fetching models from a server that can do everything wrong.

#include "hub/hub.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <random>
#include <set>
#include <thread>

#include "hub/cache.h"
#include "hub/digest.h"
#include "hub/transport.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/fake_hub.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string RandomBytes(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Takes notes, and cancels after so many bytes.
class Notes : public Progress {
 public:
  void Begin(std::string_view, int64_t total) override { total_ = total; }
  void Advance(int64_t done) override {
    done_ = done;
    most_ = std::max(most_, done);
  }
  void End() override {}
  void Note(std::string_view message) override { notes.emplace_back(message); }
  bool Cancelled() override { return cancel_at > 0 && done_ >= cancel_at; }

  int64_t total() const { return total_; }
  int64_t most() const { return most_; }

  std::vector<std::string> notes;
  int64_t cancel_at = 0;

 private:
  int64_t total_ = 0, done_ = 0, most_ = 0;
};

class HubTest : public testing::Test {
 protected:
  HubTest() {
    if (!HasTransport()) return;
    hub_ = std::make_unique<FakeHub>(std::map<std::string, FakeHub::File>{
        {"config.json", {R"({"model_type": "llama"})", false}},
        {"tokenizer.json", {RandomBytes(30'000, 1), false}},
        {"model.safetensors", {RandomBytes(1'000'003, 2), true}},
        {"README.md", {"read me", false}},
        {"gguf/a-Q8_0-00001-of-00002.gguf", {RandomBytes(5000, 3), true}},
        {"gguf/a-Q8_0-00002-of-00002.gguf", {RandomBytes(6000, 4), true}},
        {"empty.gguf", {"", false}}});
    settings_.endpoint = hub_->url();
    settings_.cache = folder_.path() / "hub";
    settings_.piece_bytes = 64 << 10;
    settings_.connections = 4;
    settings_.first_wait = 0.005;
    settings_.attempts = 4;
  }
  void SetUp() override {
    if (!HasTransport()) GTEST_SKIP() << "built without libcurl";
    ::unsetenv("http_proxy");
  }

  PulledModel Pull(const std::string& id, Progress* progress = nullptr) {
    return PullModel(*ParseHubId(id), settings_, progress);
  }
  fs::path Repo() const { return settings_.cache / "models--org--model"; }
  fs::path Snapshot() const { return Repo() / "snapshots" / FakeHub::kCommit; }
  std::set<std::string> Blobs() const {
    std::set<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(Repo() / "blobs", error)) {
      names.insert(entry.path().filename());
    }
    return names;
  }
  static std::string Weights() { return RandomBytes(1'000'003, 2); }
  std::string WeightsEtag() const { return FakeHub::Etag({Weights(), true}); }

  void ExpectWholeModel(const PulledModel& model) const {
    EXPECT_EQ(model.path, Snapshot());
    EXPECT_TRUE(ReadBytes(Snapshot() / "model.safetensors") == Weights());
    EXPECT_EQ(ReadBytes(Snapshot() / "config.json"), R"({"model_type": "llama"})");
    EXPECT_TRUE(ReadBytes(Snapshot() / "tokenizer.json") == RandomBytes(30'000, 1));
    EXPECT_FALSE(fs::exists(Snapshot() / "README.md"));
    for (const std::string& blob : Blobs()) EXPECT_EQ(blob.find("incomplete"), blob.npos);
  }

  TempFolder folder_;
  std::unique_ptr<FakeHub> hub_;
  HubSettings settings_;
};

// Published: FIPS 180's "abc", and what git says of a file that holds "hello\n".
TEST_F(HubTest, KnowsTheHubsChecksums) {
  const auto bytes = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  auto large = Digest::ForEtag(std::string(64, '0'), 3);
  large->Add(bytes("a"));
  large->Add(bytes("bc"));
  EXPECT_EQ(large->Finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  auto small = Digest::ForEtag(std::string(40, '0'), 6);
  small->Add(bytes("hello\n"));
  EXPECT_EQ(small->Finish(), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(Digest::ForEtag("abc", 3), nullptr);
}

TEST_F(HubTest, FetchesAFolder) {
  Notes notes;
  const PulledModel model = Pull("org/model", &notes);
  ExpectWholeModel(model);
  EXPECT_EQ(model.commit, FakeHub::kCommit);
  EXPECT_EQ(notes.total(), notes.most());
  EXPECT_EQ(ReadBytes(Repo() / "refs" / "main"), FakeHub::kCommit);
  EXPECT_EQ(fs::read_symlink(Snapshot() / "model.safetensors"), "../../blobs/" + WeightsEtag());
  EXPECT_TRUE(
      fs::exists(settings_.cache / ".locks" / "models--org--model" / (WeightsEtag() + ".lock")));
  // Several connections, one question each of the hub for where the file lies.
  int ranges = 0;
  for (const ServerRequest& request : hub_->cdn_log()) ranges += !request.Header("range").empty();
  EXPECT_EQ(ranges, 16);
  for (const ServerRequest& request : hub_->hub_log()) {
    EXPECT_EQ(request.path.find("README"), request.path.npos);
  }
}

TEST_F(HubTest, FetchesNothingTwice) {
  Pull("org/model");
  const size_t asked = hub_->hub_log().size();
  const PulledModel again = Pull("org/model");
  ExpectWholeModel(again);
  for (const auto& file : again.files) EXPECT_FALSE(file.fetched);
  EXPECT_EQ(hub_->hub_log().size(), asked + 1);  // whether there is a newer commit
  // Another revision with the same content needs the links only.
  fs::remove_all(Repo() / "snapshots");
  const size_t fetched = hub_->cdn_log().size();
  ExpectWholeModel(Pull("org/model@refs/pr/1"));
  EXPECT_EQ(hub_->cdn_log().size(), fetched);
  EXPECT_EQ(ReadBytes(Repo() / "refs" / "refs" / "pr" / "1"), FakeHub::kCommit);
}

TEST_F(HubTest, FetchesAllPartsOfASplitFileAndEmptyOnes) {
  const PulledModel model = Pull("org/model:Q8_0");
  EXPECT_EQ(model.path, Snapshot() / "gguf" / "a-Q8_0-00001-of-00002.gguf");
  EXPECT_TRUE(ReadBytes(model.path) == RandomBytes(5000, 3));
  EXPECT_TRUE(ReadBytes(Snapshot() / "gguf" / "a-Q8_0-00002-of-00002.gguf") ==
              RandomBytes(6000, 4));
  EXPECT_EQ(fs::read_symlink(model.path).string().substr(0, 15), "../../../blobs/");
  EXPECT_EQ(ReadBytes(Pull("org/model:empty.gguf").path), "");
}

TEST_F(HubTest, GoesOnAfterCutConnections) {
  std::atomic<int> calls{0};
  hub_->cdn_hook = [&](const ServerRequest& request) -> std::optional<ServerReply> {
    size_t first = 0, last = 0;
    if (++calls % 2 == 0) return std::nullopt;
    if (std::sscanf(request.Header("range").c_str(), "bytes=%zu-%zu", &first, &last) != 2) {
      return std::nullopt;
    }
    const std::string bytes = Weights();
    ServerReply reply{206, {}, bytes.substr(first, last - first + 1), {}, {}};
    reply.headers.push_back("Content-Range: bytes " + std::to_string(first) + "-" +
                            std::to_string(last) + "/" + std::to_string(bytes.size()));
    reply.cut = reply.body.size() / 3;
    return reply;
  };
  ExpectWholeModel(Pull("org/model"));
  EXPECT_GT(calls, 20);
}

TEST_F(HubTest, GoesOnWhereAnEarlierRunEnded) {
  // Slow enough for somebody to see how far it is.
  hub_->cdn_hook = [](const ServerRequest&) -> std::optional<ServerReply> {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return std::nullopt;
  };
  settings_.connections = 2;
  Notes notes;
  notes.cancel_at = 400'000;
  const auto error = Caught([&] { Pull("org/model", &notes); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Error::Kind::kCancelled);
  const fs::path incomplete = Repo() / "blobs" / (WeightsEtag() + ".incomplete");
  ASSERT_TRUE(fs::exists(incomplete));
  const std::string begun = ReadBytes(incomplete);
  EXPECT_GT(begun.size(), 0u);
  EXPECT_TRUE(begun == Weights().substr(0, begun.size()));
  EXPECT_FALSE(fs::exists(Snapshot() / "model.safetensors"));
  EXPECT_FALSE(fs::exists(Repo() / "refs" / "main"));

  // What is there is not asked for again.
  const size_t before = hub_->cdn_log().size();
  ExpectWholeModel(Pull("org/model"));
  const auto log = hub_->cdn_log();
  for (size_t i = before; i < log.size(); ++i) {
    size_t first = 0;
    std::sscanf(log[i].Header("range").c_str(), "bytes=%zu-", &first);
    EXPECT_GE(first, begun.size());
  }
}

TEST_F(HubTest, NoticesThatWhatAnEarlierRunLeftIsDamaged) {
  fs::create_directories(Repo() / "blobs");
  const fs::path incomplete = Repo() / "blobs" / (WeightsEtag() + ".incomplete");
  for (const size_t size : {size_t{1000}, size_t{1'000'003}, size_t{2'000'000}}) {
    std::ofstream(incomplete, std::ios::binary) << std::string(size, 'x');
    ExpectWholeModel(Pull("org/model"));
    fs::remove_all(Repo() / "snapshots");
    fs::remove(Repo() / "blobs" / WeightsEtag());
  }
}

TEST_F(HubTest, RefusesWrongBytes) {
  const auto answer = [&](auto change) {
    hub_->cdn_hook = [=](const ServerRequest& request) -> std::optional<ServerReply> {
      size_t first = 0, last = 0;
      std::sscanf(request.Header("range").c_str(), "bytes=%zu-%zu", &first, &last);
      const std::string bytes = Weights();
      ServerReply reply{206, {}, bytes.substr(first, last - first + 1), {}, {}};
      std::string range = "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                          std::to_string(bytes.size());
      change(first, reply, range);
      reply.headers.push_back("Content-Range: " + range);
      return reply;
    };
    fs::remove_all(settings_.cache);
    const auto error = Caught([&] { Pull("org/model"); });
    EXPECT_FALSE(fs::exists(Repo() / "blobs" / WeightsEtag()));
    EXPECT_FALSE(fs::exists(Snapshot() / "model.safetensors"));
    return error ? std::string(error->what()) : "nothing";
  };
  EXPECT_THAT(answer([](size_t first, ServerReply& reply, std::string&) {
                if (first == 0) reply.body[5] ^= 1;
              }),
              HasSubstr("do not have the checksum that the hub promised"));
  EXPECT_THAT(Blobs(), testing::Not(testing::Contains(WeightsEtag() + ".incomplete")));
  EXPECT_THAT(answer([](size_t, ServerReply&, std::string& range) { range += "9"; }),
              HasSubstr("/10000039'"));
  EXPECT_THAT(answer([](size_t, ServerReply& reply, std::string&) { reply.body += "more"; }),
              HasSubstr("sends more than it was asked for"));
  EXPECT_THAT(answer([](size_t, ServerReply& reply, std::string&) { reply.body.clear(); }),
              HasSubstr("sends no more than byte"));
  // A length that the body does not keep is a cut connection.
  EXPECT_THAT(answer([](size_t, ServerReply& reply, std::string&) {
                reply.length = reply.body.size() + 10;
                reply.body.clear();
              }),
              HasSubstr("cannot be fetched from " + hub_->url()));
}

TEST_F(HubTest, RefusesASmallFileWithAWrongChecksum) {
  hub_->hub_hook = [](const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.method != "GET" || !request.path.ends_with("config.json")) return std::nullopt;
    return ServerReply{200, {}, R"({"model_type": "llamb"})", {}, {}};
  };
  ExpectError(Error::Kind::kFormat, "file 'config.json': the 23 bytes", [&] { Pull("org/model"); });
}

TEST_F(HubTest, ReadsServersWithoutRanges) {
  std::atomic<int> calls{0};
  hub_->cdn_hook = [&](const ServerRequest&) -> std::optional<ServerReply> {
    ServerReply reply{200, {}, Weights(), {}, {}};
    // The first whole answer is cut.
    if (++calls == 5) reply.cut = 100'000;
    return reply;
  };
  fs::create_directories(Repo() / "blobs");
  std::ofstream(Repo() / "blobs" / (WeightsEtag() + ".incomplete")) << "begun";
  ExpectWholeModel(Pull("org/model"));
}

TEST_F(HubTest, WaitsOutBusyServers) {
  settings_.attempts = 50;
  settings_.first_wait = 1e-9;
  std::atomic<int> hub_calls{0}, cdn_calls{0};
  hub_->hub_hook = [&](const ServerRequest&) -> std::optional<ServerReply> {
    if (++hub_calls % 3 == 0) return ServerReply{429, {"Retry-After: 0"}, "", {}, {}};
    return std::nullopt;
  };
  hub_->cdn_hook = [&](const ServerRequest&) -> std::optional<ServerReply> {
    if (++cdn_calls % 3 == 0) return ServerReply{500, {}, "<html>oh no</html>", {}, {}};
    return std::nullopt;
  };
  ExpectWholeModel(Pull("org/model"));
}

TEST_F(HubTest, GivesUpOnServersThatStayBusy) {
  const auto every = [&](int status, std::vector<std::string> headers) {
    hub_->hub_hook = [=](const ServerRequest&) -> std::optional<ServerReply> {
      return ServerReply{status, headers, "", {}, {}};
    };
    const auto error = Caught([&] { Pull("org/model"); });
    return error ? std::string(error->what()) : "nothing";
  };
  EXPECT_THAT(every(500, {}), HasSubstr("answers with status 500"));
  EXPECT_THAT(every(429, {"Retry-After: 3600"}), HasSubstr("asked again in 3600 seconds"));
  EXPECT_THAT(every(401, {}), HasSubstr("set HF_TOKEN to a token from " + hub_->url()));
  EXPECT_THAT(every(403, {}), HasSubstr("accept the model's terms on " + hub_->url()));
  EXPECT_THAT(every(404, {"X-Error-Code: RepoNotFound"}), HasSubstr("has no such model"));
  EXPECT_THAT(every(302, {"Location: /again"}), HasSubstr("redirects lead in a circle"));
  EXPECT_THAT(every(200, {}), HasSubstr("the hub's listing"));
  EXPECT_THAT(Blobs(), IsEmpty());
}

TEST_F(HubTest, FollowsARepositoryThatWasRenamed) {
  hub_->hub_hook = [](const ServerRequest& request) -> std::optional<ServerReply> {
    const size_t old = request.path.find("/old/name/");
    if (old == request.path.npos) return std::nullopt;
    std::string path = request.path;
    return ServerReply{307, {"Location: " + path.replace(old, 10, "/org/model/")}, "", {}, {}};
  };
  EXPECT_TRUE(ReadBytes(Pull("old/name").path / "model.safetensors") == Weights());
}

TEST_F(HubTest, TheTokenGoesToTheHubOnly) {
  settings_.token = "hf_secret";
  Pull("org/model");
  EXPECT_GT(hub_->cdn_log().size(), 0u);
  for (const ServerRequest& request : hub_->hub_log()) {
    EXPECT_EQ(request.Header("authorization"), "Bearer hf_secret");
  }
  for (const ServerRequest& request : hub_->cdn_log()) {
    EXPECT_EQ(request.headers.count("authorization"), 0u);
  }
}

TEST_F(HubTest, RefusesListingsThatLeaveTheFolder) {
  for (const char* name : {"../evil.gguf", "/etc/passwd", "a/../../b.gguf", "a\\nb.gguf", ""}) {
    hub_->hub_hook = [&](const ServerRequest&) -> std::optional<ServerReply> {
      return ServerReply{200,
                         {},
                         std::string(R"({"sha": ")") + FakeHub::kCommit +
                             R"(", "siblings": [{"rfilename": ")" + name + R"("}]})",
                         {},
                         {}};
    };
    ExpectError(Error::Kind::kFormat, "names a file that is none", [&] { Pull("org/model"); });
  }
  EXPECT_FALSE(fs::exists(Repo()));
}

TEST_F(HubTest, UsesTheCacheOffline) {
  settings_.offline = true;
  ExpectError(Error::Kind::kIo, "is not in the cache", [&] { Pull("org/model"); });
  EXPECT_THAT(hub_->hub_log(), IsEmpty());
  settings_.offline = false;
  Pull("org/model");
  const size_t asked = hub_->hub_log().size();
  settings_.offline = true;
  ExpectWholeModel(Pull("org/model"));
  ExpectWholeModel(Pull(std::string("org/model@") + FakeHub::kCommit));
  ExpectError(Error::Kind::kUsage, "the cache has no file or quantization 'Q8_0'",
              [&] { Pull("org/model:Q8_0"); });
  EXPECT_EQ(hub_->hub_log().size(), asked);
}

TEST_F(HubTest, UsesTheCacheWhereTheHubIsAway) {
  Pull("org/model");
  settings_.endpoint = "http://127.0.0.1:1";
  Notes notes;
  ExpectWholeModel(Pull("org/model", &notes));
  ASSERT_EQ(notes.notes.size(), 1u);
  EXPECT_THAT(notes.notes[0], HasSubstr("cannot be fetched from http://127.0.0.1:1"));
  ExpectError(Error::Kind::kIo, "cannot be fetched", [&] { Pull("org/other"); });
}

// A process that is fetching the same file holds its lock; when it is done there is nothing to do.
TEST_F(HubTest, TwoAtOnceFetchOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> fetched{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (const auto& file : Pull("org/model").files) {
        fetched += file.name == "model.safetensors" && file.fetched;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fetched, 1);
  ExpectWholeModel(Pull("org/model"));
}

TEST_F(HubTest, WaitsForTheLockAndCanBeStopped) {
  HubCache(settings_.cache, "org/model").Prepare();
  const CacheLock held(HubCache(settings_.cache, "org/model").LockFile(WeightsEtag()), nullptr,
                       nullptr);
  class Stopped : public Notes {
   public:
    bool Cancelled() override { return !notes.empty(); }
  } notes;
  const auto error = Caught([&] { Pull("org/model:model.safetensors", &notes); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Error::Kind::kCancelled);
  EXPECT_THAT(notes.notes, ElementsAre(HasSubstr("waits for another download")));
}

TEST_F(HubTest, AFullDiskKeepsWhatHasCome) {
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{500'000, old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const auto error = Caught([&] { Pull("org/model"); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, handler);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Error::Kind::kIo);
  EXPECT_THAT(error->what(), HasSubstr(".incomplete: cannot write"));
  EXPECT_FALSE(fs::exists(Repo() / "refs" / "main"));
  ExpectWholeModel(Pull("org/model"));
}

TEST_F(HubTest, ReadsTheEnvironment) {
  const auto with = [&](std::map<std::string, std::string> variables) {
    for (const char* name : {"HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
                             "XDG_CACHE_HOME", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
                             "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN"}) {
      ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    return HubSettingsFromEnvironment();
  };
  const std::string old_home = ::getenv("HOME") == nullptr ? "" : ::getenv("HOME");
  const std::string home = folder_.path();
  ::setenv("HOME", home.c_str(), 1);
  HubSettings settings = with({});
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.cache, home + "/.cache/huggingface/hub");
  EXPECT_EQ(settings.token, "");
  EXPECT_FALSE(settings.offline);
  fs::create_directories(home + "/.cache/huggingface");
  std::ofstream(home + "/.cache/huggingface/token") << "hf_file\n";
  EXPECT_EQ(with({}).token, "hf_file");
  EXPECT_EQ(with({{"HF_TOKEN", " hf_variable\n"}}).token, "hf_variable");
  EXPECT_EQ(with({{"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}}).token, "");
  EXPECT_EQ(with({{"XDG_CACHE_HOME", "/x"}}).cache, "/x/huggingface/hub");
  EXPECT_EQ(with({{"HF_HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}}).cache, "/h/hub");
  EXPECT_EQ(with({{"HF_HUB_CACHE", "/c"}, {"HF_HOME", "/h"}}).cache, "/c");
  EXPECT_EQ(with({{"HF_ENDPOINT", "https://mirror/"}}).endpoint, "https://mirror");
  EXPECT_TRUE(with({{"HF_HUB_OFFLINE", "true"}}).offline);
  EXPECT_FALSE(with({{"HF_HUB_OFFLINE", "0"}}).offline);
  ExpectError(Error::Kind::kUsage, "HF_ENDPOINT", [&] { with({{"HF_ENDPOINT", "ftp://x"}}); });
  ExpectError(Error::Kind::kUsage, "HF_TOKEN: holds no token", [&] {
    with({{"HF_TOKEN", "a\r\nX-Evil: 1"}});
  });
  with({});
  ::setenv("HOME", old_home.c_str(), 1);
}

}  // namespace
}  // namespace halftone
