#include "hub/select.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"

namespace halftone {
namespace {

constexpr std::string_view kWeights = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kConfig = "config.json";

// The small files beside the weights, as far as they are there.
constexpr std::string_view kDocuments[] = {"config.json",
                                           "generation_config.json",
                                           "tokenizer.json",
                                           "tokenizer.model",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "chat_template.jinja",
                                           "chat_template.json",
                                           "quantize_config.json",
                                           "quant_config.json"};

constexpr std::string_view kPickled[] = {".bin", ".pt", ".pth", ".ckpt"};

// Names listed in a message.
constexpr size_t kMostNames = 30;

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool IsGguf(std::string_view name) { return Lower(name).ends_with(".gguf"); }

// GGUF files that hold no language model.
bool IsBeside(std::string_view name) {
  const std::string lower = Lower(BaseName(name));
  return lower.starts_with("mmproj") || lower.find("imatrix") != lower.npos;
}

struct Part {
  std::string prefix;  // of the path, up to "-00001-of-"
  int number = 0, count = 0;
};

// The place of <prefix>-00002-of-00005.gguf among the parts of a split file.
std::optional<Part> PartOf(std::string_view path) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kDigits = 5, kTail = 1 + 2 * kDigits + kOf.size();
  if (!IsGguf(path)) return std::nullopt;
  path.remove_suffix(5);
  if (path.size() <= kTail) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kTail);
  const auto number = [](std::string_view digits) {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? value : 0;
  };
  Part part{std::string(path.substr(0, path.size() - kTail)), number(tail.substr(1, kDigits)),
            number(tail.substr(1 + kDigits + kOf.size()))};
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || part.number < 1 ||
      part.count < part.number) {
    return std::nullopt;
  }
  return part;
}

// All parts of the split file that `name` belongs to, or the file alone.
std::vector<std::string> WithParts(const HubId& id, const std::string& name,
                                   const std::vector<std::string>& listing) {
  const auto part = PartOf(name);
  if (!part) return {name};
  std::vector<std::string> files;
  for (int number = 1; number <= part->count; ++number) {
    files.push_back(fmt::format("{}-{:05}-of-{:05}{}", part->prefix, number, part->count,
                                name.substr(name.size() - 5)));
    if (std::ranges::find(listing, files.back()) == listing.end()) {
      FailUsage("{}: part '{}' of the split file is missing", id.repo, Printable(files.back()));
    }
  }
  return files;
}

// The files to name when one is meant: of a split file the first part.
std::vector<std::string> Models(const std::vector<std::string>& listing) {
  std::vector<std::string> models;
  for (const std::string& name : listing) {
    if (!IsGguf(name) || IsBeside(name)) continue;
    const auto part = PartOf(name);
    if (!part || part->number == 1) models.push_back(name);
  }
  return models;
}

// Whether `tag` is a word of the name: nothing that could belong to it stands around it. "F16" is
// none of "bf16", "Q4_0" none of "Q4_0_8_8".
bool HasWord(std::string_view name, std::string_view tag) {
  const auto joins = [](unsigned char c) { return std::isalnum(c) != 0; };
  for (size_t at = name.find(tag); at != name.npos; at = name.find(tag, at + 1)) {
    const size_t end = at + tag.size();
    const bool begins = at == 0 || !joins(name[at - 1]);
    const bool ends = end == name.size() || (!joins(name[end]) && name[end] != '_');
    if (begins && ends) return true;
  }
  return false;
}

std::string NameList(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) {
    shown.push_back(Printable(names[i]));
  }
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > kMostNames ? ", ..." : "");
}

bool Contains(const std::vector<std::string>& listing, std::string_view name) {
  return std::ranges::find(listing, name) != listing.end();
}

Selection NamedFile(const HubId& id, const std::vector<std::string>& listing, bool complete) {
  const std::vector<std::string> models = Models(listing);
  std::vector<std::string> matching;
  if (Contains(listing, id.file)) {
    matching = {id.file};
  } else {
    const std::string tag = Lower(id.file);
    std::ranges::copy_if(models, std::back_inserter(matching),
                         [&](const std::string& name) { return HasWord(Lower(name), tag); });
  }
  if (matching.empty()) {
    FailUsage("{}: {} no file or quantization '{}'{}{}", id.repo,
              complete ? "has" : "the cache has", Printable(id.file),
              models.empty() ? "" : "; there are: ", NameList(models));
  }
  if (matching.size() > 1) {
    FailUsage("{}: '{}' may be any of: {}", id.repo, Printable(id.file), NameList(matching));
  }
  for (const std::string_view extension : kPickled) {
    if (Lower(matching[0]).ends_with(extension)) {
      FailUnsupported(
          "{}: '{}' is pickled, which may run code when it is loaded, and is not fetched", id.repo,
          Printable(matching[0]));
    }
  }
  Selection selection{WithParts(id, matching[0], listing), {}, {}};
  selection.open = selection.files[0];
  // A single file of weights is read with the settings in its folder.
  if (selection.open.ends_with(".safetensors")) {
    const std::string folder =
        selection.open.substr(0, selection.open.size() - BaseName(selection.open).size());
    for (const std::string_view document : kDocuments) {
      const std::string path = folder + std::string(document);
      if (Contains(listing, path)) selection.files.push_back(path);
    }
  }
  return selection;
}

void AddDocuments(const std::vector<std::string>& listing, Selection& selection) {
  for (const std::string_view document : kDocuments) {
    if (Contains(listing, document)) selection.files.emplace_back(document);
  }
}

// Safetensors at the top of the repository. Checkpoints of GPTQ often have one of another name.
bool Folder(const std::vector<std::string>& listing, Selection& selection) {
  if (Contains(listing, kWeights)) {
    selection.files.emplace_back(kWeights);
  } else if (Contains(listing, kIndex)) {
    selection.files.emplace_back(kIndex);
    selection.index = kIndex;
  } else {
    std::vector<std::string> single;
    std::ranges::copy_if(listing, std::back_inserter(single), [](const std::string& name) {
      return name.ends_with(".safetensors") && name.find('/') == name.npos;
    });
    if (single.size() != 1 || !Contains(listing, kConfig)) return false;
    selection.files.push_back(single[0]);
    selection.open = single[0];
  }
  AddDocuments(listing, selection);
  return true;
}

[[noreturn]] void FailNothing(const HubId& id, const std::vector<std::string>& listing,
                              bool complete) {
  for (const std::string& name : listing) {
    for (const std::string_view extension : kPickled) {
      if (!Lower(name).ends_with(extension)) continue;
      FailUnsupported(
          "{0}: has its weights only as pickled PyTorch files ('{1}'), which may run code when "
          "they "
          "are loaded; convert them where you trust them, with transformers: "
          "AutoModelForCausalLM.from_pretrained('{0}').save_pretrained('folder'), the same for "
          "AutoTokenizer, or look for a branch with safetensors and add @REVISION",
          id.repo, Printable(name));
    }
  }
  if (!complete) {
    FailUsage("{}: the cache has no whole model of revision '{}'", id.repo, Printable(id.revision));
  }
  FailUnsupported("{}: holds neither GGUF files nor a model in safetensors", id.repo);
}

}  // namespace

Selection SelectFiles(const HubId& id, const std::vector<std::string>& listing, bool complete) {
  if (!id.file.empty()) return NamedFile(id, listing, complete);
  Selection selection;
  if (Folder(listing, selection)) return selection;
  const std::vector<std::string> models = Models(listing);
  if (models.empty()) FailNothing(id, listing, complete);
  if (models.size() > 1) {
    FailUsage("{}: has several models; name one, or its quantization, as {}:NAME: {}", id.repo,
              id.repo, NameList(models));
  }
  selection.files = WithParts(id, models[0], listing);
  selection.open = selection.files[0];
  return selection;
}

std::vector<std::string> IndexParts(const std::string& text, const std::string& source,
                                    const std::vector<std::string>& listing) {
  const Json json = ParseJson(text, source);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object()) FailFormat("{}: has no object 'weight_map'", source);
  std::set<std::string> parts;
  for (const auto& [tensor, part] : map->items()) {
    if (!part.is_string()) {
      FailFormat("{}: tensor '{}': the part must be a string", source, Printable(tensor));
    }
    parts.insert(part.get<std::string>());
  }
  for (const std::string& part : parts) {
    if (!Contains(listing, part) || !part.ends_with(".safetensors")) {
      FailFormat("{}: the part '{}' is missing", source, Printable(part));
    }
  }
  return {parts.begin(), parts.end()};
}

}  // namespace halftone
