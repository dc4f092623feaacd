// What lies within values: items, attributes, slices, length.

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace halftone::jinja {

// object.name: the attribute, else the item, else undefined. `name` is a text.
Value GetAttribute(Interpreter& interpreter, const Value& object, const Value& name);
// object[key]: the item, else, where the key is a text, the attribute, else undefined.
Value GetItem(Interpreter& interpreter, const Value& object, const Value& key);
// object[start:stop:step]; bounds may be missing.
Value GetSlice(Interpreter& interpreter, const Value& object, const Value& start, const Value& stop,
               const Value& step);
// The method or other attribute that Python's own types have; missing if there is none.
Value FindAttribute(Interpreter& interpreter, const Value& object, std::string_view name);

// iter(value): throws where the value is none that can be iterated over.
Iterator& Iterate(Interpreter& interpreter, const Value& value);
bool IsIterable(const Value& value);
// list(value).
std::vector<Value> Items(Interpreter& interpreter, const Value& value);
// reversed(value) as an iterator; missing where Python refuses.
Value Reversed(Interpreter& interpreter, const Value& value);
// len(value); -1 where it has none.
int64_t LengthOf(const Value& value);
// Item `index` (0 ... length - 1) of a text, list, tuple or range.
Value ItemAt(Interpreter& interpreter, const Value& value, int64_t index);

// An iterator over values that are all there.
Value IterateOver(Interpreter& interpreter, std::vector<Value> items);

}  // namespace halftone::jinja
