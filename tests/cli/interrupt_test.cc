// Ctrl-C, kill and readers that go away: whatever was half written disappears, what was there
// before stays, and the shell learns which signal it was.

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::MatchesRegex;
using testing::StartsWith;

using Arguments = std::vector<std::string>;

class InterruptTest : public TinyModelTest {
 protected:
  // A model of many tensors, which takes a while.
  std::string LargeModel() const {
    TinyModel large;
    large.layers = 12;
    return Write("large.gguf", large.Bytes());
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  bool Writing() const {
    return std::ranges::any_of(
        Names(), [](const std::string& name) { return name.find(".part-") != std::string::npos; });
  }

  // Runs until it is writing out.gguf, then sends the signal. A machine may be so busy that the
  // program is done before the signal comes: then anew, from what was there before.
  Finished InterruptWriting(const Arguments& arguments, int signal) const {
    const std::string before = Exists("out.gguf") ? ReadBytes(Path("out.gguf")) : "";
    Finished run;
    for (int attempt = 0; attempt < 20; ++attempt) {
      bool sent = false;
      RunOptions options;
      options.meanwhile = [&](pid_t child) {
        if (!sent && Writing()) sent = ::kill(child, signal) == 0;
      };
      run = Halftone(arguments, options);
      if (!Exists("out.gguf") || !ReadBytes(Path("out.gguf")).starts_with("GGUF")) return run;
      fs::remove(Path("out.gguf"));
      if (!before.empty()) Write("out.gguf", before);
    }
    ADD_FAILURE() << "was never interrupted";
    return run;
  }
};

TEST_F(InterruptTest, LeavesNoHalfWrittenModel) {
  const std::string large = LargeModel();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    SCOPED_TRACE(signal);
    const auto before = Names();
    const Finished run = InterruptWriting(
        {"quantize", large, "-o", Path("out.gguf"), "--grid", "q2_k", "--threads", "1"}, signal);
    EXPECT_EQ(run.signal, signal);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.err, "halftone: error: " + Path("out.gguf") + ": cancelled\n");
    EXPECT_EQ(Names(), before);
  }
}

TEST_F(InterruptTest, KeepsTheOldModel) {
  const std::string large = LargeModel();
  Write("out.gguf", "old");
  const auto before = Names();
  InterruptWriting({"quantize", large, "-o", Path("out.gguf"), "--grid", "q2_k"}, SIGINT);
  EXPECT_EQ(Names(), before);
  EXPECT_EQ(ReadBytes(Path("out.gguf")), "old");
  // Nothing can clean up after this one, but the name stays free of half a model.
  InterruptWriting({"quantize", large, "-o", Path("out.gguf"), "--grid", "q2_k"}, SIGKILL);
  EXPECT_EQ(ReadBytes(Path("out.gguf")), "old");
}

// Error feedback takes hours on a large model: what is finished is kept, named, and taken up again
// for the same bytes.
TEST_F(InterruptTest, ResumesLongQuantizations) {
  TinyModel model;
  model.layers = 4;
  const std::string file = Write("long.gguf", model.Bytes());
  const std::string text = Write("calibration.txt", TinyText(3000));
  const auto command = [&](const std::string& output) {
    return Arguments{"quantize", file,   "-o",        Path(output), "--grid",        "q4_0",
                     "--method", "gptq", "--context", "256",        "--calibration", text};
  };
  const auto finished = [&] {
    int tensors = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(Path("out.gguf.partial"), error)) {
      tensors += entry.path().extension() == ".tensor";
    }
    return tensors;
  };
  Finished run;
  int kept = 0;
  for (int attempt = 0; attempt < 20 && run.signal == 0; ++attempt) {
    RunOptions options;
    bool sent = false;
    options.meanwhile = [&](pid_t child) {
      if (!sent && finished() >= 8) sent = ::kill(child, SIGINT) == 0;
    };
    run = Halftone(command("out.gguf"), options);
    kept = finished();
  }
  ASSERT_EQ(run.signal, SIGINT) << run.err;
  EXPECT_FALSE(Exists("out.gguf"));
  EXPECT_FALSE(Writing());
  EXPECT_GE(kept, 8);
  EXPECT_THAT(run.err, AllOf(HasSubstr(std::to_string(kept) + " finished tensors are kept in " +
                                       Path("out.gguf.partial")),
                             HasSubstr("--resume")));

  Arguments resume = command("out.gguf");
  resume.push_back("--resume");
  EXPECT_EQ(Halftone(resume).code, 0);
  EXPECT_FALSE(Exists("out.gguf.partial"));
  EXPECT_EQ(Halftone(command("whole.gguf")).code, 0);
  EXPECT_TRUE(ReadBytes(Path("out.gguf")) == ReadBytes(Path("whole.gguf")));
}

// Long work that writes only at its end.
TEST_F(InterruptTest, StopsLongWork) {
  const std::string text = Write("long.txt", TinyText(300'000));
  const std::vector<Arguments> commands = {
      {"imatrix", model_, "--text", text, "-o", Path("out.gguf")},
      {"evaluate", model_, "--text", text, "--reference", model_},
      {"bench", model_, "-r", "1000"},
      {"compare", model_, "--text", text, "--chunks", "0", "--grids", "q4_0", "-o", Path("report")},
      {"run", model_, "-p", "the", "-n", "1000000", "--context", "1000000", "--temp", "0"}};
  for (const Arguments& command : commands) {
    SCOPED_TRACE(command[0]);
    Arguments slowly = command;
    slowly.insert(slowly.end(), {"--threads", "1"});
    RunOptions options;
    int calls = 0;
    options.meanwhile = [&](pid_t child) {
      if (++calls == 400) ::kill(child, SIGINT);  // after 0.2 s
    };
    const Finished run = Halftone(slowly, options);
    EXPECT_EQ(run.signal, SIGINT) << "code " << run.code << ", " << run.err;
    EXPECT_FALSE(Exists("out.gguf"));
  }
  // The folder for the report remains, empty.
  EXPECT_TRUE(!Exists("report") || fs::is_empty(Path("report")));
}

// A second one does not wait for the work to end.
TEST_F(InterruptTest, ASecondOneEndsAtOnce) {
  const std::string text = Write("long.txt", TinyText(300'000));
  int calls = 0;
  RunOptions options;
  options.meanwhile = [&](pid_t child) {
    // Again and again: two that come at once count as one.
    if (++calls >= 400 && calls % 20 == 0) ::kill(child, SIGINT);
  };
  // One chunk only, within which it is seldom asked whether to go on.
  const Finished run = Halftone({"imatrix", model_, "--text", text, "-o", Path("out.gguf"),
                                 "--context", "20000", "--chunks", "1", "--threads", "1"},
                                options);
  EXPECT_EQ(run.signal, SIGINT);
  EXPECT_FALSE(Exists("out.gguf"));
}

// As nohup wishes.
TEST_F(InterruptTest, IgnoresWhatWasIgnoredBefore) {
  const std::string command = "trap '' HUP; '" + ProgramPath() + "' quantize '" + model_ +
                              "' -o '" + Path("out.gguf") + "' --grid q2_k > /dev/null 2>&1 & " +
                              "child=$!; kill -HUP $child; wait $child";
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_TRUE(Exists("out.gguf"));
}

// `halftone inspect model | head -1`: no message, and no more work.
TEST_F(InterruptTest, EndsQuietlyWhenTheReaderIsGone) {
  for (const std::string& command :
       {"inspect '" + model_ + "'",
        "run '" + model_ + "' -p the -n 1000000 --context 1000000 --temp 0"}) {
    const std::string line = "{ '" + ProgramPath() + "' " + command + " 2> '" + Path("err") +
                             "'; echo $? > '" + Path("code") + "'; } | head -c 1 > /dev/null";
    EXPECT_EQ(std::system(line.c_str()), 0);
    const std::string code = ReadBytes(Path("code"));
    // All may have been written before the reader went.
    EXPECT_TRUE(code == std::to_string(128 + SIGPIPE) + "\n" || code == "0\n") << code;
    EXPECT_EQ(ReadBytes(Path("err")).find("error"), std::string::npos);
  }
}

}  // namespace
}  // namespace halftone
