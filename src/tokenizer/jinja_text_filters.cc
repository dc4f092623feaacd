// Filters that change strings.

#include <algorithm>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/jinja_text_methods.h"
#include "tokenizer/jinja_unicode.h"
#include "tokenizer/unicode.h"

namespace halftone::jinja {
namespace {

// A text as it is, anything else as str() of it.
Value Soft(Interpreter& interpreter, const Value& value) {
  return value.text() ? value : interpreter.heap().Str(Str(value));
}

// A filter that is a function of the text.
template <std::string (*kChange)(std::string_view)>
Value Change(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("filter", arguments, {});
  const Value text = Soft(interpreter, value);
  interpreter.heap().Walk(text.bytes().size());
  return interpreter.heap().Str(kChange(text.bytes()), text.AsText().markup);
}

// Words begin behind white space, - ( { [ and <.
std::string TitleWords(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const auto breaks = [&] {
      const Utf8Char c = DecodeUtf8(text, at);
      return (c.valid && IsSpace(c.code)) ||
             std::string_view("-({[<").find(text[at]) != std::string_view::npos;
    };
    while (at < text.size() && breaks()) at += DecodeUtf8(text, at).bytes;
    out += text.substr(begin, at - begin);
    if (at == text.size()) break;
    const size_t word = at;
    while (at < text.size() && !breaks()) at += DecodeUtf8(text, at).bytes;
    const size_t first = DecodeUtf8(text, word).bytes;
    out += Upper(text.substr(word, first));
    out += Lower(text.substr(word + first, at - word - first));
  }
  return out;
}

Value Plain(Interpreter& interpreter, const Value& text) {
  return interpreter.heap().Str(std::string(text.bytes()));
}

Value TitleFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  return Plain(interpreter, Change<TitleWords>(interpreter, value, arguments));
}

Value TrimFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("trim", arguments, {"chars"});
  Arguments chars;
  if (parameters.Has(0)) chars.positional.push_back(parameters[0]);
  return FindIn(TextMethods(), "strip")(interpreter, Soft(interpreter, value), chars);
}

Value ReplaceFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("replace", arguments, {"old", "new", "count"}, 2);
  const bool all = !parameters.Has(2) || parameters[2].none();
  return interpreter.heap().Str(Replaced(interpreter.heap(), Str(value), Str(parameters[0]),
                                         Str(parameters[1]), all ? -1 : parameters.Int(2, -1)));
}

Value IndentFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("indent", arguments, {"width", "first", "blank"});
  Heap& heap = interpreter.heap();
  if (value.undefined()) RaiseUndefined(value);
  if (!value.text()) Raise("indent needs a string, not {}", TypeName(value));
  std::string indention;
  if (parameters.Has(0) && parameters[0].text()) {
    indention = parameters[0].bytes();
  } else {
    const auto width = static_cast<uint64_t>(std::max<int64_t>(0, parameters.Int(0, 4)));
    heap.Check(width);
    indention.assign(width, ' ');
  }
  const bool blank = parameters.Truth(2, false);
  const std::string text = value.bytes() + "\n";
  std::string out;
  if (parameters.Truth(1, false)) out += indention;
  bool first = true;
  for (const std::string_view line : SplitLines(text, false)) {
    if (!first) {
      out += '\n';
      if (blank || !line.empty()) out += indention;
    }
    first = false;
    out += line;
    heap.Check(out.size());
  }
  return heap.Str(std::move(out), value.AsText().markup);
}

Value StringFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("string", arguments, {});
  return Soft(interpreter, value);
}

Value EscapeFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("escape", arguments, {});
  return interpreter.heap().Str(Escaped(value), true);
}

Value ForceEscapeFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("forceescape", arguments, {});
  return interpreter.heap().Str(EscapeHtml(Str(value)), true);
}

Value SafeFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("safe", arguments, {});
  return interpreter.heap().Str(Str(value), true);
}

Value CenterFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("center", arguments, {"width"});
  Arguments width;
  width.positional.push_back(parameters.Or(0, Value::Int(80)));
  return FindIn(TextMethods(), "center")(interpreter, Soft(interpreter, value), width);
}

Value WordCountFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("wordcount", arguments, {});
  const Value text = Soft(interpreter, value);
  Finder words(kWords, text.bytes());
  int64_t count = 0;
  for (auto word = words.Find(0); word; word = words.Find(word->end)) {
    interpreter.heap().Step();
    ++count;
  }
  return Value::Int(count);
}

Value TruncateFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("truncate", arguments, {"length", "killwords", "end", "leeway"});
  Heap& heap = interpreter.heap();
  const int64_t length = parameters.Int(0, 255);
  const Value end = parameters.Or(2, heap.Str("..."));
  if (!end.text()) Raise("truncate needs a string for an end");
  const bool no_leeway = parameters.Has(3) && parameters[3].none();
  const int64_t leeway = no_leeway ? 5 : parameters.Int(3, 5);
  if (length < end.AsText().length() || leeway < 0) Raise("truncate to less than its end");
  const int64_t have = LengthOf(value);
  if (have < 0) Raise("object of type '{}' has no len()", TypeName(value));
  if (have <= length || have - length <= leeway) return value;
  if (!value.text()) Raise("truncate needs a string, not {}", TypeName(value));
  const Text& text = value.AsText();
  std::string_view kept = Substring(text, 0, length - end.AsText().length());
  if (!parameters.Truth(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return heap.Str(std::string(kept) + end.bytes(), text.markup);
}

constexpr NamedFunction kFilters[] = {
    {"trim", TrimFilter},
    {"upper", Change<Upper>},
    {"lower", Change<Lower>},
    {"capitalize", Change<Capitalize>},
    {"title", TitleFilter},
    {"replace", ReplaceFilter},
    {"indent", IndentFilter},
    {"string", StringFilter},
    {"escape", EscapeFilter},
    {"e", EscapeFilter},
    {"forceescape", ForceEscapeFilter},
    {"safe", SafeFilter},
    {"center", CenterFilter},
    {"wordcount", WordCountFilter},
    {"truncate", TruncateFilter},
};

}  // namespace

std::span<const NamedFunction> TextFilters() { return kFilters; }

}  // namespace halftone::jinja
