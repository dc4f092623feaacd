// The values of a chat template: Python's, as far as templates can see them.
//
// A Value is a tag and a word. Whatever is larger lies on the Heap of the rendering and stays there
// until the rendering ends, so values may refer to one another in circles (a namespace may hold
// itself) and nothing recurses when they go. Objects are immutable once they are built, except
// namespaces, loops and iterators: the sandbox that templates are written for refuses
// list.append and its like.
//
// A template is hostile input. The Heap counts steps and bytes and ends the rendering when either
// runs out; containers know how deep they are, so whatever walks through values may recurse.

#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "halftone/error.h"

namespace halftone::jinja {

inline constexpr int kMaxDepth = 200;                       // of containers, syntax, macro calls
inline constexpr uint64_t kMaxSteps = 10'000'000;           // expressions and statements evaluated
inline constexpr uint64_t kMaxBytes = uint64_t{256} << 20;  // of values made, alive or not
inline constexpr size_t kMaxOutput = size_t{64} << 20;      // bytes of text rendered

// What goes wrong while a template runs; RenderChatTemplate adds the line and makes it an Error.
struct Failure : std::runtime_error {
  Failure(Error::Kind error_kind, const std::string& message)
      : std::runtime_error(message), kind(error_kind) {}
  Error::Kind kind;
};

// Throws Failure: the template did what Python refuses.
template <class... Args>
[[noreturn]] void Raise(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(Error::Kind::kFormat, fmt::vformat(format, fmt::make_format_args(args...)));
}

// Throws Failure: jinja2 would go on, this interpreter cannot.
template <class... Args>
[[noreturn]] void RaiseUnsupported(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(Error::Kind::kUnsupported, fmt::vformat(format, fmt::make_format_args(args...)));
}

struct Arguments;
struct Callable;
struct Dict;
struct Iterator;
struct Namespace;
struct Object;
struct Range;
struct Sequence;
struct Text;
struct Undefined;
struct View;
class Interpreter;

class Value {
 public:
  enum class Type : uint8_t {
    kMissing,  // no value at all; never seen by a template
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kList,
    kTuple,
    kDict,
    kView,
    kRange,
    kIterator,
    kNamespace,
    kCallable,
  };

  Value() = default;
  static Value None() { return Value(Type::kNone); }
  static Value Bool(bool b) {
    Value v(Type::kBool);
    v.int_ = b;
    return v;
  }
  static Value Int(int64_t i) {
    Value v(Type::kInt);
    v.int_ = i;
    return v;
  }
  static Value Float(double d) {
    Value v(Type::kFloat);
    v.float_ = d;
    return v;
  }
  Value(Type type, Object* object) : type_(type), object_(object) {}

  Type type() const { return type_; }
  bool Is(Type type) const { return type_ == type; }
  bool missing() const { return type_ == Type::kMissing; }
  bool undefined() const { return type_ == Type::kUndefined; }
  bool none() const { return type_ == Type::kNone; }
  bool text() const { return type_ == Type::kText; }
  bool integer() const { return type_ == Type::kInt || type_ == Type::kBool; }
  bool number() const { return integer() || type_ == Type::kFloat; }
  bool sequence() const { return type_ == Type::kList || type_ == Type::kTuple; }

  // Each for its type only.
  bool AsBool() const { return int_ != 0; }
  int64_t AsInt() const { return int_; }  // also of bool
  double AsFloat() const { return float_; }
  double ToDouble() const { return type_ == Type::kFloat ? float_ : static_cast<double>(int_); }
  // Of a number, exactly: int64 and double both fit.
  long double Wide() const {
    return type_ == Type::kFloat ? float_ : static_cast<long double>(int_);
  }
  const Text& AsText() const;
  const std::string& bytes() const;         // of a text
  const Sequence& AsSequence() const;       // list or tuple
  const std::vector<Value>& items() const;  // of a list or tuple
  const Dict& AsDict() const;
  const View& AsView() const;
  const Range& AsRange() const;
  const Undefined& AsUndefined() const;
  Iterator& AsIterator() const;
  Namespace& AsNamespace() const;
  Callable& AsCallable() const;
  Object* object() const { return object_; }

 private:
  explicit Value(Type type) : type_(type) {}

  Type type_ = Type::kMissing;
  union {
    int64_t int_ = 0;
    double float_;
    Object* object_;
  };
};

struct Object {
  virtual ~Object() = default;
};

// A str; `markup`: Markup, the str that escapes what is joined to it (filters escape and safe).
struct Text : Object {
  Text(std::string text, bool is_markup) : bytes(std::move(text)), markup(is_markup) {}
  // Code points; a byte that is no UTF-8 counts as one.
  int64_t length() const;
  bool ascii() const { return length() == static_cast<int64_t>(bytes.size()); }

  const std::string bytes;
  const bool markup;

 private:
  mutable int64_t length_ = -1;
};

// A list or tuple.
struct Sequence : Object {
  std::vector<Value> items;
  int depth = 0;
  bool group = false;  // a (grouper, list) of groupby: a tuple with these two attributes
};

bool SameKey(const Value& a, const Value& b);

// Insertion-ordered. Keys are hashable values, compared as Python does: 1, 1.0 and True are one.
struct Dict : Object {
  void Set(const Value& key, const Value& value);
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;

  std::vector<std::pair<Value, Value>> entries;
  int depth = 0;

 private:
  // From a key's hash to its entry; empty while there are few.
  std::unordered_multimap<size_t, size_t> index_;
};

// dict.keys(), values() or items().
struct View : Object {
  enum class Kind { kKeys, kValues, kItems };
  View(const Value& a_dict, Kind a_kind) : dict(a_dict), kind(a_kind) {}
  const Value dict;
  const Kind kind;
};

struct Range : Object {
  Range(int64_t a_start, int64_t a_stop, int64_t a_step);
  const int64_t start, stop, step;
  int64_t size;
};

// Python's iterators and generators: each item comes once. Next returns false at the end.
// Draw from one through Interpreter::Next, which counts.
struct Iterator : Object {
  virtual bool Next(Interpreter& interpreter, Value& item) = 0;
  int depth = 0;  // of iterators that draw from one another
};

struct Namespace : Object {
  Dict attributes;
};

// An undefined value remembers how it came about for the message that its use brings.
struct Undefined : Object {
  std::string hint;  // the whole message, or empty:
  Value object;      // that which has no such attribute; missing: `name` is a variable
  Value name;
};

// What a call was given.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Functions, methods, macros, loops, joiners and cyclers.
struct Callable : Object {
  virtual Value Call(Interpreter& interpreter, const Arguments& arguments) = 0;
  virtual std::string Repr() const = 0;
  // Missing: there is no such attribute.
  virtual Value Attribute(Interpreter&, std::string_view) { return {}; }
  // A loop's length; -1 of anything else.
  virtual int64_t Length() { return -1; }
};

inline const Text& Value::AsText() const { return static_cast<const Text&>(*object_); }
inline const std::string& Value::bytes() const { return AsText().bytes; }
inline const Sequence& Value::AsSequence() const { return static_cast<const Sequence&>(*object_); }
inline const std::vector<Value>& Value::items() const { return AsSequence().items; }
inline const Dict& Value::AsDict() const { return static_cast<const Dict&>(*object_); }
inline const View& Value::AsView() const { return static_cast<const View&>(*object_); }
inline const Range& Value::AsRange() const { return static_cast<const Range&>(*object_); }
inline const Undefined& Value::AsUndefined() const {
  return static_cast<const Undefined&>(*object_);
}
inline Iterator& Value::AsIterator() const { return static_cast<Iterator&>(*object_); }
inline Namespace& Value::AsNamespace() const { return static_cast<Namespace&>(*object_); }
inline Callable& Value::AsCallable() const { return static_cast<Callable&>(*object_); }

// Owns all objects of one rendering and counts what the rendering costs.
class Heap {
 public:
  // Counts evaluation steps. Throws Failure when they run out.
  void Step(uint64_t steps = 1) {
    steps_ += steps;
    if (steps_ > kMaxSteps) OutOf("steps", kMaxSteps);
  }
  // Counts the steps of walking over so many bytes.
  void Walk(size_t bytes) { Step(bytes / 64); }
  // Counts memory; to be called before anything large is built.
  void Charge(uint64_t bytes) {
    bytes_ += bytes;
    if (bytes > kMaxBytes || bytes_ > kMaxBytes) OutOf("bytes", kMaxBytes);
  }
  // Throws if so many bytes could not be charged any more.
  void Check(uint64_t bytes) const {
    if (bytes > kMaxBytes || bytes_ + bytes > kMaxBytes) OutOf("bytes", kMaxBytes);
  }

  template <class T, class... Args>
  T* New(Args&&... args) {
    Charge(sizeof(T));
    auto owned = std::make_unique<T>(std::forward<Args>(args)...);
    T* object = owned.get();
    objects_.push_back(std::move(owned));
    return object;
  }

  Value Str(std::string text, bool markup = false);
  Value List(std::vector<Value> items) {
    return MakeSequence(Value::Type::kList, std::move(items));
  }
  Value Tuple(std::vector<Value> items) {
    return MakeSequence(Value::Type::kTuple, std::move(items));
  }
  Value Undefined(std::string hint);
  Value UndefinedVariable(const Value& name);
  Value UndefinedAttribute(const Value& object, const Value& name);
  // Wraps an iterator that draws from `source`.
  Value Iterate(Iterator* iterator, const Value& source);
  static Value Of(Dict* dict) { return {Value::Type::kDict, dict}; }
  static Value Of(Callable* callable) { return {Value::Type::kCallable, callable}; }

 private:
  [[noreturn]] static void OutOf(const char* what, uint64_t limit);
  Value MakeSequence(Value::Type type, std::vector<Value> items);

  std::deque<std::unique_ptr<Object>> objects_;
  uint64_t steps_ = 0;
  uint64_t bytes_ = 0;
};

// Python's name of the type: "str", "NoneType" ...
std::string_view TypeName(const Value& value);
// The name in jinja2's messages about missing attributes: "dict object", "None".
std::string ObjectName(const Value& value);
// Fails as any use of the undefined value but printing and testing does.
[[noreturn]] void RaiseUndefined(const Value& undefined);
// Throws unless the value may be a dict's key. To be called before it is looked up or set.
void RequireHashable(Heap& heap, const Value& value);

}  // namespace halftone::jinja
