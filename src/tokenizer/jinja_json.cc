#include "tokenizer/jinja_json.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonOptions& options)
      : heap_(heap),
        options_(options),
        item_separator_(options.item_separator.value_or(options.indent ? "," : ", ")),
        key_separator_(options.key_separator.value_or(": ")) {}

  std::string Run(const Value& value) {
    Write(value);
    return std::move(out_);
  }

 private:
  void Write(const Value& value) {
    heap_.Step();
    switch (value.type()) {
      case Type::kNone:
        out_ += "null";
        break;
      case Type::kBool:
        out_ += value.AsBool() ? "true" : "false";
        break;
      case Type::kInt:
        out_ += std::to_string(value.AsInt());
        break;
      case Type::kFloat:
        out_ += Number(value.AsFloat());
        break;
      case Type::kText:
        WriteString(value.bytes());
        break;
      case Type::kList:
      case Type::kTuple:
        WriteList(value.items());
        break;
      case Type::kDict:
        WriteDict(value.AsDict());
        break;
      default:
        Raise("Object of type {} is not JSON serializable", TypeName(value));
    }
    if (out_.size() > kMaxOutput) RaiseUnsupported("JSON longer than {} bytes", kMaxOutput);
  }

  static std::string Number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return FloatRepr(value);
  }

  void NewLine() {
    if (!options_.indent) return;
    heap_.Check(out_.size() + options_.indent->size() * static_cast<size_t>(level_));
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += *options_.indent;
  }

  void WriteList(const std::vector<Value>& items) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += item_separator_;
      NewLine();
      Write(items[i]);
    }
    --level_;
    NewLine();
    out_ += ']';
  }

  void WriteDict(const Dict& dict) {
    if (dict.entries.empty()) {
      out_ += "{}";
      return;
    }
    auto entries = dict.entries;
    if (options_.sort_keys) {
      std::ranges::stable_sort(
          entries, [&](const auto& a, const auto& b) { return Less(heap_, a.first, b.first); });
    }
    out_ += '{';
    ++level_;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += item_separator_;
      NewLine();
      WriteKey(entries[i].first);
      out_ += key_separator_;
      Write(entries[i].second);
    }
    --level_;
    NewLine();
    out_ += '}';
  }

  void WriteKey(const Value& key) {
    switch (key.type()) {
      case Type::kText:
        return WriteString(key.bytes());
      case Type::kNone:
        return WriteString("null");
      case Type::kBool:
        return WriteString(key.AsBool() ? "true" : "false");
      case Type::kInt:
        return WriteString(std::to_string(key.AsInt()));
      case Type::kFloat:
        return WriteString(Number(key.AsFloat()));
      default:
        Raise("keys must be str, int, float, bool or None, not {}", TypeName(key));
    }
  }

  void WriteString(std::string_view text) {
    out_ += '"';
    for (size_t at = 0; at < text.size();) {
      const Utf8Char c = DecodeUtf8(text, at);
      constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b";
      constexpr std::string_view kLetters = "\"\\nrtfb";
      const size_t special = c.bytes == 1 ? kSpecial.find(text[at]) : kSpecial.npos;
      if (special != kSpecial.npos) {
        out_ += '\\';
        out_ += kLetters[special];
      } else if (c.code < 0x20 || (options_.ensure_ascii && c.code >= 0x7F)) {
        WriteEscape(c.code);
      } else {
        out_ += text.substr(at, c.bytes);
      }
      at += c.bytes;
    }
    out_ += '"';
  }

  void WriteEscape(char32_t code) {
    const auto number = static_cast<uint32_t>(code);
    if (number < 0x10000) {
      out_ += fmt::format("\\u{:04x}", number);
    } else {
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((number - 0x10000) >> 10),
                          0xDC00 + ((number - 0x10000) & 0x3FF));
    }
  }

  Heap& heap_;
  const JsonOptions& options_;
  const std::string item_separator_;
  const std::string key_separator_;
  std::string out_;
  int level_ = 0;
};

Value Convert(Heap& heap, const OrderedJson& json, int depth) {
  if (depth > kMaxDepth) RaiseUnsupported("values nested deeper than {} levels", kMaxDepth);
  switch (json.type()) {
    case OrderedJson::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return Value::Int(json.get<int64_t>());
    case OrderedJson::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > INT64_MAX) RaiseUnsupported("the integer {}, beyond 64 bits", number);
      return Value::Int(static_cast<int64_t>(number));
    }
    case OrderedJson::value_t::number_float:
      return Value::Float(json.get<double>());
    case OrderedJson::value_t::string:
      return heap.Str(json.get_ref<const std::string&>());
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      for (const OrderedJson& item : json) items.push_back(Convert(heap, item, depth + 1));
      return heap.List(std::move(items));
    }
    case OrderedJson::value_t::object: {
      auto* dict = heap.New<Dict>();
      heap.Charge(json.size() * 2 * sizeof(Value));
      for (const auto& [key, value] : json.items()) {
        dict->Set(heap.Str(key), Convert(heap, value, depth + 1));
      }
      return Heap::Of(dict);
    }
    default:
      return Value::None();
  }
}

}  // namespace

std::string ToJson(Heap& heap, const Value& value, const JsonOptions& options) {
  return JsonWriter(heap, options).Run(value);
}

Value FromJson(Heap& heap, const OrderedJson& json) { return Convert(heap, json, 0); }

}  // namespace halftone::jinja
