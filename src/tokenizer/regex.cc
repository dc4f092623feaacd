#include "tokenizer/regex.h"

#include <new>

#include "base/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace halftone {
namespace {

constexpr size_t kStackStart = size_t{32} << 10;
constexpr size_t kStackLimit = size_t{8} << 20;

}  // namespace

Regex::Regex(std::string_view pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    FailFormat("regular expression '{}' is malformed at byte {} (PCRE2 error {})", pattern, offset,
               error);
  }
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
  // Where the system forbids generated code, this fails and the interpreter serves instead.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

RegexMatcher::RegexMatcher() {
  // One pair of offsets: only the whole match is ever asked for.
  data_ = std::shared_ptr<void>(pcre2_match_data_create(1, nullptr), [](void* p) {
    pcre2_match_data_free(static_cast<pcre2_match_data*>(p));
  });
  context_ = std::shared_ptr<void>(pcre2_match_context_create(nullptr), [](void* p) {
    pcre2_match_context_free(static_cast<pcre2_match_context*>(p));
  });
  if (!data_ || !context_) throw std::bad_alloc();
  auto* context = static_cast<pcre2_match_context*>(context_.get());
  // The default limit counts every step back, and a run of millions of spaces needs as many.
  pcre2_set_match_limit(context, UINT32_MAX);
  // Without a stack of its own the compiled code makes do with 32 KiB of the caller's.
  stack_ =
      std::shared_ptr<void>(pcre2_jit_stack_create(kStackStart, kStackLimit, nullptr), [](void* p) {
        if (p != nullptr) pcre2_jit_stack_free(static_cast<pcre2_jit_stack*>(p));
      });
  if (stack_) pcre2_jit_stack_assign(context, nullptr, stack_.get());
}

std::optional<RegexMatch> RegexMatcher::Find(const Regex& regex, std::string_view subject,
                                             size_t from) {
  const auto* code = static_cast<const pcre2_code*>(regex.code_.get());
  auto* data = static_cast<pcre2_match_data*>(data_.get());
  auto* context = static_cast<pcre2_match_context*>(context_.get());
  const auto* text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  int rc = pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK, data, context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    // The interpreter keeps its frames on the heap.
    rc = pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data,
                     context);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (rc < 0) FailUnsupported("text is too hard for its regular expression (PCRE2 error {})", rc);
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data);
  return RegexMatch{offsets[0], offsets[1]};
}

}  // namespace halftone
