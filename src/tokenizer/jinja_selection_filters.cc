// Filters that choose among items or look into them, most of them as generators: like jinja2's,
// they do nothing before somebody draws an item.

#include <algorithm>
#include <functional>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_attribute_path.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_number.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"
#include "tokenizer/jinja_unicode.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

struct Generator : Iterator {
  explicit Generator(std::function<bool(Interpreter&, Value&)> a_next) : next(std::move(a_next)) {}
  bool Next(Interpreter& interpreter, Value& item) override {
    if (ended) return false;
    ended = !next(interpreter, item);
    return !ended;
  }
  const std::function<bool(Interpreter&, Value&)> next;
  bool ended = false;
};

// Draws from a value that is iterated over when the first item is wanted.
class Source {
 public:
  explicit Source(const Value& value) : value_(value) {}
  bool Next(Interpreter& interpreter, Value& item) {
    if (iterator_ == nullptr) {
      if (!Truth(value_)) return false;
      iterator_ = &Iterate(interpreter, value_);
    }
    return interpreter.Next(*iterator_, item);
  }

 private:
  Value value_;
  Iterator* iterator_ = nullptr;
};

Arguments Without(const Arguments& arguments, size_t first) {
  Arguments rest = arguments;
  first = std::min(first, rest.positional.size());
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<ptrdiff_t>(first));
  return rest;
}

Value MapFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const auto is_attribute = [](const auto& named) { return named.first == "attribute"; };
  const bool attribute =
      arguments.positional.empty() && std::ranges::any_of(arguments.named, is_attribute);
  if (attribute) {
    const Parameters parameters("map", arguments, {"attribute", "default"});
    const AttributePath path(interpreter, parameters[0]);
    return Generate(interpreter, value,
                    [source = Source(value), path, fallback = parameters[1]](Interpreter& it,
                                                                             Value& item) mutable {
                      if (!source.Next(it, item)) return false;
                      item = path.Get(it, item, fallback);
                      return true;
                    });
  }
  if (arguments.positional.empty()) Raise("map requires a filter argument");
  return Generate(interpreter, value,
                  [source = Source(value), name = arguments.positional[0],
                   rest = Without(arguments, 1)](Interpreter& it, Value& item) mutable {
                    if (!source.Next(it, item)) return false;
                    item = CallFilter(it, name, item, rest);
                    return true;
                  });
}

// select, reject and their like for attributes.
template <bool kWanted, bool kAttribute>
Value Choose(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const size_t skipped = kAttribute ? 1 : 0;
  if (arguments.positional.size() < skipped) Raise("Missing parameter for attribute name");
  const AttributePath path(interpreter, kAttribute ? arguments.positional[0] : Value());
  const bool tests = arguments.positional.size() > skipped;
  const Value name = tests ? arguments.positional[skipped] : Value();
  return Generate(interpreter, value,
                  [source = Source(value), path, tests, name,
                   rest = Without(arguments, skipped + 1)](Interpreter& it, Value& item) mutable {
                    while (source.Next(it, item)) {
                      const Value looked = path.Get(it, item);
                      const bool holds = tests ? CallTest(it, name, looked, rest) : Truth(looked);
                      if (holds == kWanted) return true;
                    }
                    return false;
                  });
}

Value UniqueFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("unique", arguments, {"case_sensitive", "attribute"});
  const AttributePath path(interpreter, parameters[1]);
  const bool exact = parameters.Truth(0, false);
  auto* seen = interpreter.heap().New<Dict>();
  Iterator* source = nullptr;
  return Generate(interpreter, value, [=](Interpreter& it, Value& item) mutable {
    if (source == nullptr) source = &Iterate(it, value);
    while (it.Next(*source, item)) {
      const Value looked = path.Get(it, item);
      const Value key = exact ? looked : IgnoreCase(it, looked);
      RequireHashable(it.heap(), key);
      if (seen->Find(key) != nullptr) continue;
      it.heap().Charge(2 * sizeof(Value));
      seen->Set(key, Value::None());
      return true;
    }
    return false;
  });
}

Value ItemsFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("items", arguments, {});
  if (value.undefined()) return IterateOver(interpreter, {});
  size_t at = 0;
  return Generate(interpreter, value, [=](Interpreter& it, Value& item) mutable {
    if (!value.Is(Type::kDict)) Raise("Can only get item pairs from a mapping.");
    const auto& entries = value.AsDict().entries;
    if (at == entries.size()) return false;
    item = it.heap().Tuple({entries[at].first, entries[at].second});
    ++at;
    return true;
  });
}

Value AttrFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("attr", arguments, {"name"}, 1);
  const Value found = FindAttribute(interpreter, value, parameters.AsText(0).bytes);
  if (!found.missing()) return found;
  return interpreter.heap().UndefinedAttribute(value, parameters[0]);
}

Value DefaultFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("default", arguments, {"default_value", "boolean"});
  const bool absent = value.undefined() || (parameters.Truth(1, false) && !Truth(value));
  if (!absent) return value;
  return parameters.Has(0) ? parameters[0] : interpreter.heap().Str("");
}

constexpr NamedFunction kFilters[] = {
    {"map", MapFilter},
    {"select", Choose<true, false>},
    {"reject", Choose<false, false>},
    {"selectattr", Choose<true, true>},
    {"rejectattr", Choose<false, true>},
    {"unique", UniqueFilter},
    {"items", ItemsFilter},
    {"attr", AttrFilter},
    {"default", DefaultFilter},
    {"d", DefaultFilter},
};

}  // namespace

AttributePath::AttributePath(Interpreter& interpreter, const Value& attribute) {
  if (attribute.text()) {
    Split(interpreter, attribute.bytes());
  } else if (!attribute.missing() && !attribute.none()) {
    parts_.push_back(attribute);
  }
}

AttributePath::AttributePath(Interpreter& interpreter, std::string_view dotted) {
  Split(interpreter, dotted);
}

void AttributePath::Split(Interpreter& interpreter, std::string_view dotted) {
  while (true) {
    const size_t end = std::min(dotted.find('.'), dotted.size());
    const std::string_view part = dotted.substr(0, end);
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    const auto index = digits ? ParseInteger(part, 10) : std::nullopt;
    parts_.push_back(index ? Value::Int(*index) : interpreter.heap().Str(std::string(part)));
    if (end == dotted.size()) return;
    dotted.remove_prefix(end + 1);
  }
}

Value AttributePath::Get(Interpreter& interpreter, const Value& item, const Value& fallback) const {
  Value value = item;
  for (const Value& part : parts_) {
    value = GetItem(interpreter, value, part);
    if (value.undefined() && !fallback.missing() && !fallback.none()) value = fallback;
  }
  return value;
}

Value IgnoreCase(Interpreter& interpreter, const Value& value) {
  return value.text() ? interpreter.heap().Str(Lower(value.bytes())) : value;
}

Value Generate(Interpreter& interpreter, const Value& source,
               std::function<bool(Interpreter&, Value&)> next) {
  Heap& heap = interpreter.heap();
  return heap.Iterate(heap.New<Generator>(std::move(next)), source);
}

std::span<const NamedFunction> SelectionFilters() { return kFilters; }

}  // namespace halftone::jinja
