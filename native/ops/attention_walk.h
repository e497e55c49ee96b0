// How attention walks the pages of a sequence. A work item is (block of token rows, KV head, run of query heads). The
// kernel computes each page of 256 positions alone; pieces are folded in ascending order, twice: the pages of a span of
// kSpanPages (at absolute positions) into one piece, then the spans. A fold of piece p into what is there:
//   first piece   m, l, o are the piece's
//   then          M = max(m, mp), a = exp(m - M), b = exp(mp - M), l = fma(b, lp, l * a), o = fma(b, op, o * a), m = M
//   sink s        M = max(m, s), a = exp(m - M), l = l * a + exp(s - M), o = o * a
//   at the end    out = o * (1 / l)
// Pages that the mask hides from a row do not exist for it. When items are few (decode), threads take spans
// and the spans of each item are folded afterwards: the same bits.
#pragma once
#include <string.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "kv.h"
#include "ops.h"

namespace hw {
namespace ops {

constexpr int32_t kSpanPages = 4;
constexpr int32_t kSpanPositions = kSpanPages * kPagePositions;

struct Block {
  int32_t t0, t1;              // token rows, of one sequence
  int32_t first_page, pages;   // pages that some row sees
  int32_t last;                // position of the sequence's last row in the pass
  const int32_t* table;        // page ids of the sequence
};
static_assert(sizeof(Block) == kAttentionBlockBytes, "src/native/boundary.ts");

// m, l [queries], o [queries][dim_v]
struct Piece {
  float *m, *l, *o;
};

inline Piece piece_at(float* memory, int64_t queries) { return Piece{memory, memory + queries, memory + 2 * queries}; }
inline int64_t piece_floats(int64_t queries, int64_t dim_v) { return (queries * (2 + dim_v) + 15) & ~int64_t{15}; }

// Bytes of kAttentionQueries mixed queries; 0 where they stay as they are.
inline int64_t mixed_bytes(const KvLayer& layer) {
  return layer.hadamard ? int64_t{kAttentionQueries} * layer.dim_k * static_cast<int64_t>(sizeof(float)) : 0;
}

// Scratch of a thread: three pieces of kAttentionQueries, then the item's queries, mixed and as ACTS_Q8_32.
inline int64_t walk_piece_bytes(int64_t dim_v) {
  return piece_floats(kAttentionQueries, dim_v) * static_cast<int64_t>(sizeof(float));
}
inline int64_t walk_scratch_bytes(const KvLayer& layer) {
  const int64_t dim = layer.dim_k;
  return 3 * walk_piece_bytes(layer.dim_v) + mixed_bytes(layer) + kAttentionQueries * (dim + 64 + dim / 4);
}

// Where a query's sums go. An attention over several sources is a call for each: the first leaves o as it is in `out`,
// m and l in `carry` [rows][2 heads]; the next fold theirs into that; the last adds the sink and divides.
struct Ending {
  Tensor& out;
  Tensor* carry;  // null for a whole
  int32_t part;
  const float* sinks;
  int32_t heads, dim;
  bool hadamard;  // what was mixed is undone at the very end
  void leave(const Kernels& kernels, int32_t row, int32_t head, float m, float l, const float* o) const;
  // The same of a query that sees nothing here.
  void leave_nothing(const Kernels& kernels, int32_t row, int32_t head) const;

 private:
  void divide(const Kernels& kernels, int32_t head, float m, float l, float* o) const;
};

struct Attention {
  Model& model;
  const Tensor& q;
  const KvPool& pool;
  const KvLayer& layer;
  AttnPiece spec;
  int32_t heads, window, reach;
  const float* slopes;  // ALiBi [heads], or null
  Ending ending;
  int32_t run_heads, runs;  // query heads of an item, items per KV head
  const Block* blocks = nullptr;
  int64_t items = 0;
  std::atomic<bool> stop{false};
  // Parts of the pages [staged_first, ...) of the blocks' sequence that have no frame; null where they have one.
  int32_t staged_first = 0;
  std::vector<const uint8_t*> staged = {};

  struct Item {
    const Block* block;
    int32_t kv_head, head0, heads, rows;
    int64_t queries() const { return static_cast<int64_t>(rows) * heads; }
  };

  Item item_at(int64_t index) const {
    int32_t group = heads / layer.heads;
    Item item;
    item.block = blocks + index / (layer.heads * runs);
    int32_t rest = static_cast<int32_t>(index % (layer.heads * runs));
    item.kv_head = rest / runs;
    int32_t first = rest % runs * run_heads;
    item.head0 = item.kv_head * group + first;
    item.heads = std::min(run_heads, group - first);
    item.rows = item.block->t1 - item.block->t0;
    return item;
  }

  // Keys [first_key, end_key) are seen from a position; `last` is that of the sequence's last row in the pass. Of rows
  // that several positions make there may be none yet.
  int32_t first_key(int32_t position) const {
    if (window == 0) return 0;
    if (reach == REACH_CHUNK) return position / window * window;
    if (reach == REACH_SYMMETRIC) return std::max(0, position - window);
    return position >= window ? position - window + 1 : 0;
  }
  int32_t end_key(int32_t position, int32_t last) const {
    if (reach != REACH_SYMMETRIC) return pool.rows_at(position);
    return window == 0 ? last + 1 : static_cast<int32_t>(std::min<int64_t>(last, int64_t{position} + window)) + 1;
  }

  // Chosen positions instead of all; attention_selected.cc.
  Status run_selected(const Routing& selection, int32_t n);
  // All of an item on one thread.
  void walk(int64_t index, int thread);
  // Few items: spans on any thread in waves, then each item's folds.
  void walk_split(int32_t first_span, int32_t end_span, int64_t most_queries);
  // Where pages are on the disk, `all` blocks of the pass: attention_cold.cc.
  bool sees_cold(const Block* all, int32_t count) const;
  Status run_cold(const Block* all, int32_t count);

 private:
  Status walk_staged(const std::vector<StagedPart>& parts, size_t* at);
  Status stage(int32_t first, int32_t end, const std::vector<StagedPart>& parts, size_t* at);
  // The layer's bytes of a page, null for one that is not there now.
  const uint8_t* layer_of(const Block& block, int32_t page) const;
  Acts queries_of(const Item& item, int thread) const;
  // `rows` token rows of `count` heads from row t and head `head0` on; `memory` is of mixed_bytes and query_bytes.
  Acts queries_at(int32_t t, int32_t rows, int32_t head0, int32_t count, uint8_t* memory) const;
  const uint8_t* keys(const Item& item, int32_t page) const;
  const uint8_t* first_keys(int64_t index) const;
  int32_t visible(const Block& block, int32_t page, int32_t* r0, int32_t* k0, int32_t* k1) const;
  bool span_is_first(const Item& item, int32_t span, int32_t row) const;
  void fold(const Item& item, const Piece& from, int64_t r, int64_t base, bool first, const Piece& sums) const;
  void fold_span(const Item& item, int32_t span, const Piece& from, const Piece& sums) const;
  void compute_span(const Item& item, const Acts& queries, int32_t span, const uint8_t* next, const Piece& to,
                    int thread);
  void finish(const Item& item, const Piece& sums) const;
  Piece thread_piece(int thread, int which) const;
  bool stopped();
};

}  // namespace ops
}  // namespace hw
