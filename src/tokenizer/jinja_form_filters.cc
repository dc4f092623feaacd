// Filters that write values in some form: JSON, URLs, printf's.

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_format.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_json.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

// tojson as transformers has it: json.dumps, without HTML escapes.
Value ToJsonFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("tojson", arguments,
                              {"ensure_ascii", "indent", "separators", "sort_keys"});
  Heap& heap = interpreter.heap();
  JsonOptions options;
  options.ensure_ascii = parameters.Truth(0, false);
  options.sort_keys = parameters.Truth(3, false);
  if (parameters.Has(1) && !parameters[1].none()) {
    if (parameters[1].text()) {
      options.indent = parameters[1].bytes();
    } else {
      const int64_t width = std::max<int64_t>(0, parameters.Int(1, 0));
      heap.Check(static_cast<uint64_t>(width));
      options.indent = std::string(static_cast<size_t>(width), ' ');
    }
  }
  if (parameters.Has(2) && !parameters[2].none()) {
    const std::vector<Value> separators = Items(interpreter, parameters[2]);
    if (separators.size() != 2 || !separators[0].text() || !separators[1].text()) {
      Raise("tojson needs two strings as separators");
    }
    options.item_separator = separators[0].bytes();
    options.key_separator = separators[1].bytes();
  }
  return heap.Str(ToJson(heap, value, options));
}

Value FormatFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Heap& heap = interpreter.heap();
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    Raise("can't handle positional and keyword arguments at the same time");
  }
  const Value format = value.text() ? value : heap.Str(Str(value));
  if (arguments.named.empty()) {
    return FormatPercent(interpreter, format, heap.Tuple(arguments.positional));
  }
  auto* dict = heap.New<Dict>();
  for (const auto& [name, argument] : arguments.named) dict->Set(heap.Str(name), argument);
  return FormatPercent(interpreter, format, Heap::Of(dict));
}

std::string Quoted(const Value& value, bool query) {
  std::string out;
  for (const char c : Str(value)) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

Value UrlEncodeFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("urlencode", arguments, {});
  Heap& heap = interpreter.heap();
  if (value.text() || !IsIterable(value)) return heap.Str(Quoted(value, false));
  std::string out;
  const auto append = [&](const Value& key, const Value& item) {
    if (!out.empty()) out += '&';
    out += Quoted(key, true) + "=" + Quoted(item, true);
    heap.Check(out.size());
  };
  if (value.Is(Type::kDict)) {
    for (const auto& [key, item] : value.AsDict().entries) append(key, item);
  } else {
    for (const Value& pair : Items(interpreter, value)) {
      const std::vector<Value> both = Items(interpreter, pair);
      if (both.size() != 2) Raise("urlencode needs pairs");
      append(both[0], both[1]);
    }
  }
  return heap.Str(std::move(out));
}

constexpr NamedFunction kFilters[] = {
    {"tojson", ToJsonFilter}, {"format", FormatFilter}, {"urlencode", UrlEncodeFilter}};

}  // namespace

std::span<const NamedFunction> FormFilters() { return kFilters; }

}  // namespace halftone::jinja
