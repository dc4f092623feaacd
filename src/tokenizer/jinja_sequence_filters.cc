// Filters that take a sequence as a whole.

#include <algorithm>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_attribute_path.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

using Type = Value::Type;

Value FirstFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("first", arguments, {});
  Value item;
  if (interpreter.Next(Iterate(interpreter, value), item)) return item;
  return interpreter.heap().Undefined("No first item, sequence was empty.");
}

Value LastFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("last", arguments, {});
  if (value.text() && !value.bytes().empty()) {
    return ItemAt(interpreter, value, value.AsText().length() - 1);
  }
  const Value reversed = Reversed(interpreter, value);
  if (reversed.missing()) Raise("'{}' object is not reversible", TypeName(value));
  Value item;
  if (interpreter.Next(reversed.AsIterator(), item)) return item;
  return interpreter.heap().Undefined("No last item, sequence was empty.");
}

Value LengthFilter(Interpreter&, const Value& value, const Arguments& arguments) {
  const Parameters parameters("length", arguments, {});
  const int64_t length = LengthOf(value);
  if (length < 0) Raise("object of type '{}' has no len()", TypeName(value));
  return Value::Int(length);
}

Value ListFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("list", arguments, {});
  return interpreter.heap().List(Items(interpreter, value));
}

Value ReverseFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("reverse", arguments, {});
  if (value.text()) {
    return GetSlice(interpreter, value, Value(), Value(), Value::Int(-1));
  }
  const Value reversed = Reversed(interpreter, value);
  if (!reversed.missing()) return reversed;
  std::vector<Value> items = Items(interpreter, value);
  std::ranges::reverse(items);
  return interpreter.heap().List(std::move(items));
}

Value JoinFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("join", arguments, {"d", "attribute"});
  const AttributePath path(interpreter, parameters[1]);
  const std::string separator = parameters.Has(0) ? Str(parameters[0]) : std::string();
  Iterator& source = Iterate(interpreter, value);
  std::string out;
  Value item;
  for (bool first = true; interpreter.Next(source, item); first = false) {
    if (!first) out += separator;
    AppendStr(path.Get(interpreter, item), out);
    interpreter.heap().Check(out.size());
  }
  return interpreter.heap().Str(std::move(out));
}

// An item and what it is sorted by.
struct Keyed {
  Value key;
  Value item;
};

std::vector<Value> Sorted(Heap& heap, std::vector<Keyed> items, bool reverse) {
  std::ranges::stable_sort(items, [&](const Keyed& a, const Keyed& b) {
    return reverse ? Less(heap, b.key, a.key) : Less(heap, a.key, b.key);
  });
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const Keyed& keyed : items) sorted.push_back(keyed.item);
  return sorted;
}

Value SortFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool exact = parameters.Truth(1, false);
  std::vector<AttributePath> paths;
  if (parameters[2].text()) {
    std::string_view names = parameters[2].bytes();
    for (size_t end = 0; end != names.npos; names.remove_prefix(end == names.npos ? 0 : end + 1)) {
      end = names.find(',');
      paths.emplace_back(interpreter, names.substr(0, end));
    }
  } else {
    paths.emplace_back(interpreter, parameters[2]);
  }
  Heap& heap = interpreter.heap();
  std::vector<Keyed> items;
  for (const Value& item : Items(interpreter, value)) {
    std::vector<Value> keys;
    for (const AttributePath& path : paths) {
      const Value key = path.Get(interpreter, item);
      keys.push_back(exact ? key : IgnoreCase(interpreter, key));
    }
    // Lists compare what is equal first, so even values without an order may be sorted then.
    items.push_back({heap.List(std::move(keys)), item});
  }
  return heap.List(Sorted(heap, std::move(items), parameters.Truth(0, false)));
}

Value DictSortFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = parameters.Has(1) ? Str(parameters[1]) : "key";
  if (by != "key" && by != "value") Raise("You can only sort by either \"key\" or \"value\"");
  if (value.undefined()) RaiseUndefined(value);
  if (!value.Is(Type::kDict)) Raise("'{}' object has no attribute 'items'", TypeName(value));
  const bool exact = parameters.Truth(0, false);
  Heap& heap = interpreter.heap();
  std::vector<Keyed> items;
  for (const auto& [key, item] : value.AsDict().entries) {
    const Value& sorted_by = by == "key" ? key : item;
    items.push_back(
        {{exact ? sorted_by : IgnoreCase(interpreter, sorted_by)}, heap.Tuple({key, item})});
  }
  return heap.List(Sorted(heap, std::move(items), parameters.Truth(2, false)));
}

// min and max: the first of the items that no other one precedes.
template <Operator kBetter>
Value Extreme(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("min", arguments, {"case_sensitive", "attribute"});
  const AttributePath path(interpreter, parameters[1]);
  const auto key_of = [&](const Value& item) {
    const Value key = path.Get(interpreter, item);
    return parameters.Truth(0, false) ? key : IgnoreCase(interpreter, key);
  };
  Iterator& source = Iterate(interpreter, value);
  Value best;
  if (!interpreter.Next(source, best)) {
    return interpreter.heap().Undefined("No aggregated item, sequence was empty.");
  }
  Value best_key = key_of(best);
  Value item;
  while (interpreter.Next(source, item)) {
    const Value key = key_of(item);
    if (!Compare(interpreter, kBetter, key, best_key)) continue;
    best = item;
    best_key = key;
  }
  return best;
}

Value SumFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("sum", arguments, {"attribute", "start"});
  const AttributePath path(interpreter, parameters[0]);
  Value sum = parameters.Or(1, Value::Int(0));
  if (sum.text()) Raise("sum() can't sum strings [use ''.join(seq) instead]");
  Iterator& source = Iterate(interpreter, value);
  Value item;
  while (interpreter.Next(source, item)) {
    sum = Arithmetic(interpreter, Operator::kAdd, sum, path.Get(interpreter, item));
  }
  return sum;
}

Value BatchFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("batch", arguments, {"linecount", "fill_with"}, 1);
  Heap& heap = interpreter.heap();
  const int64_t size = parameters.Int(0, 0);
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (const Value& item : Items(interpreter, value)) {
    if (static_cast<int64_t>(batch.size()) == size) {
      batches.push_back(heap.List(std::move(batch)));
      batch.clear();
    }
    batch.push_back(item);
  }
  if (!batch.empty()) {
    const auto filled = static_cast<int64_t>(batch.size());
    if (parameters.Has(1) && !parameters[1].none() && filled < size) {
      heap.Check(static_cast<uint64_t>(size));
      heap.Check(static_cast<uint64_t>(size) * sizeof(Value));
      batch.resize(static_cast<size_t>(size), parameters[1]);
    }
    batches.push_back(heap.List(std::move(batch)));
  }
  return IterateOver(interpreter, std::move(batches));
}

Value SliceFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("slice", arguments, {"slices", "fill_with"}, 1);
  Heap& heap = interpreter.heap();
  const std::vector<Value> items = Items(interpreter, value);
  const int64_t slices = parameters.Int(0, 1);
  if (slices == 0) Raise("integer division or modulo by zero");
  const auto count = static_cast<int64_t>(items.size());
  std::vector<Value> lists;
  int64_t begin = 0;
  for (int64_t i = 0; i < slices; ++i) {
    const bool longer = i < count % slices;
    const int64_t end = begin + count / slices + (longer ? 1 : 0);
    std::vector<Value> list(items.begin() + begin, items.begin() + end);
    if (parameters.Has(1) && !parameters[1].none() && !longer) list.push_back(parameters[1]);
    lists.push_back(heap.List(std::move(list)));
    begin = end;
  }
  return IterateOver(interpreter, std::move(lists));
}

Value GroupByFilter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters parameters("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(interpreter, parameters[0]);
  const bool exact = parameters.Truth(2, false);
  Heap& heap = interpreter.heap();
  const auto key_of = [&](const Value& item) {
    const Value key = path.Get(interpreter, item, parameters[1]);
    return exact ? key : IgnoreCase(interpreter, key);
  };
  std::vector<Keyed> keyed;
  for (const Value& item : Items(interpreter, value)) keyed.push_back({key_of(item), item});
  const std::vector<Value> sorted = Sorted(heap, std::move(keyed), false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < sorted.size();) {
    const Value key = key_of(sorted[begin]);
    size_t end = begin + 1;
    while (end < sorted.size() && Equal(heap, key, key_of(sorted[end]))) ++end;
    const Value list = heap.List({sorted.begin() + static_cast<ptrdiff_t>(begin),
                                  sorted.begin() + static_cast<ptrdiff_t>(end)});
    // The group is called by what its first item really has.
    const Value name = path.Get(interpreter, sorted[begin], parameters[1]);
    const Value group = heap.Tuple({name, list});
    static_cast<Sequence*>(group.object())->group = true;
    groups.push_back(group);
    begin = end;
  }
  return heap.List(std::move(groups));
}

constexpr NamedFunction kFilters[] = {
    {"first", FirstFilter},
    {"last", LastFilter},
    {"length", LengthFilter},
    {"count", LengthFilter},
    {"list", ListFilter},
    {"reverse", ReverseFilter},
    {"join", JoinFilter},
    {"sort", SortFilter},
    {"dictsort", DictSortFilter},
    {"min", Extreme<Operator::kLess>},
    {"max", Extreme<Operator::kGreater>},
    {"sum", SumFilter},
    {"batch", BatchFilter},
    {"slice", SliceFilter},
    {"groupby", GroupByFilter},
};

}  // namespace

std::span<const NamedFunction> SequenceFilters() { return kFilters; }

}  // namespace halftone::jinja
