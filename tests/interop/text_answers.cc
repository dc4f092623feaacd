// What halftone makes of texts and chat templates, for tests that ask peers the same.
//
// Reads a JSON object a line and answers each with a line:
//
//   {"tokenizer": PATH}                  -> {}; a GGUF file, or a folder with tokenizer files,
//                                           which the next questions are about
//   {"write": true}                      -> {"files": {NAME: TEXT}}; as a folder's
//   {"text": TEXT, "special": BOOL}      -> {"ids": [...]}
//   {"template": TEXT, "context": {...}} -> {"text": TEXT}
//
// Or {"error": MESSAGE}.

#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "container/container.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/hf_tokenizer_writer.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

Metadata MetadataAt(const fs::path& path) {
  if (!fs::is_directory(path)) return OpenCheckpoint(path).metadata;
  std::map<std::string, std::string> documents;
  for (const char* name :
       {"config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"}) {
    if (fs::exists(path / name)) documents[name] = ReadTextFile(path / name);
  }
  return TokenizerMetadataFromHf(documents, 0, path.string());
}

struct State {
  Metadata metadata;
  std::unique_ptr<Tokenizer> tokenizer;
};

OrderedJson Answer(const OrderedJson& question, State& state) {
  OrderedJson answer = OrderedJson::object();
  if (question.contains("tokenizer")) {
    const auto path = question["tokenizer"].get<std::string>();
    state.metadata = MetadataAt(path);
    state.tokenizer = Tokenizer::FromMetadata(state.metadata, path);
  } else if (question.contains("write")) {
    answer["files"] = HfTokenizerDocuments(state.metadata, 512, "tokenizer");
  } else if (question.contains("template")) {
    answer["text"] =
        RenderChatTemplate(question["template"].get<std::string>(), question["context"]);
  } else {
    if (!state.tokenizer) FailUsage("no tokenizer was named");
    answer["ids"] =
        state.tokenizer->Encode(question["text"].get<std::string>(), question["special"]);
  }
  return answer;
}

int Run() {
  State state;
  for (std::string line; std::getline(std::cin, line);) {
    OrderedJson answer;
    try {
      answer = Answer(OrderedJson::parse(line), state);
    } catch (const Error& error) {
      answer["error"] = error.what();
    }
    std::cout << answer.dump(-1, ' ', true, OrderedJson::error_handler_t::replace) << '\n'
              << std::flush;
  }
  return 0;
}

}  // namespace
}  // namespace halftone

int main() { return halftone::Run(); }
