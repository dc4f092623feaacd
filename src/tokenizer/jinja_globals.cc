// The variables that every template has: range, dict, namespace, joiner, cycler, raise_exception
// and strftime_now.

#include <algorithm>
#include <chrono>
#include <ctime>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

constexpr int64_t kMaxRange = 100000;  // the sandbox allows no longer one

Value MakeRange(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  const Parameters parameters("range", arguments, {"", "", ""}, 1);
  const bool both = parameters.Has(1);
  const int64_t start = both ? parameters.Int(0, 0) : 0;
  const int64_t stop = parameters.Int(both ? 1 : 0, 0);
  const int64_t step = parameters.Int(2, 1);
  if (step == 0) Raise("range() arg 3 must not be zero");
  auto* range = interpreter.heap().New<Range>(start, stop, step);
  if (range->size > kMaxRange) {
    Raise("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange);
  }
  return {Type::kRange, range};
}

// What dict(arguments) holds.
void Fill(Interpreter& interpreter, const Arguments& arguments, Dict& dict) {
  Heap& heap = interpreter.heap();
  const auto set = [&](const Value& key, const Value& value) {
    RequireHashable(heap, key);
    heap.Charge(2 * sizeof(Value));
    dict.Set(key, value);
  };
  if (arguments.positional.size() > 1) {
    Raise("dict expected at most 1 argument, got {}", arguments.positional.size());
  }
  for (const Value& source : arguments.positional) {
    if (source.Is(Type::kDict)) {
      for (const auto& [key, value] : source.AsDict().entries) set(key, value);
      continue;
    }
    for (const Value& pair : Items(interpreter, source)) {
      const std::vector<Value> both = Items(interpreter, pair);
      if (both.size() != 2) Raise("a pair for dict() has {} items", both.size());
      set(both[0], both[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) set(heap.Str(name), value);
}

Value MakeDict(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  auto* dict = interpreter.heap().New<Dict>();
  Fill(interpreter, arguments, *dict);
  return Heap::Of(dict);
}

Value MakeNamespace(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  auto* made = interpreter.heap().New<Namespace>();
  Fill(interpreter, arguments, made->attributes);
  for (const auto& [name, value] : made->attributes.entries) {
    if (name.text() && name.bytes().starts_with('_')) {
      Raise("namespaces have no attribute '{}' with an underscore in front", name.bytes());
    }
  }
  return {Type::kNamespace, made};
}

// Gives nothing when called first, then the separator.
struct Joiner : Callable {
  explicit Joiner(const Value& a_separator) : separator(a_separator) {}
  Value Call(Interpreter& interpreter, const Arguments& arguments) override {
    const Parameters parameters("joiner", arguments, {});
    return std::exchange(used, true) ? separator : interpreter.heap().Str("");
  }
  std::string Repr() const override { return "<jinja2.utils.Joiner object>"; }
  const Value separator;
  bool used = false;
};

Value MakeJoiner(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  Heap& heap = interpreter.heap();
  const Parameters parameters("joiner", arguments, {"sep"});
  return Heap::Of(heap.New<Joiner>(parameters.Or(0, heap.Str(", "))));
}

// Gives its items in turn: next(), current, reset().
struct Cycler : Callable {
  explicit Cycler(std::vector<Value> a_items) : items(std::move(a_items)) {}
  Value Call(Interpreter&, const Arguments&) override { Raise("'Cycler' object is not callable"); }
  std::string Repr() const override { return "<jinja2.utils.Cycler object>"; }
  Value Attribute(Interpreter& interpreter, std::string_view name) override {
    if (name == "current") return items[at];
    if (name == "next") return Bound(interpreter, "Cycler.next", &NextItem, Heap::Of(this));
    if (name == "reset") return Bound(interpreter, "Cycler.reset", &Reset, Heap::Of(this));
    return {};
  }
  static Value NextItem(Interpreter&, const Value& self, const Arguments&) {
    auto& cycler = static_cast<Cycler&>(self.AsCallable());
    const Value item = cycler.items[cycler.at];
    cycler.at = (cycler.at + 1) % cycler.items.size();
    return item;
  }
  static Value Reset(Interpreter&, const Value& self, const Arguments&) {
    static_cast<Cycler&>(self.AsCallable()).at = 0;
    return Value::None();
  }
  const std::vector<Value> items;
  size_t at = 0;
};

Value MakeCycler(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  if (arguments.positional.empty()) Raise("at least one item has to be provided");
  if (!arguments.named.empty()) Raise("cycler() takes no keyword arguments");
  return Heap::Of(interpreter.heap().New<Cycler>(arguments.positional));
}

Value RaiseException(Interpreter&, const Value&, const Arguments& arguments) {
  const Parameters parameters("raise_exception", arguments, {"message"}, 1);
  throw Failure(Error::Kind::kUsage, Str(parameters[0]));
}

// The present local time by strftime's rules, with Python's %f for microseconds.
Value StrftimeNow(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  const Parameters parameters("strftime_now", arguments, {"format"}, 1);
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(
                          now - std::chrono::system_clock::from_time_t(seconds))
                          .count();
  std::string format;
  const std::string& given = parameters.AsText(0).bytes;
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] == '\0') Raise("embedded null character");
    if (given[i] != '%' || i + 1 == given.size()) {
      format += given[i];
      continue;
    }
    ++i;
    format += given[i] == 'f' ? fmt::format("{:06}", std::max<int64_t>(micros, 0))
                              : std::string("%") + given[i];
  }
  std::tm local{};
  ::localtime_r(&seconds, &local);
  // One character more tells an empty result from one that did not fit.
  format += '.';
  constexpr size_t kLongestField = 64;
  interpreter.heap().Check(format.size() * kLongestField);
  std::string out(format.size() * kLongestField, '\0');
  const size_t length = std::strftime(out.data(), out.size(), format.c_str(), &local);
  if (length == 0) RaiseUnsupported("a time that long");
  return interpreter.heap().Str(out.substr(0, length - 1));
}

Value Lipsum(Interpreter&, const Value&, const Arguments&) {
  RaiseUnsupported("the function 'lipsum'");
}

constexpr NamedFunction kGlobals[] = {
    {"range", MakeRange},          {"dict", MakeDict},     {"namespace", MakeNamespace},
    {"joiner", MakeJoiner},        {"cycler", MakeCycler}, {"raise_exception", RaiseException},
    {"strftime_now", StrftimeNow}, {"lipsum", Lipsum},
};

}  // namespace

Value FindGlobal(Interpreter& interpreter, std::string_view name) {
  const Function function = FindIn(kGlobals, name);
  return function == nullptr ? Value() : Bound(interpreter, name, function, Value::None());
}

}  // namespace halftone::jinja
