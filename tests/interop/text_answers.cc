// What halftone makes of texts and chat templates, for tests that ask peers the same.
//
// Reads a JSON object a line and answers each with a line:
//
//   {"tokenizer": PATH}                  -> {}; a GGUF file, or a folder with tokenizer files,
//   which
//                                           the next questions are about
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
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Tokenizer> OpenTokenizer(const fs::path& path) {
  if (!fs::is_directory(path)) {
    return Tokenizer::FromMetadata(OpenCheckpoint(path).metadata, path.string());
  }
  std::map<std::string, std::string> documents;
  for (const char* name :
       {"config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"}) {
    if (fs::exists(path / name)) documents[name] = ReadTextFile(path / name);
  }
  return Tokenizer::FromMetadata(TokenizerMetadataFromHf(documents, 0, path.string()),
                                 path.string());
}

OrderedJson Answer(const OrderedJson& question, std::unique_ptr<Tokenizer>& tokenizer) {
  OrderedJson answer = OrderedJson::object();
  if (question.contains("tokenizer")) {
    tokenizer = OpenTokenizer(question["tokenizer"].get<std::string>());
  } else if (question.contains("template")) {
    answer["text"] =
        RenderChatTemplate(question["template"].get<std::string>(), question["context"]);
  } else {
    if (!tokenizer) FailUsage("no tokenizer was named");
    answer["ids"] = tokenizer->Encode(question["text"].get<std::string>(), question["special"]);
  }
  return answer;
}

int Run() {
  std::unique_ptr<Tokenizer> tokenizer;
  for (std::string line; std::getline(std::cin, line);) {
    OrderedJson answer;
    try {
      answer = Answer(OrderedJson::parse(line), tokenizer);
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
