#include "tokenizer/jinja_interpreter.h"

#include <algorithm>

#include "tokenizer/jinja_access.h"
#include "tokenizer/jinja_functions.h"
#include "tokenizer/jinja_loop.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace halftone::jinja {
namespace {

// Each level takes less than a kilobyte of stack, and a macro's call takes several levels.
constexpr int kMaxLevels = 1500;

using Kind = Expression::Kind;

}  // namespace

Interpreter::Interpreter(const Template& parsed, Heap& heap) : template_(parsed), heap_(heap) {
  loop_name_ = FindName("loop");
}

int Interpreter::FindName(std::string_view name) const {
  const auto it = std::ranges::find(template_.names, name);
  return it == template_.names.end() ? -1 : static_cast<int>(it - template_.names.begin());
}

std::string Interpreter::Run(const Dict& context) {
  for (const std::string& name : template_.names) {
    const Value* value = context.Find(name);
    variables_.push_back(value != nullptr ? *value : FindGlobal(*this, name));
  }
  for (const int name : template_.body.unset) variables_[name] = Value();
  Execute(template_.body.statements);
  return std::move(output_);
}

Interpreter::Level::Level(Interpreter& interpreter) : interpreter_(interpreter) {
  if (interpreter_.level_ >= kMaxLevels) RaiseUnsupported("calls nested too deep");
  ++interpreter_.level_;
  interpreter_.heap_.Step();
}

Interpreter::Entered::Entered(Interpreter& interpreter, Scope* parent, const Body* body)
    : interpreter_(interpreter), before_(interpreter.scope_) {
  if (interpreter.free_scopes_.empty()) {
    interpreter.heap_.Charge(sizeof(Scope) + 4 * sizeof(Value));
    interpreter.scopes_.push_back(std::make_unique<Scope>());
    interpreter.free_scopes_.push_back(interpreter.scopes_.back().get());
  }
  scope_ = interpreter.free_scopes_.back();
  interpreter.free_scopes_.pop_back();
  scope_->parent = parent;
  if (body != nullptr) {
    for (const int name : body->unset) scope_->variables.emplace_back(name, Value());
  }
  interpreter.scope_ = scope_;
}

Interpreter::Entered::~Entered() {
  interpreter_.scope_ = before_;
  if (scope_->captured) return;
  scope_->variables.clear();
  interpreter_.free_scopes_.push_back(scope_);
}

void Interpreter::Capture(Scope* scope) {
  for (; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
}

Value Interpreter::Lookup(int name) {
  const Value* found = &variables_[name];
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    const auto it = std::ranges::find(scope->variables, name, &std::pair<int, Value>::first);
    if (it == scope->variables.end()) continue;
    found = &it->second;
    break;
  }
  return found->missing() ? heap_.UndefinedVariable(heap_.Str(NameOf(name))) : *found;
}

void Interpreter::AssignName(int name, const Value& value) {
  if (scope_ == nullptr) {
    variables_[name] = value;
    return;
  }
  auto& variables = scope_->variables;
  const auto it = std::ranges::find(variables, name, &std::pair<int, Value>::first);
  if (it == variables.end()) {
    variables.emplace_back(name, value);
  } else {
    it->second = value;
  }
}

void Interpreter::Assign(const Expression& target, const Value& value) {
  if (target.kind == Kind::kName) return AssignName(target.name, value);
  if (target.kind == Kind::kAttributeRef) {
    if (target.text.starts_with('_')) {
      Raise("namespaces have no attribute '{}' with an underscore in front", target.text);
    }
    Lookup(target.name).AsNamespace().attributes.Set(target.constant, value);
    return;
  }
  const std::vector<Value> items = Items(*this, value);
  if (items.size() != target.parts.size()) {
    Raise("cannot unpack {} values into {} names", items.size(), target.parts.size());
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(*target.parts[i], items[i]);
}

void Interpreter::RequireNamespaces(const Expression& target) {
  if (target.kind == Kind::kAttributeRef && !Lookup(target.name).Is(Value::Type::kNamespace)) {
    Raise("cannot set an attribute of '{}', which is no namespace", NameOf(target.name));
  }
  if (target.kind != Kind::kTuple) return;
  for (const Expression* part : target.parts) RequireNamespaces(*part);
}

void Interpreter::Write(std::string_view text) {
  if (output_.size() + text.size() > kMaxOutput) {
    RaiseUnsupported("rendering more than {} bytes", kMaxOutput);
  }
  output_ += text;
}

void Interpreter::WriteText(const Value& value) {
  if (!value.text()) Raise("expected a string to write, {} found", TypeName(value));
  Write(value.bytes());
}

Value Interpreter::Call(const Value& callee, const Arguments& arguments) {
  const Level level(*this);
  if (callee.undefined()) RaiseUndefined(callee);
  if (!callee.Is(Value::Type::kCallable)) {
    Raise("'{}' object is not callable", TypeName(callee));
  }
  return callee.AsCallable().Call(*this, arguments);
}

bool Interpreter::Next(Iterator& iterator, Value& item) {
  const Level level(*this);
  return iterator.Next(*this, item);
}

Value Interpreter::RenderMacro(const Statement& macro, Scope* parent,
                               std::vector<std::pair<int, Value>> variables) {
  Captured captured(*this);
  const Entered entered(*this, parent, &macro.body);
  // The parameters come first.
  scope_->variables.insert(scope_->variables.begin(), variables.begin(), variables.end());
  const Signature& signature = macro.signature;
  const size_t first_default = signature.names.size() - signature.defaults.size();
  for (size_t i = 0; i < signature.names.size(); ++i) {
    if (!scope_->variables[i].second.missing()) continue;
    const Value value = i < first_default
                            ? heap_.Undefined(fmt::format("parameter '{}' was not provided",
                                                          NameOf(signature.names[i])))
                            : Evaluate(*signature.defaults[i - first_default]);
    scope_->variables[i].second = value;
  }
  Execute(macro.body.statements);
  return captured.Text();
}

Value Interpreter::RenderLoop(const Statement& loop, Scope* parent, const Value& items, int depth) {
  const Level level(*this);
  Captured captured(*this);
  ExecuteLoop(loop, parent, items, depth);
  return captured.Text();
}

bool Interpreter::Admits(const Statement& loop, Scope* parent, const Value& item) {
  const Entered entered(*this, parent, nullptr);
  Assign(*loop.target, item);
  return Truth(Evaluate(*loop.values[1]));
}

Interpreter::Flow Interpreter::Execute(const Block& block) {
  for (const Statement* statement : block) {
    if (const Flow flow = Execute(*statement); flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Interpreter::Flow Interpreter::Execute(const Statement& statement) {
  const Level level(*this);
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::Kind::kText:
      Write(statement.text);
      break;
    case Statement::Kind::kPrint:
      ExecutePrint(statement);
      break;
    case Statement::Kind::kIf:
      return ExecuteIf(statement);
    case Statement::Kind::kFor:
      return ExecuteFor(statement);
    case Statement::Kind::kSet:
      RequireNamespaces(*statement.target);
      Assign(*statement.target, Evaluate(*statement.values[0]));
      break;
    case Statement::Kind::kSetBlock:
      return ExecuteSetBlock(statement);
    case Statement::Kind::kMacro:
      Capture(scope_);
      AssignName(statement.name, Heap::Of(heap_.New<Macro>(statement, scope_, statement.text)));
      break;
    case Statement::Kind::kCall:
      ExecuteCall(statement);
      break;
    case Statement::Kind::kFilter:
      return ExecuteFilter(statement);
    case Statement::Kind::kWith:
      return ExecuteWith(statement);
    case Statement::Kind::kScope:
      Capture(scope_);
      Write(Macro(statement, scope_, {}).Call(*this, {}).bytes());
      break;
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

void Interpreter::ExecutePrint(const Statement& statement) {
  for (const Expression* expression : statement.values) {
    const Value value = Evaluate(*expression);
    if (value.text()) {
      Write(value.bytes());
    } else {
      Write(Str(value));
    }
  }
}

Interpreter::Flow Interpreter::ExecuteIf(const Statement& statement) {
  for (const Statement::Branch& branch : statement.branches) {
    if (branch.condition == nullptr || Truth(Evaluate(*branch.condition))) {
      return Execute(branch.body);
    }
  }
  return Flow::kOn;
}

Interpreter::Flow Interpreter::ExecuteFor(const Statement& statement) {
  const Value items = Evaluate(*statement.values[0]);
  // The loop's condition and its recursion need the variables around it as long as `loop` lives.
  if (statement.recursive || statement.values[1] != nullptr) Capture(scope_);
  if (!statement.recursive) return ExecuteLoop(statement, scope_, items, 0);
  Write(RenderLoop(statement, scope_, items, 0).bytes());
  return Flow::kOn;
}

Interpreter::Flow Interpreter::ExecuteLoop(const Statement& statement, Scope* parent,
                                           const Value& items, int depth) {
  auto* loop = heap_.New<Loop>(*this, statement, parent, items, depth);
  bool ran_through = false;
  Value item;
  while (loop->Advance(item)) {
    const Entered entered(*this, parent, &statement.body);
    Assign(*statement.target, item);
    if (loop_name_ >= 0) AssignName(loop_name_, Heap::Of(loop));
    const Flow flow = Execute(statement.body.statements);
    if (flow == Flow::kBreak) break;
    ran_through |= flow == Flow::kOn;
  }
  // jinja2 notes that a loop ran at the end of its body, which break and continue never reach.
  if (ran_through || statement.otherwise.statements.empty()) return Flow::kOn;
  const Entered entered(*this, parent, &statement.otherwise);
  return Execute(statement.otherwise.statements);
}

Interpreter::Flow Interpreter::ExecuteSetBlock(const Statement& statement) {
  Value text;
  {
    const Entered entered(*this, scope_, &statement.body);
    Captured captured(*this);
    if (const Flow flow = Execute(statement.body.statements); flow != Flow::kOn) return flow;
    text = captured.Text();
    if (statement.filter != nullptr) text = EvaluateFilter(*statement.filter, &text);
  }
  RequireNamespaces(*statement.target);
  Assign(*statement.target, text);
  return Flow::kOn;
}

Interpreter::Flow Interpreter::ExecuteFilter(const Statement& statement) {
  const Entered entered(*this, scope_, &statement.body);
  Value text;
  {
    Captured captured(*this);
    if (const Flow flow = Execute(statement.body.statements); flow != Flow::kOn) return flow;
    text = captured.Text();
  }
  WriteText(EvaluateFilter(*statement.filter, &text));
  return Flow::kOn;
}

Interpreter::Flow Interpreter::ExecuteWith(const Statement& statement) {
  const std::vector<Value> values = EvaluateAll(statement.values);
  const Entered entered(*this, scope_, &statement.body);
  for (size_t i = 0; i < values.size(); ++i) Assign(*statement.targets[i], values[i]);
  return Execute(statement.body.statements);
}

void Interpreter::ExecuteCall(const Statement& statement) {
  Capture(scope_);
  const Value caller = Heap::Of(heap_.New<Macro>(statement, scope_, std::string()));
  WriteText(EvaluateCall(*statement.values[0], &caller));
}

}  // namespace halftone::jinja
