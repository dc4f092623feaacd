// Models of the hub through the program: pull, and every other command that is given such a name.

#include <gmock/gmock.h>

#include <map>

#include "halftone/support.h"
#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/fake_hub.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;

class PullTest : public TinyModelTest {
 protected:
  PullTest()
      : hub_({{"tiny-F32.gguf", {ReadBytes(model_), true}},
              {"README.md", {"# A tiny model", false}}}) {}
  void SetUp() override {
    if (Run({"pull", "org/model"}).err.find("without libcurl") != std::string::npos) {
      GTEST_SKIP() << "built without libcurl";
    }
    fs::remove_all(Path("cache"));
  }

  std::map<std::string, std::string> Environment() const {
    return {{"HF_ENDPOINT", hub_.url()}, {"HF_HUB_CACHE", Path("cache")},
            {"HF_HOME", Path("home")},   {"HF_TOKEN", ""},
            {"HF_HUB_OFFLINE", ""},      {"http_proxy", ""}};
  }
  Finished Run(const std::vector<std::string>& arguments, RunOptions options = {}) const {
    options.environment.merge(Environment());
    return Halftone(arguments, options);
  }
  fs::path Snapshot() const {
    return fs::path(Path("cache")) / "models--org--model" / "snapshots" / FakeHub::kCommit;
  }

  FakeHub hub_;
};

TEST_F(PullTest, PrintsWhereTheModelLies) {
  const Finished run = Run({"pull", "org/model:F32"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, (Snapshot() / "tiny-F32.gguf").string() + "\n");
  EXPECT_TRUE(ReadBytes(Snapshot() / "tiny-F32.gguf") == ReadBytes(model_));
  const Finished again = Run({"pull", "org/model", "--json"});
  const auto json = nlohmann::json::parse(again.out);
  EXPECT_EQ(json["repository"], "org/model");
  EXPECT_EQ(json["revision"], "main");
  EXPECT_EQ(json["commit"], FakeHub::kCommit);
  EXPECT_EQ(json["path"], (Snapshot() / "tiny-F32.gguf").string());
  EXPECT_EQ(json["bytes"], Size("model.gguf"));
  EXPECT_EQ(json["fetched_bytes"], 0);
  EXPECT_EQ(json["files"][0]["name"], "tiny-F32.gguf");
}

// What a command makes of the hub's name and of the file itself must be the same.
TEST_F(PullTest, EveryCommandTakesTheName) {
  const std::vector<std::vector<std::string>> commands = {
      {"run", "MODEL", "-p", "the", "-n", "8", "--temp", "0"},
      {"tokenize", "MODEL", "--text", "the end"},
      {"inspect", "MODEL", "--tensor", "output_norm.weight"},
      {"evaluate", "MODEL", "--text", text_, "--reference", "MODEL", "--threads", "1"},
      {"bench", "MODEL", "-p", "8", "-n", "2", "-r", "1", "--json"},
      {"plan", "MODEL", "--memory", "1GB", "--json"},
      {"imatrix", "MODEL", "--text", text_, "-o", Path("out.gguf")},
      {"quantize", "MODEL", "-o", Path("out.gguf"), "--grid", "q8_0"},
      {"convert", "MODEL", "-o", Path("out.gguf")}};
  const auto with = [&](std::vector<std::string> arguments, const std::string& model) {
    for (std::string& argument : arguments) {
      if (argument == "MODEL") argument = model;
    }
    fs::remove(Path("out.gguf"));
    const Finished run = Run(arguments);
    EXPECT_EQ(run.code, 0) << arguments[0] << ": " << run.err;
    return Exists("out.gguf") ? ReadBytes(Path("out.gguf")) : run.out;
  };
  for (const auto& command : commands) {
    const std::string remote = with(command, "org/model");
    if (command[0] == "bench" || command[0] == "plan") continue;  // times, and the path itself
    EXPECT_TRUE(remote == with(command, model_)) << command[0];
  }
}

// A folder in the cache has a commit for its name; the model keeps its own.
TEST_F(PullTest, AFolderBecomesAFileThatIsNamedLikeTheRepository) {
  ASSERT_EQ(Run({"convert", model_, "-o", Path("folder"), "--container", "safetensors"}).code, 0);
  std::map<std::string, FakeHub::File> files;
  for (const auto& entry : fs::directory_iterator(Path("folder"))) {
    const std::string name = entry.path().filename();
    files[name] = {ReadBytes(entry.path()), name.ends_with(".safetensors")};
  }
  const FakeHub hub(files, "someone/Tiny-1.0");
  RunOptions options;
  options.environment = {{"HF_ENDPOINT", hub.url()}};
  const Finished run = Run({"convert", "someone/Tiny-1.0", "-o", Path("out.gguf")}, options);
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(Run({"inspect", Path("out.gguf")}).out.find("Tiny-1.0\n"), std::string::npos);
}

TEST_F(PullTest, APathIsAPath) {
  fs::create_directories(fs::path(Path("org")));
  RunOptions here;
  here.folder = folder_.path();
  // A folder "org" is here: what is meant is a file in it that is missing.
  const Finished run = Run({"inspect", "org/model"}, here);
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.err, "halftone: error: org/model: no such file or folder\n");
  EXPECT_EQ(Run({"inspect", "elsewhere/model.gguf"}).err,
            "halftone: error: elsewhere/model.gguf: no such file or folder\n");
  // pull means the hub.
  EXPECT_EQ(Run({"pull", "org/model"}, here).code, 0);
  const Finished odd = Run({"pull", "model.gguf"});
  EXPECT_EQ(odd.code, 2);
  EXPECT_THAT(odd.err, HasSubstr("ORG/NAME[:FILE][@REVISION]"));
}

TEST_F(PullTest, FailsInOneLine) {
  const auto message = [&](const std::string& model, int code) {
    const Finished run = Run({"pull", model});
    EXPECT_EQ(run.code, code) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, MatchesRegex("halftone: error: [^\n]*\n"));
    return run.err;
  };
  EXPECT_THAT(message("org/model:q1", 2), HasSubstr("there are: tiny-F32.gguf"));
  EXPECT_THAT(message("org/other", 1), HasSubstr("no such model"));
  EXPECT_THAT(message("org/model@v9", 1), HasSubstr("there is no revision 'v9'"));
}

TEST_F(PullTest, SendsTheTokenThatLiesInItsFile) {
  fs::create_directories(Path("home"));
  folder_.Write("home/token", "hf_from_file\n");
  const size_t before = hub_.hub_log().size();  // SetUp's came without
  EXPECT_EQ(Run({"pull", "org/model"}).code, 0);
  const auto log = hub_.hub_log();
  EXPECT_GE(log.size(), before + 3);
  for (size_t i = before; i < log.size(); ++i) {
    EXPECT_EQ(log[i].Header("authorization"), "Bearer hf_from_file") << log[i].path;
  }
  for (const ServerRequest& request : hub_.cdn_log()) {
    EXPECT_EQ(request.Header("authorization"), "");
  }
}

TEST_F(PullTest, AFullDiskIsOneLine) {
  RunOptions options;
  options.largest_file = 100'000;
  const Finished run = Run({"pull", "org/model"}, options);
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.err, AllOf(MatchesRegex("halftone: error: [^\n]*\n"), HasSubstr("cannot write")));
  EXPECT_EQ(Run({"pull", "org/model"}).code, 0);
  EXPECT_TRUE(ReadBytes(Snapshot() / "tiny-F32.gguf") == ReadBytes(model_));
}

// Killed in the middle, by Ctrl-C or for good: the next run goes on.
TEST_F(PullTest, GoesOnAfterItWasKilled) {
  for (const int signal : {SIGINT, SIGKILL}) {
    fs::remove_all(Path("cache"));
    // Everything but the first half hangs until the connection goes.
    std::atomic<bool> slow{true};
    const size_t half = Size("model.gguf") / 2;
    hub_.cdn_hook = [&](const ServerRequest&) -> std::optional<ServerReply> {
      if (!slow) return std::nullopt;
      ServerReply reply{206, {}, ReadBytes(model_), {}, {}};
      reply.headers.push_back("Content-Range: bytes 0-" + std::to_string(reply.body.size() - 1) +
                              "/" + std::to_string(reply.body.size()));
      reply.cut = half;
      slow = false;
      return reply;
    };
    hub_.hub_hook = [&](const ServerRequest& request) -> std::optional<ServerReply> {
      // The second half is asked for after the first was cut, and has to wait.
      if (request.method == "GET" && !slow && request.path.find("resolve") != std::string::npos) {
        return ServerReply{503, {"Retry-After: 60"}, "", {}, {}};
      }
      return std::nullopt;
    };
    RunOptions options;
    int calls = 0;
    options.meanwhile = [&](pid_t child) {
      if (!slow && ++calls == 200) ::kill(child, signal);
    };
    const Finished run = Run({"pull", "org/model"}, options);
    EXPECT_EQ(run.signal, signal) << run.err;
    EXPECT_FALSE(fs::exists(Snapshot() / "tiny-F32.gguf"));
    hub_.hub_hook = nullptr;
    hub_.cdn_hook = nullptr;
    const size_t before = hub_.cdn_log().size();
    EXPECT_EQ(Run({"pull", "org/model"}).code, 0);
    EXPECT_TRUE(ReadBytes(Snapshot() / "tiny-F32.gguf") == ReadBytes(model_));
    if (signal == SIGINT) {
      // What had come was written down.
      EXPECT_THAT(hub_.cdn_log().at(before).Header("range"),
                  testing::StartsWith("bytes=" + std::to_string(half) + "-"));
    }
  }
}

TEST_F(PullTest, RunsFromTheCacheOffline) {
  RunOptions offline;
  offline.environment = {{"HF_HUB_OFFLINE", "1"}};
  EXPECT_THAT(Run({"pull", "org/model"}, offline).err, HasSubstr("HF_HUB_OFFLINE forbids"));
  EXPECT_EQ(Run({"pull", "org/model"}).code, 0);
  const size_t asked = hub_.hub_log().size();
  EXPECT_EQ(Run({"run", "org/model", "-p", "the", "-n", "4"}, offline).code, 0);
  EXPECT_EQ(hub_.hub_log().size(), asked);
}

}  // namespace
}  // namespace halftone
