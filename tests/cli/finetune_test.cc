// halftone finetune and merge as a person uses them: data of all kinds, what is written,
// interrupts, bad input.

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/cli/terminal.h"
#include "tests/cli/tiny_model.h"

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

TEST_F(FinetuneCliTest, StopsWhereTheLossIsNoNumber) {
  Arguments arguments = Finetune(Text(), "adapter");
  arguments[std::ranges::find(arguments, "--lr") - arguments.begin() + 1] = "10";
  arguments.insert(arguments.end(), {"--alpha", "1e18", "--clip", "0", "--warmup", "0"});
  Refuses(arguments, 1, "training went astray");
  EXPECT_TRUE(Exists("adapter.partial"));
}

TEST_F(FinetuneCliTest, ResumesToTheSameBytesAfterAnInterrupt) {
  const std::string text = Text();
  const auto with_steps = [&](const std::string& output) {
    Arguments arguments = Finetune(text, output);
    arguments[std::ranges::find(arguments, "--steps") - arguments.begin() + 1] = "800";
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
  EXPECT_EQ(Json(resumed)["points"].size(), 800u);
  EXPECT_TRUE(ReadBytes(Path("adapter/adapter_model.safetensors")) ==
              ReadBytes(Path("whole/adapter_model.safetensors")));
  EXPECT_FALSE(Exists("adapter.partial"));
}

}  // namespace
}  // namespace halftone
