#include "tokenizer/chat_template.h"

#include <memory>

#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/jinja_json.h"
#include "tokenizer/jinja_syntax.h"
#include "tokenizer/jinja_value.h"

namespace halftone {
namespace {

constexpr size_t kMaxSource = size_t{1} << 20;
constexpr size_t kMaxMessage = 1024;

}  // namespace

std::string RenderChatTemplate(std::string_view source, const OrderedJson& context) {
  if (source.size() > kMaxSource) {
    FailUnsupported("chat template: longer than {} bytes", kMaxSource);
  }
  jinja::Heap heap;
  const std::unique_ptr<const jinja::Template> parsed = jinja::Parse(source, heap);
  jinja::Interpreter interpreter(*parsed, heap);
  try {
    const jinja::Value variables = jinja::FromJson(heap, context);
    if (!variables.Is(jinja::Value::Type::kDict)) FailUsage("chat template: no variables to use");
    return interpreter.Run(variables.AsDict());
  } catch (const jinja::Failure& failure) {
    const std::string message = Printable(failure.what(), kMaxMessage);
    if (failure.kind == Error::Kind::kUsage) FailUsage("chat template: {}", message);
    Fail(failure.kind, "chat template, line {}: {}", interpreter.line(), message);
  }
}

}  // namespace halftone
