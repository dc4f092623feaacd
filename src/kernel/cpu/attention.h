// Attention of one head over its cache, and how keys and values lie in it.
//
// A cache holds positions in tiles of kCacheTile, and a tile of one key-value head has two parts of
// the same size. A head's dimensions, padded with zeros to `padded`, form groups:
//
//   keys     for each group: scales f16[16], where the storage has them
//                            rows of 16 codes, one for each position; a row is a dimension
//   values   for each group: scales f16[16], where the storage has them
//                            rows of codes, one row for each of the 16 positions
//
// so that scores of neighbouring positions and the sums of neighbouring dimensions share vectors. A
// storage (cache/*-inl.h, one file each) says what a code is and which grid's rounding it keeps.
// Codes are decoded in registers, and a group's scale is applied once: to the group's part of a
// score, or to the weight of a position before it meets the codes.
//
// Every sum runs in an order that depends on the instruction set, the storage and the head only: a
// row's result does not depend on which rows it is computed with, although rows that are computed
// together begin where the first of them does: what lies before a row's first position adds zeros
// to nothing. Nothing here allocates.

#pragma once

#include <cstdint>

#include "grid/grid.h"
#include "kernel/cpu/isa.h"

namespace halftone {

inline constexpr int64_t kCacheTile = 16;

// Positions that attention weighs before it rescales its sums. A cache holds a multiple of them.
inline constexpr int64_t kAttentionChunk = 128;

// Rows that one call of a storage's functions may have, and one call of attend.
inline constexpr int64_t kRowsAtOnce = 4;
inline constexpr int64_t kMaxQueries = 8;

// How keys and values are kept, for one instruction set. `keys` and `values` are tiles of one head.
struct CacheStorage {
  // Whether it keeps what this grid would make of the numbers.
  bool (*holds)(const Grid& grid);

  // Dimensions of a head with its padding, and bytes of a tile of as many.
  int64_t (*padded)(int64_t head_dim);
  int64_t (*tile_bytes)(int64_t padded);

  // Rounds one position's key and value, `place` being its place in the tile. Finite numbers stay
  // finite; a number that is not finite makes what it meets NaN.
  void (*store)(const Grid& grid, const float* key, const float* value, int64_t head_dim,
                int64_t place, uint8_t* keys, uint8_t* values);

  // scores[j * kAttentionChunk + p] = q_j . key(p) * scale for p < n <= kAttentionChunk; further
  // scores of the row may be overwritten. queries: [count, padded], zeros behind the head.
  void (*scores)(const uint8_t* keys, const float* queries, int64_t count, int64_t padded,
                 float scale, int64_t n, float* scores);

  // outs[j, :] = outs[j, :] * rescale[j] + sum_{p < n} weights[j * kAttentionChunk + p] * value(p),
  // outs: [count, padded]. scaled: 2 * kRowsAtOnce * kAttentionChunk floats of scratch.
  void (*gather)(const uint8_t* values, const float* weights, const float* rescale, int64_t count,
                 int64_t padded, int64_t n, float* outs, float* scaled);
};

// The cache of one key-value head, all of its tiles one behind the other.
struct HeadCache {
  const CacheStorage* storage;
  const uint8_t* keys;
  const uint8_t* values;
};

// One row of attention: a token's query for one head, attending to positions [first, limit).
struct Query {
  const float* q;
  float* out;
  int64_t first;  // >= 0
  int64_t limit;  // > first
};

// out = sum_p softmax_p(s_p) value(p), first <= p < limit, for each of `count` queries on one
// head's cache, which holds all positions below every limit; s_p = q . key(p) * scale, or where
// softcap is not 0 softcap * tanh of that / softcap. scratch: AttentionScratch floats, 64-byte
// aligned.
using AttendFunction = void (*)(const HeadCache& cache, const Query* queries, int64_t count,
                                int64_t head_dim, float scale, float softcap, float* scratch);

constexpr int64_t AttentionScratch(int64_t padded) {
  return kRowsAtOnce * (3 * kAttentionChunk + 2 * padded);
}

struct AttentionOps {
  AttendFunction attend;
  CacheStorage storages[4];  // the table of them all

  // Null where none keeps that grid.
  const CacheStorage* StorageFor(const Grid& grid) const;
};

const AttentionOps& AttentionOpsFor(Isa isa);

}  // namespace halftone
