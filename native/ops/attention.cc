// The attention driver. A work item is (block of token rows, KV head, run of query heads); it walks the pages of 256
// positions in ascending order, has the kernel compute each page alone and merges the pieces:
//   first piece   m, l, o are the piece's
//   then          M = max(m, mp), a = exp(m - M), b = exp(mp - M), l = fma(b, lp, l * a), o = fma(b, op, o * a), m = M
//   sink s        M = max(m, s), a = exp(m - M), l = l * a + exp(s - M), o = o * a
//   at the end    out = o * (1 / l)
// Pages that the mask hides from a row do not exist for it. When items are few (decode), the pieces of all pages are
// computed in parallel and merged in the same order afterwards: the same bits.
#include <string.h>

#include <algorithm>
#include <atomic>

#include "kv.h"
#include "ops.h"

namespace hw {
namespace ops {

namespace {

constexpr int32_t kQueries = 64;  // (token row, head) pairs of an item: what the kernels work on at a time
constexpr int64_t kPiecesBytes = 4 << 20;
constexpr int64_t kNextKeys = 64;  // positions of the kernel's first block

struct Block {
  int32_t t0, t1;              // token rows, of one sequence
  int32_t first_page, pages;   // pages that some row sees
  const int32_t* table;        // page ids of the sequence
};

// m, l [queries], o [queries][dim_v]
struct Piece {
  float *m, *l, *o;
};

Piece piece_at(float* memory, int64_t queries) { return Piece{memory, memory + queries, memory + 2 * queries}; }
int64_t piece_floats(int64_t queries, int64_t dim_v) { return (queries * (2 + dim_v) + 15) & ~int64_t{15}; }

struct Attention {
  Host& host;
  const Tensor& q;
  Tensor& out;
  const KvPool& pool;
  const KvLayer& layer;
  AttnPiece spec;
  int32_t heads, window;
  const float* sinks;
  int32_t run_heads, runs;  // query heads of an item, items per KV head
  std::atomic<bool> stop{false};

  struct Item {
    const Block* block;
    int32_t kv_head, head0, heads, rows;
    int64_t queries() const { return static_cast<int64_t>(rows) * heads; }
  };

  Item item_at(const Block* blocks, int64_t index) const {
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

  int32_t first_key(int32_t position) const {
    return window > 0 && position >= window ? position - window + 1 : 0;
  }

  // Rows [*r0, return) of the block see keys [k0[r], k1[r]) of the page.
  int32_t visible(const Block& block, int32_t page, int32_t* r0, int32_t* k0, int32_t* k1) const {
    int64_t base = static_cast<int64_t>(page) * kPagePositions;
    int32_t end = 0;
    *r0 = block.t1 - block.t0;
    for (int32_t r = 0; r < block.t1 - block.t0; r++) {
      int64_t position = host.pass().positions()[block.t0 + r];
      int64_t low = std::max<int64_t>(first_key(static_cast<int32_t>(position)) - base, 0);
      int64_t high = std::min<int64_t>(position + 1 - base, kPagePositions);
      if (low >= high) continue;
      *r0 = std::min(*r0, r);
      end = r + 1;
      k0[r] = static_cast<int32_t>(low);
      k1[r] = static_cast<int32_t>(high);
    }
    return end;
  }

  bool is_first_page(const Block& block, int32_t r, int32_t page) const {
    return first_key(host.pass().positions()[block.t0 + r]) / kPagePositions == page;
  }

  // The kernel on one page, for rows [r0, r1) of the item.
  void compute(const Item& item, int32_t page, int32_t r0, int32_t r1, const int32_t* k0, const int32_t* k1,
               const Piece& to, int thread) const {
    const uint8_t* memory = pool.page(item.block->table[page]);
    const uint8_t* k = memory + layer.offset_k + item.kv_head * kPagePositions * layer.row_bytes_k;
    const uint8_t* v = memory + layer.offset_v + item.kv_head * kPagePositions * layer.row_bytes_v;
    // The kernel fetches ahead within the page; the first keys of the next one are fetched here.
    if (page + 1 < item.block->first_page + item.block->pages) {
      const uint8_t* next = pool.page(item.block->table[page + 1]) + layer.offset_k +
                            item.kv_head * kPagePositions * layer.row_bytes_k;
      for (int64_t i = 0; i < kNextKeys * layer.row_bytes_k; i += 64) __builtin_prefetch(next + i, 0, 2);
    }
    const float* queries = q.row(item.block->t0 + r0) + static_cast<int64_t>(item.head0) * layer.dim_k;
    host.kernels().attn_piece[pool.type](&spec, queries, q.cols, r1 - r0, item.heads, k, v, k0 + r0, k1 + r0, to.m, to.l,
                                         to.o, host.kernel_scratch(thread));
  }

  float exp_of(float x, float max) const {
    host.kernels().exp_sum(&x, max, 1);
    return x;
  }

  // Rows [r0, r1) of `from` (which begins at r0) into the item's sums.
  void merge(const Item& item, int32_t page, int32_t r0, int32_t r1, const Piece& from, const Piece& sums) const {
    const Kernels& k = host.kernels();
    int32_t dim = layer.dim_v;
    for (int32_t r = r0; r < r1; r++) {
      bool first = is_first_page(*item.block, r, page);
      for (int32_t h = 0; h < item.heads; h++) {
        int64_t i = static_cast<int64_t>(r) * item.heads + h, j = static_cast<int64_t>(r - r0) * item.heads + h;
        float* o = sums.o + i * dim;
        if (first) {
          sums.m[i] = from.m[j];
          sums.l[i] = from.l[j];
          memcpy(o, from.o + j * dim, static_cast<size_t>(dim) * sizeof(float));
          continue;
        }
        float m = sums.m[i] > from.m[j] ? sums.m[i] : from.m[j];
        float a = exp_of(sums.m[i], m), b = exp_of(from.m[j], m);
        sums.l[i] = __builtin_fmaf(b, from.l[j], sums.l[i] * a);
        sums.m[i] = m;
        k.scale(o, a, dim);
        k.axpy(from.o + j * dim, b, o, dim);
      }
    }
  }

  void finish(const Item& item, const Piece& sums) const {
    const Kernels& k = host.kernels();
    int32_t dim = layer.dim_v;
    for (int32_t r = 0; r < item.rows; r++) {
      for (int32_t h = 0; h < item.heads; h++) {
        int64_t i = static_cast<int64_t>(r) * item.heads + h;
        float* o = out.row(item.block->t0 + r) + static_cast<int64_t>(item.head0 + h) * dim;
        memcpy(o, sums.o + i * dim, static_cast<size_t>(dim) * sizeof(float));
        float l = sums.l[i];
        if (sinks != nullptr) {
          float s = sinks[item.head0 + h], m = sums.m[i] > s ? sums.m[i] : s;
          float a = exp_of(sums.m[i], m);
          l = l * a + exp_of(s, m);
          k.scale(o, a, dim);
        }
        k.scale(o, 1.0f / l, dim);
      }
    }
  }

  bool stopped() {
    if (host.cancelled()) stop.store(true, std::memory_order_relaxed);
    return stop.load(std::memory_order_relaxed);
  }

  // One item on one thread, page after page.
  void walk(const Item& item, int thread) {
    float* memory = static_cast<float*>(host.thread_scratch(thread));
    Piece sums = piece_at(memory, kQueries), piece = piece_at(memory + piece_floats(kQueries, layer.dim_v), kQueries);
    int32_t k0[kQueries], k1[kQueries], r0;
    const Block& block = *item.block;
    for (int32_t page = block.first_page; page < block.first_page + block.pages; page++) {
      if (stopped()) return;
      int32_t r1 = visible(block, page, &r0, k0, k1);
      if (r0 >= r1) continue;
      // Row 0 starts first: when this is its first page, it is everybody's.
      bool direct = r0 == 0 && r1 == item.rows && is_first_page(block, 0, page);
      compute(item, page, r0, r1, k0, k1, direct ? sums : piece, thread);
      if (!direct) merge(item, page, r0, r1, piece, sums);
    }
    finish(item, sums);
  }

  // Few items: waves of pages, each piece on any thread, then the merges.
  void walk_split(const Block* blocks, int64_t items, int64_t queries, int32_t first_page, int32_t end_page) {
    int64_t size = piece_floats(queries, layer.dim_v);
    float* sums = host.scratch().pieces.as<float>();
    float* pieces = sums + items * size;
    int64_t room = static_cast<int64_t>(host.scratch().pieces.bytes() / sizeof(float)) / size - items;
    int32_t wave = static_cast<int32_t>(std::min<int64_t>(room / items, end_page - first_page));
    for (int32_t w0 = first_page; w0 < end_page; w0 += wave) {
      int32_t pages = std::min(wave, end_page - w0);
      host.pool().parallel_for(items * pages, [&](int64_t index, int thread) {
        Item item = item_at(blocks, index / pages);
        int32_t page = w0 + static_cast<int32_t>(index % pages), k0[kQueries], k1[kQueries], r0;
        int32_t r1 = visible(*item.block, page, &r0, k0, k1);
        if (r0 >= r1 || stopped()) return;
        compute(item, page, r0, r1, k0, k1, piece_at(pieces + index * size, queries), thread);
      });
      if (stopped()) return;
      host.pool().parallel_for(items, [&](int64_t index, int) {
        Item item = item_at(blocks, index);
        Piece sum = piece_at(sums + index * size, queries);
        int32_t k0[kQueries], k1[kQueries], r0;
        for (int32_t p = 0; p < pages; p++) {
          int32_t r1 = visible(*item.block, w0 + p, &r0, k0, k1);
          if (r0 < r1) merge(item, w0 + p, r0, r1, piece_at(pieces + (index * pages + p) * size, queries), sum);
        }
        if (w0 + pages >= end_page) finish(item, sum);
      });
    }
  }
};

// Cuts the rows into blocks and checks that every page a row sees is there.
Result<int32_t> make_blocks(Attention& a, int32_t n, Block* blocks) {
  const Pass& pass = a.host.pass();
  int32_t blocks_per_sequence = 0, count = 0;
  Result<const int32_t*> tables = block_tables(a.host, a.pool, &blocks_per_sequence);
  if (!tables.ok) return Status{false};
  int32_t most = std::max(1, kQueries / a.run_heads);
  for (int32_t t = 0; t < n; count++) {
    int32_t sequence = pass.sequences()[t], t1 = t + 1;
    // A jump in position would let one block see pages that its first row has no business with.
    while (t1 < n && t1 - t < most && pass.sequences()[t1] == sequence &&
           pass.positions()[t1] == pass.positions()[t1 - 1] + 1) {
      t1++;
    }
    Block& block = blocks[count];
    block.t0 = t;
    block.t1 = t1;
    block.table = tables.value + static_cast<int64_t>(sequence) * blocks_per_sequence;
    block.first_page = a.first_key(pass.positions()[t]) / kPagePositions;
    block.pages = pass.positions()[t1 - 1] / kPagePositions + 1 - block.first_page;
    for (int32_t page = block.first_page; page < block.first_page + block.pages; page++) {
      if (block.table[page] < 0) return bad_argument("row %d needs positions from %d on, which are forgotten", t, page * kPagePositions);
    }
    t = t1;
  }
  return count;
}

}  // namespace

Status attention(Host& host, int32_t out_handle, int32_t q_handle, int32_t pool_handle, int32_t layer_index, int32_t n,
                 int32_t heads, float scale, int32_t window, float softcap, int32_t sinks_handle) {
  HW_GET(Tensor, out, host, out_handle);
  HW_GET(Tensor, q, host, q_handle);
  HW_GET(KvPool, pool, host, pool_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(q, n, "q"));
  HW_TRY(check_pass_rows(host, n));
  Result<const KvLayer*> found = kv_layer(pool, layer_index);
  if (!found.ok) return Status{false};
  const KvLayer& layer = *found.value;
  if (heads < 1 || heads % layer.heads != 0 || q.cols != static_cast<int64_t>(heads) * layer.dim_k ||
      out.cols != static_cast<int64_t>(heads) * layer.dim_v || &out == &q) {
    return bad_argument("q and out of %d and %d columns for %d heads over %d KV heads of %d and %d", q.cols, out.cols,
                        heads, layer.heads, layer.dim_k, layer.dim_v);
  }
  if (window < 0 || !(softcap >= 0)) return bad_argument("a window of %d, a cap of %g", window, static_cast<double>(softcap));
  const float* sinks = nullptr;
  if (sinks_handle != 0) {
    HW_GET(Vector, vector, host, sinks_handle);
    if (vector.length != heads) return bad_argument("%d sinks for %d heads", vector.length, heads);
    sinks = vector.data();
  }
  if (n == 0) return done();

  int32_t group = heads / layer.heads, run_heads = std::min(group, kQueries), runs = (group + run_heads - 1) / run_heads;
  Attention a{host, q, out, pool, layer, {layer.dim_k, layer.dim_v, scale, softcap}, heads, window, sinks, run_heads, runs};
  HW_TRY(host.grow(host.scratch().blocks, static_cast<int64_t>(n) * static_cast<int64_t>(sizeof(Block))));
  Block* blocks = host.scratch().blocks.as<Block>();
  Result<int32_t> count = make_blocks(a, n, blocks);
  if (!count.ok) return Status{false};

  int32_t first_page = blocks[0].first_page, end_page = 0, rows = 0;
  for (int32_t b = 0; b < count.value; b++) {
    first_page = std::min(first_page, blocks[b].first_page);
    end_page = std::max(end_page, blocks[b].first_page + blocks[b].pages);
    rows = std::max(rows, blocks[b].t1 - blocks[b].t0);
  }
  int64_t items = static_cast<int64_t>(count.value) * layer.heads * runs;
  int threads = host.pool().threads();
  int64_t piece_bytes = piece_floats(kQueries, layer.dim_v) * static_cast<int64_t>(sizeof(float));
  HW_TRY(host.grow_thread_scratch(2 * piece_bytes));
  if (threads > 1 && items < 4 * threads && end_page - first_page > 1) {
    HW_TRY(host.grow(host.scratch().pieces, std::max(kPiecesBytes, 2 * items * piece_bytes)));
    a.walk_split(blocks, items, int64_t{rows} * run_heads, first_page, end_page);
  } else {
    host.pool().parallel_for(items, [&](int64_t index, int thread) { a.walk(a.item_at(blocks, index), thread); });
  }
  return a.stop.load() ? cancelled() : done();
}

Status reserve_attention(Host& host) {
  int64_t rows = 0, dim_v = 0;
  for (Object* object : host.objects()) {
    if (object->kind == Kind::tensor) rows = std::max<int64_t>(rows, static_cast<Tensor*>(object)->rows);
    if (object->kind != Kind::kv_pool) continue;
    for (const KvLayer& layer : static_cast<KvPool*>(object)->layers) dim_v = std::max<int64_t>(dim_v, layer.dim_v);
  }
  if (dim_v == 0) return done();
  int64_t piece_bytes = piece_floats(kQueries, dim_v) * static_cast<int64_t>(sizeof(float));
  HW_TRY(host.grow(host.scratch().blocks, rows * static_cast<int64_t>(sizeof(Block))));
  HW_TRY(host.grow_thread_scratch(2 * piece_bytes));
  if (host.pool().threads() == 1) return done();
  return host.grow(host.scratch().pieces, std::max(kPiecesBytes, int64_t{8} * host.pool().threads() * piece_bytes));
}

}  // namespace ops
}  // namespace hw
