#include "pipeline/json_lines.h"

#include "base/error.h"

namespace halftone {
namespace {

[[noreturn]] void FailLine(const std::string& name, int64_t line, std::string_view why) {
  FailFormat("{}: line {}: {}", name, line, why);
}

std::string RoleOf(const std::string& from) {
  if (from == "human") return "user";
  if (from == "gpt" || from == "bot" || from == "model" || from == "chatgpt") return "assistant";
  return from;
}

// A content that is a list of parts, as vision models have them, is its texts.
OrderedJson ContentOf(const OrderedJson& content) {
  if (!content.is_array()) return content.is_null() ? OrderedJson("") : content;
  std::string text;
  for (const OrderedJson& part : content) {
    if (part.is_object() && part.contains("text") && part["text"].is_string()) {
      text += part["text"].get<std::string>();
    }
  }
  return text;
}

// Messages whose role and content go by these names, under the usual ones.
OrderedJson MessagesFrom(const OrderedJson& list, const char* role, const char* content,
                         const std::string& name, int64_t line) {
  if (!list.is_array() || list.empty())
    FailLine(name, line, "the conversation is no list, or empty");
  OrderedJson messages = OrderedJson::array();
  for (OrderedJson message : list) {
    if (!message.is_object() || !message.contains(role) || !message[role].is_string()) {
      FailLine(name, line, fmt::format("a message has no \"{}\"", role));
    }
    const std::string who = RoleOf(message[role].get<std::string>());
    const OrderedJson what =
        ContentOf(message.contains(content) ? message[content] : OrderedJson());
    if (!what.is_string()) FailLine(name, line, fmt::format("\"{}\" is no text", content));
    message.erase(role);
    message.erase(content);
    message["role"] = who;
    message["content"] = what;
    messages.push_back(std::move(message));
  }
  return messages;
}

JsonLine ReadLine(std::string_view text, const std::string& name, int64_t line) {
  const OrderedJson json = OrderedJson::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) FailLine(name, line, "not valid JSON");
  if (!json.is_object()) FailLine(name, line, "not a JSON object");
  JsonLine example;
  if (json.contains("messages")) {
    example.messages = MessagesFrom(json["messages"], "role", "content", name, line);
  } else if (json.contains("conversations")) {
    example.messages = MessagesFrom(json["conversations"], "from", "value", name, line);
  } else if (json.contains("prompt") && json.contains("completion")) {
    if (!json["prompt"].is_string() || !json["completion"].is_string()) {
      FailLine(name, line, "\"prompt\" and \"completion\" must be texts");
    }
    example.messages.push_back({{"role", "user"}, {"content", json["prompt"]}});
    example.messages.push_back({{"role", "assistant"}, {"content", json["completion"]}});
  } else if (json.contains("text") && json["text"].is_string()) {
    example.text = json["text"].get<std::string>();
  } else {
    FailLine(name, line,
             "none of \"messages\", \"conversations\", \"prompt\" with \"completion\", \"text\"");
  }
  return example;
}

}  // namespace

void ForEachJsonLine(const TextInput& input,
                     const std::function<void(const JsonLine&, int64_t)>& use) {
  std::string_view rest = input.text;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const size_t end = rest.find('\n');
    const std::string_view text = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    use(ReadLine(text, input.name, line), line);
  }
}

std::string ContentsOf(const JsonLine& example) {
  std::string text = example.text;
  for (const OrderedJson& message : example.messages) {
    text += message["content"].get<std::string>() + "\n";
  }
  return text;
}

bool IsJsonLines(const TextInput& input) {
  if (input.name.ends_with(".jsonl")) return true;
  const std::string_view text = input.text;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return false;
  const std::string_view line = text.substr(first, text.find('\n', first) - first);
  return Json::accept(line);
}

}  // namespace halftone
