// Attention over chosen positions. A row's keys and values at its positions, in ascending order, are gathered into
// pages of 256 that go through the kernel whole pages go through; pieces are folded in ascending order. What is not
// chosen costs nothing.
#include "../kernels/kv_page.h"
#include "../kernels/queries.h"
#include "attention_walk.h"

namespace hw {
namespace ops {

namespace {

// Scratch of a thread: the sums and a piece of up to kAttentionQueries heads, their queries, a page of keys and one of
// values.
struct Places {
  int64_t piece, queries, keys, values;
  int64_t bytes() const { return 2 * piece + queries + keys + values; }
};

Places places_of(const KvPool& pool, const KvLayer& layer) {
  auto lines = [](int64_t bytes) { return (bytes + 63) & ~int64_t{63}; };
  const int64_t values = layer.latent ? 0 : kv_head_bytes(pool.values, layer.dim_v);
  const int64_t queries = mixed_bytes(layer) + query_bytes(1, int64_t{kAttentionQueries} * layer.dim_k);
  return Places{walk_piece_bytes(layer.dim_v), lines(queries), lines(kv_head_bytes(pool.keys, layer.dim_k)),
                lines(values)};
}

}  // namespace

Status Attention::run_selected(const Routing& selection, int32_t n) {
  int32_t blocks_per_sequence = 0;
  Result<const int32_t*> tables = block_tables(model, pool, &blocks_per_sequence);
  if (!tables.ok) return Status{false};
  if (selection.filled_rows < n) return bad_argument("%d rows of positions, %d are attended", selection.filled_rows, n);
  const Places places = places_of(pool, layer);
  HW_TRY(model.grow_thread_scratch(places.bytes()));
  const Pass& pass = model.pass();
  std::atomic<int32_t> wrong(-1);
  auto one = [&](int64_t index, int thread) {
    if (stopped()) return;
    const int32_t each = layer.heads * runs;
    const int32_t t = static_cast<int32_t>(index / each), rest = static_cast<int32_t>(index % each);
    const int32_t kv_head = rest / runs, first = rest % runs * run_heads, group = heads / layer.heads;
    const int32_t head0 = kv_head * group + first, count = std::min(run_heads, group - first);
    const int32_t* table = tables.value + static_cast<int64_t>(pass.sequences()[t]) * blocks_per_sequence;
    uint8_t* memory = static_cast<uint8_t*>(model.thread_scratch(thread));
    const Piece sums = piece_at(reinterpret_cast<float*>(memory), kAttentionQueries);
    const Piece piece = piece_at(reinterpret_cast<float*>(memory + places.piece), kAttentionQueries);
    memory += 2 * places.piece;
    const Acts queries = queries_at(t, 1, head0, count, memory);
    uint8_t *keys = memory + places.queries, *values = layer.latent ? nullptr : keys + places.keys;
    const int32_t* chosen = selection.ids() + static_cast<int64_t>(t) * selection.top_k;
    const int32_t there = pool.rows_at(pass.positions()[t]);
    if (chosen[0] < 0 && there > 0) wrong.store(t, std::memory_order_relaxed);
    for (int32_t i = 0; i < selection.top_k && chosen[i] >= 0;) {
      const bool begins = i == 0;
      int32_t gathered = 0;
      for (; gathered < kPagePositions && i < selection.top_k && chosen[i] >= 0; gathered++, i++) {
        const int32_t position = chosen[i];
        const int32_t page = position >= there ? -1 : table[position / kPagePositions];
        if (page < 0 || !pool.in_memory(page)) {
          wrong.store(t, std::memory_order_relaxed);
          return;
        }
        const uint8_t* const at = pool.page(page);
        const int32_t slot = position % kPagePositions;
        const uint8_t* const k = at + layer.offset_k + kv_head * kPagePositions * layer.row_bytes_k;
        kv_move_key(pool.keys, k, slot, keys, gathered, layer.dim_k);
        if (values == nullptr) continue;
        const uint8_t* const v = at + layer.offset_v + kv_head * kPagePositions * layer.row_bytes_v;
        kv_move_value(pool.values, v, slot, values, gathered, layer.dim_v);
      }
      const int32_t k0 = 0;
      const Piece& to = begins ? sums : piece;
      const AttnPieceFn compute = model.kernels().attn_piece[pool.keys][layer.latent ? pool.keys : pool.values];
      compute(&spec, &queries, 1, count, keys, values, &k0, &gathered, nullptr, to.m, to.l, to.o,
              model.kernel_scratch(thread));
      if (!begins) model.kernels().attn_fold(piece.m, piece.l, piece.o, count, layer.dim_v, sums.m, sums.l, sums.o);
    }
    for (int32_t h = 0; h < count && there == 0; h++) ending.leave_nothing(model.kernels(), t, head0 + h);
    for (int32_t h = 0; h < count && chosen[0] >= 0; h++) {
      ending.leave(model.kernels(), t, head0 + h, sums.m[h], sums.l[h], sums.o + static_cast<int64_t>(h) * layer.dim_v);
    }
  };
  model.pool().parallel_for(static_cast<int64_t>(n) * layer.heads * runs, one);
  if (stop.load()) return cancelled();
  if (wrong.load() >= 0) return bad_argument("row %d attends a position that is not there", wrong.load());
  return done();
}

}  // namespace ops
}  // namespace hw
