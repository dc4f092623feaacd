#include "tokenizer/jinja_scopes.h"

#include <set>

namespace halftone::jinja {
namespace {

using Kind = Statement::Kind;

class Frame {
 public:
  explicit Frame(const Frame* parent) : parent_(parent) {}

  void Declare(int name) { known_.insert(name); }
  void Load(int name) {
    if (!Knows(name)) known_.insert(name);
  }
  // In a branch of an {% if %} the variable may stay as it was, so it does not become unset.
  void Store(int name) {
    if (!Knows(name) && branches_ == 0) unset_.push_back(name);
    known_.insert(name);
  }
  void EnterBranch() { ++branches_; }
  void LeaveBranch() { --branches_; }

  const std::vector<int>& unset() const { return unset_; }

 private:
  bool Knows(int name) const {
    return known_.contains(name) || (parent_ != nullptr && parent_->Knows(name));
  }

  const Frame* parent_;
  std::set<int> known_;
  std::vector<int> unset_;
  int branches_ = 0;  // that enclose the present place
};

void LoadAll(const Expression* expression, Frame& frame);

void LoadAll(const CallSyntax& call, Frame& frame) {
  for (const Expression* argument : call.positional) LoadAll(argument, frame);
  for (const auto& [name, argument] : call.named) LoadAll(argument, frame);
  LoadAll(call.more_positional, frame);
  LoadAll(call.more_named, frame);
}

void LoadAll(const Expression* expression, Frame& frame) {
  if (expression == nullptr) return;
  if (expression->name >= 0) frame.Load(expression->name);
  for (const Expression* part : expression->parts) LoadAll(part, frame);
  LoadAll(expression->call, frame);
}

// Stores to the names of a target; a namespace's attribute is a read of the namespace.
void StoreAll(const Expression* target, Frame& frame) {
  if (target->kind == Expression::Kind::kName) return frame.Store(target->name);
  if (target->kind == Expression::Kind::kAttributeRef) return frame.Load(target->name);
  for (const Expression* part : target->parts) StoreAll(part, frame);
}

void DeclareAll(const Expression* target, Frame& frame) {
  if (target->name >= 0) frame.Declare(target->name);
  for (const Expression* part : target->parts) DeclareAll(part, frame);
}

void Scan(const Block& block, Frame& frame);

// What a statement reads and writes in the scope that it stands in.
void Scan(const Statement& statement, Frame& frame) {
  switch (statement.kind) {
    case Kind::kIf:
      frame.EnterBranch();
      for (const Statement::Branch& branch : statement.branches) {
        LoadAll(branch.condition, frame);
        Scan(branch.body, frame);
      }
      frame.LeaveBranch();
      break;
    case Kind::kSet:
      LoadAll(statement.values[0], frame);
      StoreAll(statement.target, frame);
      break;
    case Kind::kSetBlock:
      StoreAll(statement.target, frame);
      break;
    case Kind::kMacro:
      frame.Store(statement.name);
      break;
    case Kind::kFor:
      LoadAll(statement.values[0], frame);
      break;
    case Kind::kFilter:
      LoadAll(statement.filter, frame);
      break;
    default:
      for (const Expression* value : statement.values) LoadAll(value, frame);
  }
}

void Scan(const Block& block, Frame& frame) {
  for (const Statement* statement : block) Scan(*statement, frame);
}

void ResolveInner(Block& block, const Frame& frame);

void Resolve(Body& body, Frame& frame) {
  Scan(body.statements, frame);
  body.unset = frame.unset();
  ResolveInner(body.statements, frame);
}

// The scopes within statements of a scope that is known as a whole.
void ResolveInner(Block& block, const Frame& frame) {
  for (Statement* statement : block) {
    for (Statement::Branch& branch : statement->branches) ResolveInner(branch.body, frame);
    Frame inner(&frame);
    if (statement->kind == Kind::kFor) DeclareAll(statement->target, inner);
    for (const Expression* target : statement->targets) DeclareAll(target, inner);
    for (const int name : statement->signature.names) inner.Declare(name);
    for (const Expression* value : statement->signature.defaults) LoadAll(value, inner);
    Resolve(statement->body, inner);
    Frame otherwise(&frame);
    Resolve(statement->otherwise, otherwise);
  }
}

}  // namespace

void ResolveScopes(Template& parsed) {
  Frame frame(nullptr);
  Resolve(parsed.body, frame);
}

}  // namespace halftone::jinja
