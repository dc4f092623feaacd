// A complete small llama, laid out by hand with no code of the library: random weights and a
// SentencePiece vocabulary of bytes, letters and a few words. It talks nonsense, but everything
// that a user does with a model can be done with it, in milliseconds.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/testing/byte_builder.h"
#include "tests/testing/temp_folder.h"

namespace halftone {

struct TinyModel {
  std::string architecture = "llama";
  int64_t width = 256;  // so that every grid's blocks fit
  int64_t feed_forward = 256;
  int64_t layers = 1;
  int64_t experts = 0;  // of which each token uses two
  bool chat_template = true;
  // Makes all tokens equally likely, for values that are known without running anything.
  bool uniform = false;
  // Rows of the embedding and of the output beyond the tokens', whose logits are the largest.
  int64_t padding = 0;

  static constexpr int64_t kContext = 256;

  // The tokens: 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then kPieces.
  static constexpr const char* kPieces[] = {
      "▁", "a", "b",  "c",  "d",    "e",  "f",  "g",  "h",  "i",  "j",  "k",  "l",  "m",   "n",
      "o", "p", "q",  "r",  "s",    "t",  "u",  "v",  "w",  "x",  "y",  "z",  ".",  ",",   "'",
      "1", "2", "▁t", "he", "▁the", "in", "er", "an", "▁a", "nd", "on", "ou", "▁s", "ing", "▁w"};
  static constexpr int32_t kFirstPiece = 259;
  static constexpr int64_t kVocabulary = kFirstPiece + std::size(kPieces);

  static int32_t Piece(std::string_view text) {
    for (size_t i = 0; i < std::size(kPieces); ++i) {
      if (kPieces[i] == text) return kFirstPiece + static_cast<int32_t>(i);
    }
    ADD_FAILURE() << "no piece " << text;
    return -1;
  }

  // The tensors' names and shapes, outermost dimension first.
  std::vector<std::pair<std::string, std::vector<int64_t>>> Tensors() const {
    std::vector<std::pair<std::string, std::vector<int64_t>>> tensors = {
        {"token_embd", {kVocabulary + padding, width}},
        {"output_norm", {width}},
        {"output", {kVocabulary + padding, width}}};
    for (int64_t layer = 0; layer < layers; ++layer) {
      const std::string prefix = "blk." + std::to_string(layer) + ".";
      tensors.push_back({prefix + "attn_norm", {width}});
      tensors.push_back({prefix + "attn_q", {width, width}});
      tensors.push_back({prefix + "attn_k", {width / 2, width}});
      tensors.push_back({prefix + "attn_v", {width / 2, width}});
      tensors.push_back({prefix + "attn_output", {width, width}});
      tensors.push_back({prefix + "ffn_norm", {width}});
      if (experts > 0) {
        tensors.push_back({prefix + "ffn_gate_inp", {experts, width}});
        tensors.push_back({prefix + "ffn_gate_exps", {experts, feed_forward, width}});
        tensors.push_back({prefix + "ffn_up_exps", {experts, feed_forward, width}});
        tensors.push_back({prefix + "ffn_down_exps", {experts, width, feed_forward}});
        continue;
      }
      tensors.push_back({prefix + "ffn_gate", {feed_forward, width}});
      tensors.push_back({prefix + "ffn_up", {feed_forward, width}});
      tensors.push_back({prefix + "ffn_down", {width, feed_forward}});
    }
    return tensors;
  }

  // The values of a tensor: norms are 1, the rest is noise that depends on the name alone.
  std::vector<float> Values(const std::string& name, int64_t count) const {
    std::vector<float> values(static_cast<size_t>(count), 1.0f);
    if (name.ends_with("norm")) return values;
    uint32_t seed = 2166136261u;
    for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
    std::minstd_rand random(seed);
    for (float& value : values) {
      value = (static_cast<float>(random() % 65536) - 32767.5f) * 0x1p-18f;
      if (uniform && name == "output") value = 0;
    }
    for (size_t i = kVocabulary * width; i < values.size() && name == "output"; ++i) {
      values[i] *= 1000;
    }
    return values;
  }

  // The file up to the tensors' data.
  std::string Head() const {
    const auto tensors = Tensors();
    ByteBuilder keys;
    const uint64_t count = AddKeys(keys);
    ByteBuilder file;
    file.Gguf(tensors.size(), count).Raw(keys);
    uint64_t offset = 0;
    for (const auto& [name, shape] : tensors) {
      file.Text(name + ".weight").U32(static_cast<uint32_t>(shape.size()));
      for (size_t d = shape.size(); d-- > 0;) file.U64(static_cast<uint64_t>(shape[d]));
      file.U32(0).U64(offset);  // f32
      offset += DataBytes(shape);
    }
    return file.PadTo(kAlignment).bytes();
  }

  // The whole file, all tensors in f32.
  std::string Bytes() const {
    ByteBuilder file;
    file.Raw(Head());
    for (const auto& [name, shape] : Tensors()) {
      file.PadTo(kAlignment);
      const auto values = Values(name, static_cast<int64_t>(Count(shape)));
      file.Raw({reinterpret_cast<const char*>(values.data()), values.size() * 4});
    }
    return file.PadTo(kAlignment).bytes();
  }

  // The file with zeros for all data, as a hole: it takes no room on the disk.
  void WriteSparse(const std::filesystem::path& path) const {
    std::ofstream(path, std::ios::binary) << Head();
    uint64_t bytes = std::filesystem::file_size(path);
    for (const auto& [name, shape] : Tensors()) bytes += DataBytes(shape);
    std::filesystem::resize_file(path, bytes);
  }

  static uint64_t Count(const std::vector<int64_t>& shape) {
    uint64_t count = 1;
    for (const int64_t extent : shape) count *= static_cast<uint64_t>(extent);
    return count;
  }

 private:
  static constexpr size_t kAlignment = 32;

  static uint64_t DataBytes(const std::vector<int64_t>& shape) {
    return (Count(shape) * 4 + kAlignment - 1) / kAlignment * kAlignment;
  }

  // The metadata; returns how many keys there are.
  uint64_t AddKeys(ByteBuilder& file) const {
    enum : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9 };
    uint64_t count = 0;
    const auto key = [&](const std::string& name, uint32_t type) -> ByteBuilder& {
      ++count;
      return file.Text(name).U32(type);
    };
    key("general.architecture", kString).Text(architecture);
    std::map<std::string, int64_t> sizes = {
        {"context_length", kContext}, {"embedding_length", width},
        {"block_count", layers},      {"feed_forward_length", feed_forward},
        {"attention.head_count", 4},  {"attention.head_count_kv", 2}};
    if (experts > 0) sizes.insert({{"expert_count", experts}, {"expert_used_count", 2}});
    for (const auto& [name, value] : sizes) {
      key(architecture + "." + name, kU32).U32(static_cast<uint32_t>(value));
    }
    key(architecture + ".attention.layer_norm_rms_epsilon", kF32).Put<float>(1e-5f);
    key("tokenizer.ggml.model", kString).Text("llama");
    key("tokenizer.ggml.tokens", kArray).U32(kString).U64(kVocabulary);
    for (const char* text : {"<unk>", "<s>", "</s>"}) file.Text(text);
    for (int byte = 0; byte < 256; ++byte) {
      constexpr char kDigits[] = "0123456789ABCDEF";
      file.Text(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">");
    }
    for (const char* piece : kPieces) file.Text(piece);
    // Longer pieces win: a higher score is merged first.
    key("tokenizer.ggml.scores", kArray).U32(kF32).U64(kVocabulary);
    for (int32_t i = 0; i < kVocabulary; ++i) {
      const bool word = i >= kFirstPiece && std::string_view(kPieces[i - kFirstPiece]).size() > 1;
      file.Put<float>(word ? -1.0f - static_cast<float>(i) * 0x1p-10f : -10.0f);
    }
    key("tokenizer.ggml.token_type", kArray).U32(kI32).U64(kVocabulary);
    for (int32_t i = 0; i < kVocabulary; ++i) {
      file.Put<int32_t>(i == 0 ? 2 : i < 3 ? 3 : i < kFirstPiece ? 6 : 1);
    }
    key("tokenizer.ggml.bos_token_id", kU32).U32(1);
    key("tokenizer.ggml.eos_token_id", kU32).U32(2);
    key("tokenizer.ggml.add_bos_token", kBool).Put<uint8_t>(1);
    if (chat_template) {
      key("tokenizer.chat_template", kString)
          .Text(
              "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: "
              "{{ message['content'] }}\n{% endfor %}"
              "{% if add_generation_prompt %}assistant:{% endif %}");
    }
    return count;
  }
};

// A text in which the model's words occur.
inline std::string TinyText(size_t length) {
  std::minstd_rand random(7);
  constexpr const char* kWords[] = {"the ",    "and ", "sing ", "in ",    "winter ", "a ",
                                    "house, ", "on ",  "the ",  "other ", "side. ",  "then "};
  std::string text;
  while (text.size() < length) text += kWords[random() % std::size(kWords)];
  return text;
}

// A folder with model.gguf and text.txt.
class TinyModelTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string Write(const std::string& name, std::string_view bytes) const {
    return folder_.Write(name, bytes).string();
  }
  bool Exists(const std::string& name) const { return std::filesystem::exists(Path(name)); }
  uint64_t Size(const std::string& name) const { return std::filesystem::file_size(Path(name)); }

  const TempFolder folder_;
  const std::string model_ = Write("model.gguf", TinyModel().Bytes());
  const std::string text_ = Write("text.txt", TinyText(2000));
};

}  // namespace halftone
