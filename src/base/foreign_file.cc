#include "base/foreign_file.h"

#include <algorithm>
#include <fstream>

namespace halftone {
namespace {

struct Kind {
  std::string_view begin;
  std::string_view message;
};

constexpr std::string_view kWebPage =
    "is a web page and not the file itself: the address led elsewhere; download it again";
constexpr std::string_view kOldGgml =
    "is in a format of llama.cpp's before GGUF, which is not read; its "
    "convert_llama_ggml_to_gguf.py makes a GGUF file of it";
constexpr std::string_view kCompressed = "is compressed; unpack it first";

constexpr Kind kKinds[] = {
    {"version https://git-lfs",
     "is a Git LFS pointer instead of the file itself; fetch it with 'git lfs pull'"},
    {"<!DOCTYPE html", kWebPage},
    {"<!doctype html", kWebPage},
    {"<html", kWebPage},
    {"<?xml", kWebPage},
    {"tjgg", kOldGgml},
    {"fmgg", kOldGgml},
    {"lmgg", kOldGgml},
    {"PK\x03\x04",
     "is a zip archive: pickled PyTorch weights, to be converted to safetensors first, or files to "
     "be unpacked"},
    {"\x1F\x8B", kCompressed},
    {"\xFD"
     "7zXZ",
     kCompressed},
    {"\x28\xB5\x2F\xFD", kCompressed},
    {"\x89HDF",
     "holds weights of TensorFlow or Keras (HDF5), which are not read; save them as safetensors "
     "first"},
};

}  // namespace

std::string_view ForeignFile(std::string_view begin) {
  if (begin.empty()) return "is empty; if it was downloaded, download it again";
  for (const Kind& kind : kKinds) {
    if (begin.starts_with(kind.begin)) return kind.message;
  }
  constexpr size_t kSome = 64;
  if (begin.size() >= kSome && begin.substr(0, kSome).find_first_not_of('\0') == begin.npos) {
    return "begins with zeros, as a file does whose download ended early; download it again";
  }
  return "";
}

std::string_view ForeignFile(std::span<const uint8_t> begin) {
  return ForeignFile(std::string_view(reinterpret_cast<const char*>(begin.data()), begin.size()));
}

std::string BeginningOf(const std::filesystem::path& path) {
  std::string begin(512, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  begin.resize(static_cast<size_t>(file.gcount()));
  return begin;
}

}  // namespace halftone
