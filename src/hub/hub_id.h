// How a model on the hub is named: ORG/NAME[:FILE][@REVISION].

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace halftone {

struct HubId {
  std::string repo;  // "ORG/NAME"
  // A file of the repository, or the name of a quantization that one of its .gguf files has in its
  // name ("Q8_0"); empty: what the repository's files suggest.
  std::string file;
  std::string revision = "main";  // a branch, a tag, "refs/pr/1" or a commit
};

// None for a text that does not follow the pattern. ORG and NAME are what the hub allows: letters,
// digits, '.', '-' and '_', neither "--" nor "..".
std::optional<HubId> ParseHubId(std::string_view text);

// Whether a name of a file within a repository stays within a folder: parts divided by '/', none of
// them empty, "." or "..", no control characters and no backslash.
bool IsSafeName(std::string_view name);

// Whether the text is a commit: 40 hexadecimal digits.
bool IsCommit(std::string_view text);

}  // namespace halftone
