#include "tokenizer/jinja_loop.h"

#include <algorithm>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

// The items for which a loop's condition holds.
struct Admitted : Iterator {
  Admitted(const Statement& a_loop, Scope* a_parent, Iterator& a_source)
      : loop(a_loop), parent(a_parent), source(a_source) {}

  bool Next(Interpreter& interpreter, Value& item) override {
    while (interpreter.Next(source, item)) {
      if (interpreter.Admits(loop, parent, item)) return true;
    }
    return false;
  }

  const Statement& loop;
  Scope* const parent;
  Iterator& source;
};

}  // namespace

Value Macro::Call(Interpreter& interpreter, const Arguments& arguments) {
  Heap& heap = interpreter.heap();
  const Signature& signature = statement.signature;
  const std::string macro = name.empty() ? "None" : fmt::format("'{}'", name);
  std::vector<std::pair<std::string, Value>> named = arguments.named;
  const auto take = [&](std::string_view key) {
    const auto it = std::ranges::find(named, key, &std::pair<std::string, Value>::first);
    if (it == named.end()) return Value();
    const Value value = it->second;
    named.erase(it);
    return value;
  };

  std::vector<std::pair<int, Value>> variables;
  bool found_caller = false;
  const bool full = arguments.positional.size() >= signature.names.size();
  for (size_t i = 0; i < signature.names.size(); ++i) {
    const std::string& parameter = interpreter.NameOf(signature.names[i]);
    const bool given = i < arguments.positional.size();
    found_caller |= parameter == "caller" && (full || !given);
    variables.emplace_back(signature.names[i], given ? arguments.positional[i] : take(parameter));
  }
  if (signature.uses_caller && !found_caller) {
    Value caller = take("caller");
    if (caller.missing() || caller.none()) caller = heap.Undefined("No caller defined");
    variables.emplace_back(interpreter.FindName("caller"), caller);
  }
  const auto declared = [&](std::string_view parameter) {
    return std::ranges::any_of(signature.names,
                               [&](int n) { return interpreter.NameOf(n) == parameter; });
  };
  if (signature.uses_named && !declared("kwargs")) {
    auto* dict = heap.New<Dict>();
    for (const auto& [key, value] : named) dict->Set(heap.Str(key), value);
    variables.emplace_back(interpreter.FindName("kwargs"), Heap::Of(dict));
  } else if (!named.empty()) {
    Raise("macro {} takes no keyword argument '{}'", macro, named.front().first);
  }
  const size_t extra =
      arguments.positional.size() - std::min(arguments.positional.size(), signature.names.size());
  if (signature.uses_positional && !declared("varargs")) {
    variables.emplace_back(interpreter.FindName("varargs"),
                           heap.Tuple({arguments.positional.end() - static_cast<ptrdiff_t>(extra),
                                       arguments.positional.end()}));
  } else if (extra > 0) {
    Raise("macro {} takes not more than {} argument(s)", macro, signature.names.size());
  }
  return interpreter.RenderMacro(statement, scope, std::move(variables));
}

std::string Macro::Repr() const {
  return name.empty() ? "<Macro anonymous>" : fmt::format("<Macro '{}'>", name);
}

Value Macro::Attribute(Interpreter& interpreter, std::string_view attribute) {
  Heap& heap = interpreter.heap();
  if (attribute == "name") return name.empty() ? Value::None() : heap.Str(name);
  if (attribute == "caller") return Value::Bool(statement.signature.uses_caller);
  if (attribute == "catch_kwargs") return Value::Bool(statement.signature.uses_named);
  if (attribute == "catch_varargs") return Value::Bool(statement.signature.uses_positional);
  if (attribute != "arguments") return {};
  std::vector<Value> names;
  for (const int n : statement.signature.names) names.push_back(heap.Str(interpreter.NameOf(n)));
  return heap.Tuple(std::move(names));
}

Loop::Loop(Interpreter& an_interpreter, const Statement& a_statement, Scope* a_parent,
           const Value& items, int a_depth)
    : interpreter_(an_interpreter),
      statement_(a_statement),
      parent_(a_parent),
      items_(items),
      source_(&Iterate(an_interpreter, items)),
      depth_(a_depth) {
  if (statement_.values[1] == nullptr) return;
  items_ = Value();
  source_ = interpreter_.heap().New<Admitted>(statement_, parent_, *source_);
}

bool Loop::Advance(Value& item) {
  if (!after_.missing()) {
    item = after_;
    after_ = Value();
  } else if (ended_ || !interpreter_.Next(*source_, item)) {
    ended_ = true;
    return false;
  }
  ++index_;
  before_ = current_;
  current_ = item;
  return true;
}

const Value& Loop::Peek() {
  if (after_.missing() && !ended_ && !interpreter_.Next(*source_, after_)) {
    ended_ = true;
    after_ = Value();
  }
  return after_;
}

int64_t Loop::Length() {
  if (length_ >= 0) return length_;
  length_ = items_.missing() ? -1 : LengthOf(items_);
  if (length_ >= 0) return length_;
  std::vector<Value> rest;
  if (!ended_) {
    Value item;
    while (interpreter_.Next(*source_, item)) rest.push_back(item);
  }
  length_ = static_cast<int64_t>(rest.size()) + index_ + 1 + (after_.missing() ? 0 : 1);
  source_ = &IterateOver(interpreter_, std::move(rest)).AsIterator();
  return length_;
}

Value Loop::Call(Interpreter& interpreter, const Arguments& arguments) {
  if (!statement_.recursive) {
    Raise("The loop must have the 'recursive' marker to be called recursively.");
  }
  if (arguments.positional.size() != 1 || !arguments.named.empty()) {
    Raise("loop() takes one argument");
  }
  return interpreter.RenderLoop(statement_, parent_, arguments.positional[0], depth_ + 1);
}

std::string Loop::Repr() const {
  return fmt::format("<LoopContext {}/{}>", index_ + 1, const_cast<Loop*>(this)->Length());
}

Value Loop::Numbers(std::string_view name) {
  if (name == "index") return Value::Int(index_ + 1);
  if (name == "index0") return Value::Int(index_);
  if (name == "depth") return Value::Int(depth_ + 1);
  if (name == "depth0") return Value::Int(depth_);
  if (name == "length") return Value::Int(Length());
  if (name == "revindex") return Value::Int(Length() - index_);
  if (name == "revindex0") return Value::Int(Length() - index_ - 1);
  return {};
}

Value Loop::Attribute(Interpreter& interpreter, std::string_view name) {
  Heap& heap = interpreter.heap();
  if (const Value number = Numbers(name); !number.missing()) return number;
  if (name == "first") return Value::Bool(index_ == 0);
  if (name == "last") return Value::Bool(Peek().missing());
  if (name == "previtem") {
    return index_ == 0 ? heap.Undefined("there is no previous item") : before_;
  }
  if (name == "nextitem") {
    const Value next = Peek();
    return next.missing() ? heap.Undefined("there is no next item") : next;
  }
  if (name == "cycle") return Bound(interpreter, "LoopContext.cycle", &Cycle, Heap::Of(this));
  if (name == "changed") return Bound(interpreter, "LoopContext.changed", &Changed, Heap::Of(this));
  return {};
}

Value Loop::Cycle(Interpreter&, const Value& loop, const Arguments& arguments) {
  const auto& items = arguments.positional;
  if (items.empty()) Raise("no items for cycling given");
  return items[static_cast<Loop&>(loop.AsCallable()).index_ % items.size()];
}

Value Loop::Changed(Interpreter& interpreter, const Value& loop, const Arguments& arguments) {
  Value& before = static_cast<Loop&>(loop.AsCallable()).changed_;
  const Value now = interpreter.heap().Tuple(arguments.positional);
  const bool same = !before.missing() && Equal(interpreter.heap(), before, now);
  if (!same) before = now;
  return Value::Bool(!same);
}

}  // namespace halftone::jinja
