// halftone finetune and merge as a person uses them: data of all kinds, what is written,
// interrupts, bad input.

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/cli/terminal.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;
using Arguments = std::vector<std::string>;
using testing::HasSubstr;

class FinetuneCliTest : public TinyModelTest {
 protected:
  Arguments Finetune(const std::string& data, const std::string& output) const {
    return {"finetune", model_, "--data",  data, "-o",     Path(output), "--context", "48",
            "--steps",  "6",    "--batch", "2",  "--rank", "4",          "--lr",      "0.01"};
  }
  std::string Text() const { return Write("data.txt", TinyText(3000)); }
  void Refuses(const Arguments& arguments, int code, const std::string& part) const {
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, code) << run.err;
    EXPECT_THAT(run.err, HasSubstr(part));
    EXPECT_FALSE(Exists("adapter"));
  }
};

TEST_F(FinetuneCliTest, WritesWhatPeftAndLlamaCppLoad) {
  Arguments arguments = Finetune(Text(), "adapter");
  arguments.insert(arguments.end(), {"--held-out-share", "0.2"});
  const json report = Json(arguments);
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "adapter.gguf",
                           "loss.svg", "training.json"}) {
    EXPECT_TRUE(Exists(std::string("adapter/") + file)) << file;
  }
  EXPECT_FALSE(Exists("adapter.partial"));
  EXPECT_EQ(report["points"].size(), 6u);
  EXPECT_EQ(report["held_out"].front()["step"], 0);
  EXPECT_EQ(report["held_out"].back()["step"], 6);
  EXPECT_LT(report["held_out"].back()["loss"], report["held_out"].front()["loss"]);

  // The adapter beside the weights changes what the model says; merged into f16 it says the same.
  const std::string text = Write("evaluation.txt", TinyText(2000));
  const auto evaluate = [&](const Arguments& more) {
    Arguments all = {"evaluate", "--text", text, "--context", "32"};
    all.insert(all.end(), more.begin(), more.end());
    return Json(all);
  };
  EXPECT_GT(evaluate({model_, "--adapter", Path("adapter"), "--reference", model_})["kld_mean"],
            1e-4);
  const json merged =
      Json({"merge", model_, "--adapter", Path("adapter/adapter.gguf"), "-o", Path("merged.gguf"),
            "--text", text, "--context", "32", "--compare", "q8_0,same"});
  ASSERT_EQ(merged["choices"].size(), 3u);
  EXPECT_EQ(merged["choices"][0]["grid"], "f16");
  EXPECT_LT(merged["choices"][0]["kld_mean"], 1e-5);
  EXPECT_LT(evaluate({Path("merged.gguf"), "--reference", model_, "--reference-adapter",
                      Path("adapter")})["kld_mean"],
            1e-5);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(Path(""))) {
    files += entry.path().string().find("compared") != std::string::npos;
  }
  EXPECT_EQ(files, 0) << "a measured choice was left";
}

TEST_F(FinetuneCliTest, MergesIntoOffsetsWhatWasTrainedToBeMergeable) {
  const std::string base = Path("base.gguf"), text = Write("evaluation.txt", TinyText(2000));
  ASSERT_EQ(Halftone({"quantize", model_, "-o", base, "--grid", "q4_1"}).code, 0);
  for (const std::string name : {"usual", "mergeable"}) {
    Arguments arguments = Finetune(Text(), name);
    arguments[1] = base;
    if (name == "mergeable") arguments.insert(arguments.end(), {"--mergeable", "--optimizer-8bit"});
    ASSERT_EQ(Halftone(arguments).code, 0);
  }
  const auto merge = [&](const std::string& adapter) {
    return Json({"merge", base, "--adapter", Path(adapter), "-o", Path(adapter + ".gguf"), "--grid",
                 "same", "--compare", "none", "--text", text, "--context", "32"})["choices"][0];
  };
  const json usual = merge("usual"), moved = merge("mergeable");
  EXPECT_EQ(usual["moved"], 0);
  EXPECT_GT(moved["moved"], 0);
  EXPECT_EQ(moved["file_bytes"], usual["file_bytes"]);
  EXPECT_GT(usual["kld_mean"], 1e-3);
  EXPECT_LT(moved["kld_mean"], 1e-5);

  Arguments plain = Finetune(Text(), "adapter");
  plain.push_back("--mergeable");
  Refuses(plain, 2, "no matrix is on a grid whose groups have an offset");
  Arguments on = Finetune(Text(), "adapter");
  on[1] = base;
  on.insert(on.end(), {"--mergeable", "--adapter", Path("usual")});
  Refuses(on, 2, "was not trained to be mergeable");
}

TEST_F(FinetuneCliTest, RepeatsItselfWithAnyNumberOfThreads) {
  const std::string text = Text();
  for (const std::string threads : {"1", "3"}) {
    Arguments arguments = Finetune(text, "adapter" + threads);
    arguments.insert(arguments.end(), {"--threads", threads, "--optimizer-8bit"});
    ASSERT_EQ(Halftone(arguments).code, 0);
  }
  EXPECT_TRUE(ReadBytes(Path("adapter1/adapter_model.safetensors")) ==
              ReadBytes(Path("adapter3/adapter_model.safetensors")));
}

TEST_F(FinetuneCliTest, TrainsMixturesOfExperts) {
  TinyModel mixture;
  mixture.feed_forward = 64;
  mixture.layers = 2;
  mixture.experts = 4;
  const std::string model = Write("mixture.gguf", mixture.Bytes()), text = Text();
  for (const std::string checkpointing : {"on", "off"}) {
    Arguments arguments = Finetune(text, checkpointing);
    arguments[1] = model;
    arguments.insert(arguments.end(), {"--load-in-4bit", "--checkpointing", checkpointing});
    const json report = Json(arguments);
    EXPECT_EQ(report["trained"], 2 * 4 * (2 * 512 + 2 * 384 + (256 + 4) + 4 * 3 * (256 + 64)));
    EXPECT_LT(report["points"].back()["loss"], report["points"].front()["loss"]);
  }
  EXPECT_TRUE(ReadBytes(Path("on/adapter_model.safetensors")) ==
              ReadBytes(Path("off/adapter_model.safetensors")));
  for (const std::string adapter : {"on", "on/adapter.gguf"}) {
    const json merged = Json({"merge", model, "--adapter", Path(adapter), "-o",
                              Path("merged-" + std::to_string(adapter.size()) + ".gguf"), "--text",
                              text, "--context", "32", "--compare", "q8_0"});
    EXPECT_LT(merged["choices"][0]["kld_mean"], 1e-5);
  }
  Arguments half = Finetune(text, "adapter");
  half[1] = model;
  half.insert(half.end(), {"--target", "q_proj,w1"});
  Refuses(half, 2, "'w1' without 'w3'");
}

TEST_F(FinetuneCliTest, DropsOutAShareOfWhatMeetsTheAdapter) {
  const std::string text = Text();
  for (const std::string rate : {"0", "0.2"}) {
    Arguments arguments = Finetune(text, "adapter" + rate);
    arguments.insert(arguments.end(), {"--dropout", rate});
    ASSERT_EQ(Halftone(arguments).code, 0);
  }
  EXPECT_FALSE(ReadBytes(Path("adapter0/adapter_model.safetensors")) ==
               ReadBytes(Path("adapter0.2/adapter_model.safetensors")));
  Arguments all = Finetune(text, "adapter");
  all.insert(all.end(), {"--dropout", "1"});
  Refuses(all, 2, "--dropout");
}

TEST_F(FinetuneCliTest, LearnsOnlyAnswers) {
  const std::string chats =
      Write("chats.jsonl", R"({"prompt": "a b", "completion": "c d e"})"
                           "\n\n"
                           R"({"messages": [{"role": "user", "content": "x"},)"
                           R"( {"role": "assistant", "content": "y z"}]})"
                           "\n"
                           R"({"text": "a whole text"})"
                           "\n");
  const json report = Json(Finetune(chats, "adapter"));
  EXPECT_EQ(report["examples"], 3);
  EXPECT_EQ(report["dropped"], 0);
}

TEST_F(FinetuneCliTest, SaysWhatIsWrongWithTheData) {
  Refuses(Finetune(Write("bad.jsonl", "{\"text\": \"fine\"}\n{\"text\": 3}\n"), "adapter"), 1,
          "bad.jsonl: line 2: ");
  Refuses(Finetune(Write("broken.jsonl", "{\"text\": \"fine\"}\nnot json\n"), "adapter"), 1,
          "broken.jsonl: line 2: not valid JSON");
  Refuses(Finetune(Write("empty.txt", ""), "adapter"), 2, "holds nothing to train on");
  Refuses(Finetune(Path("missing.txt"), "adapter"), 1, "missing.txt");
  const std::string long_line = Write("long.jsonl", json{{"text", TinyText(2000)}}.dump() + "\n");
  Arguments refusing = Finetune(long_line, "adapter");
  refusing.push_back("--refuse-long");
  Refuses(refusing, 2, "are more than the context of 48");
  // Without the flag it is cut, and that is said.
  const Finished cut = Halftone(Finetune(long_line, "cut"));
  EXPECT_EQ(cut.code, 0);
  EXPECT_THAT(cut.err, HasSubstr("1 of 1 examples were cut at 48 tokens"));
}

TEST_F(FinetuneCliTest, RefusesWhatWouldTrainNothing) {
  Arguments arguments = Finetune(Text(), "adapter");
  arguments.insert(arguments.end(), {"--alpha", "0"});
  Refuses(arguments, 2, "with alpha 0 nothing would be trained");
}

TEST_F(FinetuneCliTest, StopsWhereTheLossIsNoNumber) {
  Arguments arguments = Finetune(Text(), "adapter");
  arguments[std::ranges::find(arguments, "--lr") - arguments.begin() + 1] = "10";
  arguments.insert(arguments.end(), {"--alpha", "1e18", "--clip", "0", "--warmup", "0"});
  Refuses(arguments, 1, "training went astray");
  EXPECT_TRUE(Exists("adapter.partial"));
}

// Nothing can clean up after SIGKILL: whenever it comes, also while a state or the adapter is being
// written, what is on the disk is whole, and leads to the same bytes.
TEST_F(FinetuneCliTest, ResumesToTheSameBytesHoweverOftenItIsKilled) {
  const std::string text = Text();
  const auto command = [&](const std::string& output) {
    Arguments arguments = Finetune(text, output);
    arguments[std::ranges::find(arguments, "--steps") - arguments.begin() + 1] = "24";
    arguments.insert(arguments.end(), {"--save-seconds", "0", "--resume"});
    return arguments;
  };
  ASSERT_EQ(Halftone(command("whole")).code, 0);
  const auto writing = [&](const std::string& name) {
    for (const auto& entry : fs::directory_iterator(Path(""))) {
      if (entry.path().filename().string().starts_with(name)) return true;
    }
    return false;
  };
  std::mt19937 random(1);
  int killed = 0, killed_writing_state = 0, killed_writing_adapter = 0;
  for (int round = 0; round < 18; ++round) {
    SCOPED_TRACE(round);
    const std::string output = "adapter" + std::to_string(round);
    for (int kills = 0; kills < 3; ++kills) {
      // At any time, while a state is written for the n-th time, or while the adapter is.
      int left = static_cast<int>(random() % (round % 3 == 0 ? 400 : 6));
      bool there = false;
      RunOptions options;
      options.meanwhile = [&](pid_t child) {
        const bool before = there;
        there = round % 3 == 0 || writing(output + (round % 3 == 1 ? ".partial.part-" : ".part"));
        const bool news = there && (round % 3 == 0 || !before);
        if (news && (round % 3 == 2 || left-- <= 0)) ::kill(child, SIGKILL);
      };
      const Finished run = Halftone(command(output), options);
      if (run.signal != SIGKILL) {
        EXPECT_EQ(run.code, 0) << run.err;
        break;
      }
      ++killed;
      killed_writing_state += round % 3 == 1;
      killed_writing_adapter += round % 3 == 2 && !Exists(output);
      EXPECT_TRUE(!Exists(output) || Exists(output + "/training.json"));
      if (Exists(output)) break;
    }
    if (!Exists(output)) {
      const Finished last = Halftone(command(output));
      ASSERT_EQ(last.code, 0) << last.err;
      EXPECT_FALSE(Exists(output + ".partial"));
    }
    for (const char* file : {"/adapter_model.safetensors", "/adapter_config.json"}) {
      EXPECT_TRUE(ReadBytes(Path(output + file)) == ReadBytes(Path("whole") + file)) << file;
    }
    EXPECT_EQ(json::parse(ReadBytes(Path(output + "/training.json")))["points"].size(), 24u);
  }
  EXPECT_GE(killed, 6);
  EXPECT_GE(killed_writing_state, 1);
  EXPECT_GE(killed_writing_adapter, 1);
}

// Every file that is written meets the end of the disk once. What is there remains: the last state,
// from which the run goes on when there is room, and never half an adapter.
TEST_F(FinetuneCliTest, LosesNothingOnAFullDisk) {
  const std::string disk = Path("disk");
  fs::create_directory(disk);
  if (std::system(("unshare -rm mount -t tmpfs tmpfs '" + disk + "' 2> /dev/null").c_str()) != 0) {
    GTEST_SKIP() << "needs user namespaces with mounts";
  }
  const std::string text = Text();
  ASSERT_EQ(Halftone(Finetune(text, "whole")).code, 0);
  const auto line = [&](const std::string& seconds) {
    std::string text_line = "'" + ProgramPath() + "'";
    Arguments arguments = Finetune(text, "disk/adapter");
    arguments.insert(arguments.end(), {"--save-seconds", seconds, "--resume"});
    for (const std::string& argument : arguments) text_line += " '" + argument + "'";
    return text_line;
  };
  std::set<std::string> full;  // files
  const auto run = [&](int kilobytes, const std::string& seconds) {
    SCOPED_TRACE(kilobytes);
    const std::string script =
        "mount -t tmpfs -o size=" + std::to_string(kilobytes) + "k tmpfs '" + disk +
        "' || exit 99\n" + line(seconds) + " > /dev/null 2> '" + Path("err") + "'; echo $? > '" +
        Path("code") + "'\nls '" + disk + "' > '" + Path("left") + "'\n[ -d '" + disk +
        "/adapter' ] || { mount -o remount,size=8m '" + disk + "' && " + line(seconds) +
        " > /dev/null 2> '" + Path("err2") + "' || exit 98; }\nrm -rf '" + Path("copy") +
        "'\ncp -r '" + disk + "/adapter' '" + Path("copy") + "'\nls '" + disk + "' > '" +
        Path("end") + "'\n";
    Write("script", script);
    ASSERT_EQ(std::system(("unshare -rm sh '" + Path("script") + "'").c_str()), 0)
        << ReadBytes(Path("err2"));
    const std::string err = ReadBytes(Path("err"));
    if (ReadBytes(Path("code")) == "0\n") {
      EXPECT_EQ(ReadBytes(Path("left")), "adapter\n");
    } else {
      EXPECT_EQ(ReadBytes(Path("code")), "1\n");
      EXPECT_THAT(err, testing::MatchesRegex(".*halftone: error: [^\n]*No space left[^\n]*\n"));
      // Nothing but the last state, or nothing where there was no room for the first.
      EXPECT_THAT(ReadBytes(Path("left")), testing::AnyOf("adapter.partial\n", ""));
      const size_t end = err.find(": cannot");
      const size_t slash = err.rfind('/', end);
      full.insert(err.substr(slash + 1, end - slash - 1));
    }
    EXPECT_EQ(ReadBytes(Path("end")), "adapter\n");
    EXPECT_TRUE(ReadBytes(Path("copy/adapter_model.safetensors")) ==
                ReadBytes(Path("whole/adapter_model.safetensors")));
  };
  const auto state =
      static_cast<int>(fs::file_size(Path("whole/adapter_model.safetensors")) * 3 / 1024);
  run(state * 3 / 2, "0");  // the first state fits, the second beside it does not
  EXPECT_THAT(full, testing::ElementsAre("adapter.partial"));
  for (int kilobytes = state / 2; kilobytes < state * 2; kilobytes += 8) {
    run(kilobytes, "1000000");
  }
  for (const char* file : {"adapter.partial", "adapter_model.safetensors", "adapter.gguf"}) {
    EXPECT_TRUE(full.contains(file)) << file;
  }
  EXPECT_GE(full.size(), 4u) << "of the small ones only some meet the end";
}

// Storage only: the numbers are those of the f32 adapter, rounded.
TEST_F(FinetuneCliTest, WritesTheAdapterInBf16) {
  const std::string text = Text();
  ASSERT_EQ(Halftone(Finetune(text, "f32")).code, 0);
  Arguments arguments = Finetune(text, "bf16");
  arguments.insert(arguments.end(), {"--adapter-type", "bf16"});
  ASSERT_EQ(Halftone(arguments).code, 0);
  // Both safetensors files list the same tensors in the same order.
  const auto numbers = [&](const std::string& name) {
    const std::string bytes = ReadBytes(Path(name + "/adapter_model.safetensors"));
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    return bytes.substr(8 + header);
  };
  const std::string wide = numbers("f32"), narrow = numbers("bf16");
  ASSERT_EQ(wide.size(), 2 * narrow.size());
  int64_t wrong = 0;
  for (size_t i = 0; i * 2 < narrow.size(); ++i) {
    float value = 0, read = 0;
    std::memcpy(&value, wide.data() + i * 4, 4);
    uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + 2, narrow.data() + i * 2, 2);
    std::memcpy(&read, &bits, 4);
    wrong += std::fabs(read - value) > std::fabs(value) / 256;  // half of 2^-7
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(fs::file_size(Path("bf16/adapter.gguf")),
            fs::file_size(Path("f32/adapter.gguf")) * 0.6);
  // Beside the model both say nearly the same, from either file.
  for (const char* file : {"bf16", "bf16/adapter.gguf"}) {
    const json report =
        Json({"evaluate", model_, "--adapter", Path(file), "--reference", model_,
              "--reference-adapter", Path("f32"), "--text", text, "--context", "32"});
    EXPECT_LT(report["kld_mean"], 1e-5) << file;
    EXPECT_GT(report["kld_mean"], 0) << file;
  }
}

TEST_F(FinetuneCliTest, ResumesToTheSameBytesAfterAnInterrupt) {
  const std::string text = Text();
  const auto with_steps = [&](const std::string& output) {
    Arguments arguments = Finetune(text, output);
    arguments[std::ranges::find(arguments, "--steps") - arguments.begin() + 1] = "400";
    arguments.insert(arguments.end(), {"--dropout", "0.1"});
    return arguments;
  };
  ASSERT_EQ(Halftone(with_steps("whole")).code, 0);

  Terminal terminal(with_steps("adapter"), {});
  terminal.WaitFor(" %");
  terminal.Type("\x03");
  const Finished stopped = terminal.Wait();
  EXPECT_THAT(stopped.out, HasSubstr("--resume goes on"));
  EXPECT_FALSE(Exists("adapter"));
  ASSERT_TRUE(Exists("adapter.partial"));

  // With other options the state is not taken.
  Arguments other = Finetune(text, "adapter");
  other.push_back("--resume");
  const Finished refused = Halftone(other);
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("another model, data or options"));

  Arguments resumed = with_steps("adapter");
  resumed.push_back("--resume");
  EXPECT_EQ(Json(resumed)["points"].size(), 400u);
  EXPECT_TRUE(ReadBytes(Path("adapter/adapter_model.safetensors")) ==
              ReadBytes(Path("whole/adapter_model.safetensors")));
  EXPECT_FALSE(Exists("adapter.partial"));
}

}  // namespace
}  // namespace halftone
