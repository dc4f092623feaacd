// GGUF, versions 2 and 3: the numbers that reader and writer share. docs/formats/gguf.md has the
// whole picture; in short, everything little-endian:
//
//   "GGUF" | u32 version | u64 tensors | u64 keys | keys x KV | tensors x TI | padding | data
//   KV = string key | u32 value type | value
//   TI = string name | u32 dimensions | dimensions x u64 extent | u32 tensor type | u64 offset
//   string = u64 length | bytes
//   array value = u32 element type | u64 count | elements
//
// Extents lie innermost first, the reverse of Tensor::shape. The data section begins at a multiple
// of the alignment, and each tensor in it at the running sum of the padded sizes before it.
//
// Source: ggml, docs/gguf.md and gguf.cpp.

#pragma once

#include <cstdint>
#include <string_view>

namespace halftone::gguf {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kVersion = 3;  // written; 2 has the same bytes otherwise

// Ids of value types are the positions in the variants Value and Array::elements.
constexpr uint32_t kValueTypes = 13;
constexpr uint32_t kArrayType = 9;

constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr uint32_t kDefaultAlignment = 32;

// ggml's limits; a file beyond them would not load there.
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxNameBytes = 63;
constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxArrayElements = uint64_t{1} << 30;

// The fewest bytes that a key with its value and a tensor's entry can take: what bounds the counts
// in the header by the size of the file before anything is allocated.
constexpr uint64_t kMinKeyBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;

// Split models: part `no` (from 0) of `count`, named <prefix>-%05d-of-%05d.gguf with parts from 1.
// The numbers are u16 and, of all tensors, i32.
constexpr uint64_t kMaxParts = 65535;
constexpr std::string_view kSplitNoKey = "split.no";
constexpr std::string_view kSplitCountKey = "split.count";
constexpr std::string_view kSplitTensorsKey = "split.tensors.count";

}  // namespace halftone::gguf
