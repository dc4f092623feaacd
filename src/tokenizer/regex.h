// Regular expressions over UTF-8, by PCRE2 with Unicode classes and its just-in-time compiler.
//
// A Regex is immutable and may be shared by threads; each thread matches with a RegexMatcher of its
// own, which holds the machine stack of the compiled code. Texts of any length may be matched: no
// recursion depends on the subject.

#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace halftone {

struct RegexMatch {
  size_t begin = 0;  // byte offsets in the subject
  size_t end = 0;
};

class Regex {
 public:
  // Throws Error (kFormat) if the pattern is no regular expression.
  explicit Regex(std::string_view pattern);

 private:
  friend class RegexMatcher;
  std::shared_ptr<const void> code_;
};

class RegexMatcher {
 public:
  RegexMatcher();

  // The first match that begins at or after `from`. `subject` must be valid UTF-8 and `from` lie on
  // a character's border. Throws Error (kUnsupported) where PCRE2 gives up.
  std::optional<RegexMatch> Find(const Regex& regex, std::string_view subject, size_t from);

 private:
  std::shared_ptr<void> data_;
  std::shared_ptr<void> context_;
  std::shared_ptr<void> stack_;
};

}  // namespace halftone
