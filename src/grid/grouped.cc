#include "grid/grouped.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "grid/e2m1.h"
#include "grid/grouped_encode.h"
#include "grid/nibbles.h"
#include "grid/rounding.h"

namespace halftone {
namespace {

// Dettmers et al. 2023, as bitsandbytes stores them.
constexpr std::array<float, 16> kNf4 = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// bitsandbytes' order: sign, then 3 bits without an order of their own. It has +0 twice.
constexpr std::array<float, 16> kFp4 = {
    0.0f, 0.005208333333f,  0.66666667f,  1.0f,  0.33333333f,  0.5f,  0.16666667f,  0.25f,
    0.0f, -0.005208333333f, -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f};

// 1 sign, 4 exponent bits with bias 7, 3 mantissa bits; 0x7F and 0xFF are NaN, read as 0.
float E4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if ((code & 127) == 127) return 0;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(1.0f + static_cast<float>(mantissa) / 8, exponent - 7);
  return code & 128 ? -magnitude : magnitude;
}

// A grid and all that its record points to. The record's `grouped` is the member itself.
struct Member : GroupedSpec {
  explicit Member(const GroupedSpec& spec) : GroupedSpec(spec), spec(*this) {}
  Member(const Member&) = delete;

  const GroupedSpec& spec;
  std::string name;
  std::vector<float> levels;          // by code
  std::vector<float> sorted;          // ascending, each level once
  std::vector<uint8_t> sorted_codes;  // the code of each sorted level
  GroupedEncoder encoder;
  ScalarGrid scalar;
  Grid grid{};
};

const Member& MemberOf(const Grid& grid) { return *static_cast<const Member*>(grid.grouped); }

bool HasZero(const GroupedSpec& spec) {
  return spec.levels == GroupedLevels::kInteger && !spec.symmetric;
}

bool SplitNibbles(const GroupedSpec& spec, int block) { return spec.bits == 4 && block % 32 == 0; }

int HeaderBytes(const GroupedSpec& spec) {
  return ScaleBytes(spec.scale) + static_cast<int>(HasZero(spec));
}

// `split`: whether the block that these codes are of is one of SplitNibbles.
void Unpack(const GroupedSpec& spec, bool split, int count, const uint8_t* packed, uint8_t* codes) {
  if (split) {
    for (int e = 0; e < count; e += 32, packed += 16) {
      for (int l = 0; l < 16; ++l) codes[e + l] = packed[l] & 15;
      for (int l = 0; l < 16; ++l) codes[e + 16 + l] = packed[l] >> 4;
    }
    return;
  }
  const unsigned mask = (1u << spec.bits) - 1;
  for (int e = 0; e < count; ++e) {
    const int bit = e * spec.bits;
    unsigned two = packed[bit / 8];
    if (bit % 8 + spec.bits > 8) two |= static_cast<unsigned>(packed[bit / 8 + 1]) << 8;
    codes[e] = static_cast<uint8_t>(two >> (bit % 8) & mask);
  }
}

void Pack(const GroupedSpec& spec, int block, const uint8_t* codes, uint8_t* packed) {
  if (SplitNibbles(spec, block)) {
    for (int e = 0; e < block; e += 32, packed += 16) PackNibbles(codes + e, packed);
    return;
  }
  std::fill(packed, packed + block * spec.bits / 8, 0);
  for (int e = 0; e < block; ++e) {
    const int bit = e * spec.bits;
    const unsigned two = static_cast<unsigned>(codes[e]) << (bit % 8);
    packed[bit / 8] |= static_cast<uint8_t>(two);
    if (bit % 8 + spec.bits > 8) packed[bit / 8 + 1] |= static_cast<uint8_t>(two >> 8);
  }
}

void Decode(const Grid& grid, const uint8_t* blocks, int64_t n, float* weights) {
  const Member& member = MemberOf(grid);
  const GroupedSpec& spec = member.spec;
  const int header = HeaderBytes(spec);
  // A level times the scale is one of 2^bits values; with 8 bits there are more of those than
  // weights in a group.
  std::array<float, 16> value;
  // Products call this for each row of a matrix: long blocks are taken in pieces, so that nothing
  // is allocated.
  constexpr int kPiece = 256;
  uint8_t codes[kPiece];
  const bool split = SplitNibbles(spec, grid.block);
  for (int64_t at = 0; at < n; at += grid.block, blocks += grid.bytes) {
    const float scale = LoadReal(spec.scale, blocks);
    const float zero = HasZero(spec) ? static_cast<float>(blocks[header - 1]) : 0.0f;
    const auto valued = [&](uint8_t code) {
      const float product = (member.levels[code] - zero) * scale;
      return RoundToReal(spec.value, product * spec.after);
    };
    if (spec.bits <= 4) {
      for (int code = 0; code < 1 << spec.bits; ++code) {
        value[code] = valued(static_cast<uint8_t>(code));
      }
    }
    for (int first = 0; first < grid.block; first += kPiece) {
      const int count = std::min(kPiece, grid.block - first);
      Unpack(spec, split, count, blocks + header + first * spec.bits / 8, codes);
      float* out = weights + at + first;
      if (spec.bits <= 4) {
        for (int e = 0; e < count; ++e) out[e] = value[codes[e]];
      } else {
        for (int e = 0; e < count; ++e) out[e] = valued(codes[e]);
      }
    }
  }
}

void Encode(const Grid& grid, const float* weights, int64_t n, const float* /*importance*/,
            uint8_t* blocks) {
  std::vector<uint8_t> codes(static_cast<size_t>(grid.block));
  for (int64_t at = 0; at < n; at += grid.block, blocks += grid.bytes) {
    const GroupedFit fit = RoundGroup(MemberOf(grid).encoder, weights + at, codes.data());
    PackGroupedBlock(grid, fit.scale, fit.zero, codes.data(), blocks);
  }
}

void PackScalar(const Grid& grid, const BlockParameters& parameters, const uint8_t* codes,
                uint8_t* block) {
  const Member& member = MemberOf(grid);
  std::vector<uint8_t> stored(codes, codes + grid.block);
  if (!member.scalar.levels.empty()) {
    for (uint8_t& code : stored) code = member.sorted_codes[code];
  }
  PackGroupedBlock(grid, parameters.unit / member.spec.after, parameters.shift[0], stored.data(),
                   block);
}

void UnpackScalar(const Grid& grid, const uint8_t* block, BlockParameters& parameters,
                  uint8_t* codes) {
  const GroupedSpec& spec = *grid.grouped;
  parameters.unit = LoadReal(spec.scale, block);
  parameters.shift[0] = HasZero(spec) ? block[HeaderBytes(spec) - 1] : int16_t{0};
  UnpackGroupedCodes(grid, block, codes);
}

std::vector<float> LevelsByCode(const GroupedSpec& spec) {
  std::vector<float> levels(size_t{1} << spec.bits);
  for (size_t code = 0; code < levels.size(); ++code) {
    switch (spec.levels) {
      case GroupedLevels::kInteger:
        levels[code] = static_cast<float>(code) -
                       (spec.symmetric ? static_cast<float>(levels.size() / 2) : 0.0f);
        break;
      case GroupedLevels::kNf4:
        levels[code] = kNf4[code];
        break;
      case GroupedLevels::kFp4:
        levels[code] = kFp4[code];
        break;
      case GroupedLevels::kE2m1:
        // ggml's table has no minus zero, which this format's peers keep.
        levels[code] = code == 8 ? -0.0f : kE2m1[code];
        break;
      case GroupedLevels::kE4m3:
        levels[code] = E4m3(static_cast<uint8_t>(code));
        break;
    }
  }
  return levels;
}

void SortLevels(Member& member) {
  for (size_t code = 0; code < member.levels.size(); ++code) {
    member.sorted_codes.push_back(static_cast<uint8_t>(code));
  }
  std::ranges::stable_sort(member.sorted_codes, {},
                           [&](uint8_t code) { return member.levels[code]; });
  // Levels that occur twice (zeros of both signs) keep their first code.
  const auto twins = std::ranges::unique(member.sorted_codes, [&](uint8_t a, uint8_t b) {
    return member.levels[a] == member.levels[b];
  });
  member.sorted_codes.erase(twins.begin(), twins.end());
  for (const uint8_t code : member.sorted_codes) member.sorted.push_back(member.levels[code]);
}

void Describe(int block, Member& member) {
  const GroupedSpec& spec = member.spec;
  ScalarGrid& scalar = member.scalar;
  scalar.group = block;
  scalar.count = static_cast<int>(member.sorted.size());
  if (spec.levels == GroupedLevels::kInteger) {
    scalar.first = static_cast<int>(member.levels.front());
  } else {
    scalar.levels = member.sorted;
  }
  if (HasZero(spec)) {
    scalar.shift = ShiftKind::kZero;
    scalar.shift_high = (1 << spec.bits) - 1;
  }
  scalar.unit = spec.scale;
  scalar.signed_unit = false;
  scalar.pack = &PackScalar;
  // With a constant factor after the scale there is no step that says the same.
  if (spec.levels == GroupedLevels::kInteger && spec.after == 1) scalar.unpack = &UnpackScalar;

  Grid& grid = member.grid;
  grid.name = grid.title = member.name;
  grid.block = block;
  grid.bytes = HeaderBytes(spec) + block * spec.bits / 8;
  grid.gguf_type = -1;
  if (spec.levels == GroupedLevels::kInteger) {
    grid.affine = {spec.bits, spec.group, spec.symmetric};
  } else {
    grid.codebook = member.levels;
  }
  grid.importance = Importance::kUnused;
  grid.grouped = &member;
  grid.scalar = &scalar;
  grid.decode = &Decode;
  grid.encode = &Encode;
}

bool IsQuantiles(GroupedLevels levels) {
  return levels == GroupedLevels::kNf4 || levels == GroupedLevels::kFp4;
}

void Check(const GroupedSpec& spec, int64_t block) {
  const bool four = IsQuantiles(spec.levels) || spec.levels == GroupedLevels::kE2m1;
  const bool known = spec.levels == GroupedLevels::kInteger
                         ? spec.bits == 2 || spec.bits == 3 || spec.bits == 4 || spec.bits == 8
                         : spec.bits == (four ? 4 : 8);
  if (!known) FailUnsupported("there is no grid of {} bits of this kind", spec.bits);
  if (block <= 0 || block > (int64_t{1} << 24) || block * spec.bits % 8 != 0) {
    FailUnsupported("groups of {} weights of {} bits are not supported", block, spec.bits);
  }
  const bool eight = spec.levels == GroupedLevels::kInteger && spec.bits == 8 && spec.symmetric;
  if ((spec.after != 1 && !eight) || (spec.nested && !IsQuantiles(spec.levels))) {
    FailUnsupported("there is no grid {}", GroupedName(spec));
  }
}

std::string_view RealName(Real real) {
  return real == Real::kF32 ? "f32" : real == Real::kF16 ? "f16" : "bf16";
}

struct LevelsRow {
  std::string_view name;
  GroupedLevels levels;
  int bits;
};
constexpr LevelsRow kLevelsRows[] = {
    {"int2", GroupedLevels::kInteger, 2}, {"int3", GroupedLevels::kInteger, 3},
    {"int4", GroupedLevels::kInteger, 4}, {"int8", GroupedLevels::kInteger, 8},
    {"nf4", GroupedLevels::kNf4, 4},      {"fp4", GroupedLevels::kFp4, 4},
    {"e2m1", GroupedLevels::kE2m1, 4},    {"fp8", GroupedLevels::kE4m3, 8},
};

// What names without types mean.
GroupedSpec Usual(const LevelsRow& row) {
  GroupedSpec spec{.levels = row.levels, .bits = row.bits};
  if (IsQuantiles(row.levels)) {
    spec.scale = Real::kF32;
    spec.value = Real::kBf16;
  }
  return spec;
}

const LevelsRow& RowOf(const GroupedSpec& spec) {
  return *std::ranges::find_if(kLevelsRows, [&](const LevelsRow& row) {
    return row.levels == spec.levels && row.bits == spec.bits;
  });
}

}  // namespace

int ScaleBytes(Real real) { return real == Real::kF32 ? 4 : 2; }

float LoadReal(Real real, const void* p) {
  if (real == Real::kF32) return LoadLe<float>(p);
  const auto bits = LoadLe<uint16_t>(p);
  return real == Real::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
}

void StoreReal(Real real, float value, void* p) {
  if (real == Real::kF32) return StoreLe(p, value);
  StoreLe(p, real == Real::kF16 ? FiniteF16(value) : F32ToBf16(value));
}

float RoundToReal(Real real, float value) {
  if (real == Real::kF32) return value;
  return real == Real::kF16 ? F16ToF32(F32ToF16(value)) : Bf16ToF32(F32ToBf16(value));
}

void UnpackGroupedCodes(const Grid& grid, const uint8_t* block, uint8_t* codes) {
  const GroupedSpec& spec = *grid.grouped;
  Unpack(spec, SplitNibbles(spec, grid.block), grid.block, block + HeaderBytes(spec), codes);
}

void PackGroupedBlock(const Grid& grid, float scale, int zero, const uint8_t* codes,
                      uint8_t* block) {
  const GroupedSpec& spec = *grid.grouped;
  const int header = HeaderBytes(spec);
  StoreReal(spec.scale, scale, block);
  if (HasZero(spec)) block[header - 1] = static_cast<uint8_t>(zero);
  Pack(spec, grid.block, codes, block + header);
}

bool IsAbsmaxRows(const Grid& grid) {
  return grid.grouped != nullptr && grid.grouped->after != 1 && grid.grouped->group == 0;
}

std::span<const float> LevelsOfCodes(const Grid& grid) { return MemberOf(grid).levels; }

const Grid& GroupedGrid(const GroupedSpec& spec, int64_t cols) {
  const int64_t block = spec.group > 0 ? spec.group : cols;
  Check(spec, block);
  using Key = std::tuple<GroupedLevels, int, int, bool, bool, Real, Real, float, int64_t>;
  static std::mutex mutex;
  static std::map<Key, std::unique_ptr<Member>> members;
  const Key key{spec.levels, spec.bits,  spec.group, spec.symmetric, spec.nested,
                spec.scale,  spec.value, spec.after, block};
  const std::lock_guard lock(mutex);
  std::unique_ptr<Member>& member = members[key];
  if (!member) {
    auto made = std::make_unique<Member>(spec);
    made->name = GroupedName(spec);
    made->levels = LevelsByCode(spec);
    SortLevels(*made);
    made->encoder = GroupedEncoder(made->spec, static_cast<int>(block), made->levels);
    Describe(static_cast<int>(block), *made);
    member = std::move(made);
  }
  return member->grid;
}

std::string GroupedName(const GroupedSpec& spec) {
  const LevelsRow& row = RowOf(spec);
  GroupedSpec usual = Usual(row);
  if (spec.after != 1) usual.scale = usual.value = Real::kF32;
  std::string name(row.name);
  name += spec.group > 0 ? ":g" + std::to_string(spec.group) : ":row";
  if (HasZero(spec)) name += ":asym";
  if (spec.after != 1) name += ":absmax";
  if (spec.nested) name += ":dq";
  if (spec.scale != usual.scale || spec.value != usual.value) {
    name += ":" + std::string(RealName(spec.scale));
    if (spec.value != spec.scale) name += ":" + std::string(RealName(spec.value));
  }
  return name;
}

std::optional<GroupedSpec> ParseGroupedName(std::string_view name) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find(':', at), name.size());
    parts.push_back(name.substr(at, end - at));
    at = end + 1;
  }
  const auto row = std::ranges::find(kLevelsRows, parts[0], &LevelsRow::name);
  if (row == std::end(kLevelsRows)) return std::nullopt;
  GroupedSpec spec = Usual(*row);
  spec.group = row->bits == 8 ? 0 : spec.scale == Real::kF32 ? 64 : 128;
  int reals = 0;
  for (const std::string_view part : std::span(parts).subspan(1)) {
    if (part == "row") {
      spec.group = 0;
    } else if (part == "asym" && row->levels == GroupedLevels::kInteger) {
      spec.symmetric = false;
    } else if (part == "sym") {
      spec.symmetric = true;
    } else if (part == "absmax" && row->levels == GroupedLevels::kInteger && row->bits == 8) {
      spec.after = 1.0f / 127;
      spec.scale = spec.value = Real::kF32;
    } else if (part == "dq" && IsQuantiles(row->levels)) {
      spec.nested = true;
    } else if (part.starts_with('g')) {
      const auto [end, error] =
          std::from_chars(part.data() + 1, part.data() + part.size(), spec.group);
      if (error != std::errc() || end != part.data() + part.size() || spec.group <= 0) {
        return std::nullopt;
      }
    } else {
      const Real all[] = {Real::kF32, Real::kF16, Real::kBf16};
      const auto real = std::ranges::find(all, part, RealName);
      if (real == std::end(all) || ++reals > 2) return std::nullopt;
      if (reals == 1) spec.scale = *real;
      spec.value = *real;
    }
  }
  return spec;
}

std::span<const Grid* const> UsualGroupedGrids() {
  static const std::vector<const Grid*> grids = [] {
    std::vector<const Grid*> list;
    for (const std::string_view name :
         {"int8:g128", "int8:g128:asym", "int4:g32", "int4:g32:asym", "int4:g64", "int4:g64:asym",
          "int4:g128", "int4:g128:asym", "int3:g64", "int3:g64:asym", "int3:g128", "int3:g128:asym",
          "int2:g64", "int2:g64:asym", "int4:g128:bf16", "nf4:g64", "fp4:g64", "fp8:g128",
          "e2m1:g32"}) {
      list.push_back(&GroupedGrid(*ParseGroupedName(name), 0));
    }
    return list;
  }();
  return grids;
}

}  // namespace halftone
