// Attention of CpuOps: caches, what is stored there, and how rows are shared out.

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "base/checked.h"
#include "base/error.h"
#include "kernel/cpu/aligned.h"
#include "kernel/cpu/cpu_ops.h"

namespace halftone {
namespace {

struct CpuCache : KvCache {
  AttentionShape shape;
  const Grid* grid = nullptr;
  const CacheStorage* storage = nullptr;
  int64_t tile_bytes = 0;
  int64_t head_bytes = 0;         // of one head's keys, or values
  std::shared_ptr<float[]> keys;  // bytes [layers, kv_heads, tiles, tile_bytes]
  std::shared_ptr<float[]> values;

  uint8_t* Part(const std::shared_ptr<float[]>& part, int64_t layer, int64_t head) const {
    return reinterpret_cast<uint8_t*>(part.get()) + (layer * shape.kv_heads + head) * head_bytes;
  }
  HeadCache Head(int64_t layer, int64_t head) const {
    return {storage, Part(keys, layer, head), Part(values, layer, head)};
  }

  // Stores one token's key and value of one head.
  void Store(int64_t layer, int64_t head, int64_t position, const float* key, const float* value) {
    const int64_t tile = position / kCacheTile * tile_bytes;
    storage->store(*grid, key, value, shape.head_dim, position % kCacheTile,
                   Part(keys, layer, head) + tile, Part(values, layer, head) + tile);
  }
};

CpuCache& Cache(const TokenRun& run) { return static_cast<CpuCache&>(*run.cache); }

// How a run's rows are shared out: a piece is a block of its tokens for some heads of a group.
struct AttentionPieces {
  int64_t together;  // heads
  int64_t groups;    // of so many heads
  int64_t block;     // tokens
  int64_t count;     // pieces of the run: blocks * groups
};

}  // namespace

std::unique_ptr<KvCache> CpuOps::MakeCache(const AttentionShape& shape, const Grid& grid) {
  auto cache = std::make_unique<CpuCache>();
  cache->shape = shape;
  cache->grid = &grid;
  cache->storage = attention_.StorageFor(grid);
  if (cache->storage == nullptr) {
    std::vector<std::string_view> names;
    for (const Grid* possible : CacheGrids()) names.push_back(possible->name);
    FailUsage("keys and values can be on the grids {}, not on {}", fmt::join(names, ", "),
              grid.name);
  }
  const int64_t padded = cache->storage->padded(shape.head_dim);
  cache->tile_bytes = cache->storage->tile_bytes(padded);
  const int64_t positions = RoundUp(std::max<int64_t>(shape.context, 1), kAttentionChunk);
  const auto head_bytes = CheckedMul(static_cast<uint64_t>(positions / kCacheTile),
                                     static_cast<uint64_t>(cache->tile_bytes));
  const auto heads =
      CheckedMul(static_cast<uint64_t>(shape.layers), static_cast<uint64_t>(shape.kv_heads));
  const auto bytes = heads && head_bytes ? CheckedMul(*heads, *head_bytes) : std::nullopt;
  if (!bytes || *bytes > INT64_MAX / 2) {
    FailUsage("a cache for {} positions is larger than any memory", shape.context);
  }
  cache->head_bytes = static_cast<int64_t>(*head_bytes);
  cache->bytes = 2 * *bytes;
  cache->context = shape.context;
  const auto floats = static_cast<int64_t>(*bytes / sizeof(float));  // tiles are whole floats
  cache->keys = AllocateAligned(floats);
  cache->values = AllocateAligned(floats);
  ReserveScratch(AttentionScratch(padded));
  return cache;
}

std::vector<const Grid*> CacheGrids() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : AllGrids()) {
    if (AttentionOpsFor(Isa::kScalar).StorageFor(*grid) != nullptr) grids.push_back(grid);
  }
  std::ranges::stable_sort(grids, std::greater<>(), &Grid::bits_per_weight);
  return grids;
}

int64_t CpuOps::HeadsTogether(const AttentionShape& shape, int64_t passes) const {
  int64_t together = std::min(kMaxQueries, shape.heads / shape.kv_heads);
  while (shape.heads / shape.kv_heads % together != 0) --together;
  // Larger pieces must still give all threads the same to do.
  const int64_t pieces = passes * shape.heads / together;
  return pieces % threads() == 0 || pieces >= 4 * threads() ? together : 1;
}

void CpuOps::StoreKeysAndValues(std::span<const TokenRun> runs, int64_t layer, const float* k,
                                const float* v) {
  const AttentionShape& shape = Cache(runs.front()).shape;
  const int64_t dim = shape.head_dim, heads = shape.kv_heads;
  int64_t tokens = 0;
  for (const TokenRun& run : runs) tokens += run.tokens;
  const auto pieces = static_cast<int64_t>(runs.size()) * heads;  // a head of a run
  Split(pieces, 1, tokens * heads * dim, [&](int64_t begin, int64_t end, int) {
    int64_t first = 0;  // token of the run
    for (int64_t r = 0; r * heads < end; first += runs[r++].tokens) {
      CpuCache& cache = Cache(runs[r]);
      for (int64_t t = 0; t < runs[r].tokens; ++t) {
        for (int64_t h = std::max<int64_t>(0, begin - r * heads);
             h < std::min(heads, end - r * heads); ++h) {
          const int64_t at = ((first + t) * heads + h) * dim;
          cache.Store(layer, h, runs[r].position + t, k + at, v + at);
        }
      }
    }
  });
}

void CpuOps::Attention(std::span<const TokenRun> runs, int64_t layer, const float* q,
                       const float* k, const float* v, const ScoreForm& form, float* out) {
  if (runs.empty()) return;
  StoreKeysAndValues(runs, layer, k, v);
  const AttentionShape& shape = Cache(runs.front()).shape;
  const int64_t dim = shape.head_dim;
  // A row is a token of a head. Rows that share a key-value head share its loads: neighbouring
  // tokens of one head, or, where a run has few tokens, the heads of one group.
  const int64_t some = HeadsTogether(shape, static_cast<int64_t>(runs.size()));
  const auto pieces_of = [&](const TokenRun& run) {
    AttentionPieces pieces;
    pieces.together = run.tokens < kRowsAtOnce ? some : 1;
    pieces.groups = shape.heads / pieces.together;
    pieces.block = kMaxQueries / pieces.together;
    pieces.count = (run.tokens + pieces.block - 1) / pieces.block * pieces.groups;
    return pieces;
  };
  int64_t count = 0, work = 0;
  for (const TokenRun& run : runs) {
    count += pieces_of(run).count;
    const int64_t seen = run.position + run.tokens;
    work += run.tokens * shape.heads * dim *
            (form.window > 0 ? std::min(seen, form.window + run.tokens) : seen);
  }
  Split(count, 1, work, [&](int64_t begin, int64_t end, int thread) {
    int64_t base = 0, offset = 0;  // the run's first piece, and where its rows begin
    for (const TokenRun& run : runs) {
      const AttentionPieces pieces = pieces_of(run);
      const int64_t last = std::min(end - base, pieces.count);
      for (int64_t piece = std::max<int64_t>(0, begin - base); piece < last; ++piece) {
        const int64_t head = piece % pieces.groups * pieces.together;
        const int64_t from = piece / pieces.groups * pieces.block;
        Query queries[kMaxQueries];
        int64_t rows = 0;
        for (int64_t t = from; t < std::min(run.tokens, from + pieces.block); ++t) {
          for (int64_t h = head; h < head + pieces.together; ++h) {
            const int64_t at = offset + (t * shape.heads + h) * dim;
            const int64_t limit = run.position + t + 1;
            const int64_t first = form.window > 0 ? std::max<int64_t>(0, limit - form.window) : 0;
            queries[rows++] = {q + at, out + at, first, limit};
          }
        }
        attention_.attend(Cache(run).Head(layer, head * shape.kv_heads / shape.heads), queries,
                          rows, dim, form.scale, form.softcap, Scratch(thread));
      }
      base += pieces.count;
      offset += run.tokens * shape.heads * dim;
    }
  });
}

}  // namespace halftone
