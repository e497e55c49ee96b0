#include "attention_walk.h"

#include <cmath>

#include "../kernels/hadamard.h"
#include "../kernels/queries.h"

namespace hw {
namespace ops {

Piece Attention::thread_piece(int thread, int which) const {
  float* memory = static_cast<float*>(model.thread_scratch(thread));
  return piece_at(memory + which * piece_floats(kAttentionQueries, layer.dim_v), kAttentionQueries);
}

// The item's queries as the kernels want them: rows of the tensor, for quantized keys quantized here.
Acts Attention::queries_of(const Item& item, int thread) const {
  uint8_t* memory = static_cast<uint8_t*>(model.thread_scratch(thread)) + 3 * walk_piece_bytes(layer.dim_v);
  return queries_at(item.block->t0, item.rows, item.head0, item.heads, memory);
}

Acts Attention::queries_at(int32_t t, int32_t rows, int32_t head0, int32_t count, uint8_t* memory) const {
  const int32_t cols = count * layer.dim_k;
  const float* x = q.row(t) + static_cast<int64_t>(head0) * layer.dim_k;
  int64_t stride = q.cols;
  if (layer.hadamard) {
    float* const mixed = reinterpret_cast<float*>(memory);
    for (int32_t r = 0; r < rows; r++) {
      float* const to = mixed + static_cast<int64_t>(r) * cols;
      memcpy(to, x + r * stride, static_cast<size_t>(cols) * sizeof(float));
      for (int32_t h = 0; h < count; h++) mix_key(layer, to + static_cast<int64_t>(h) * layer.dim_k);
    }
    x = mixed;
    stride = cols;
    memory += mixed_bytes(layer);
  }
  if (pool.keys == KV_F16) return Acts{ACTS_F32, rows, cols, x, nullptr, nullptr, nullptr, stride, 0, 0, 0};
  return quantize_queries(model.kernels(), x, stride, rows, cols, memory);
}

const uint8_t* Attention::keys(const Item& item, int32_t page) const {
  const uint8_t* const bytes = layer_of(*item.block, page);
  return bytes == nullptr ? nullptr : bytes + item.kv_head * kPagePositions * layer.row_bytes_k;
}

const uint8_t* Attention::layer_of(const Block& block, int32_t page) const {
  const int32_t id = block.table[page];
  if (pool.in_memory(id)) return pool.page(id) + layer.offset_k;
  const int64_t at = int64_t{page} - staged_first;
  return at < 0 || at >= static_cast<int64_t>(staged.size()) ? nullptr : staged[static_cast<size_t>(at)];
}

// Rows [*r0, return) of the block see keys [k0[r], k1[r]) of the page.
int32_t Attention::visible(const Block& block, int32_t page, int32_t* r0, int32_t* k0, int32_t* k1) const {
  int64_t base = static_cast<int64_t>(page) * kPagePositions;
  int32_t end = 0;
  *r0 = block.t1 - block.t0;
  for (int32_t r = 0; r < block.t1 - block.t0; r++) {
    int64_t position = model.pass().positions()[block.t0 + r];
    int64_t low = std::max<int64_t>(first_key(static_cast<int32_t>(position)) - base, 0);
    int64_t high = std::min<int64_t>(end_key(static_cast<int32_t>(position), block.last) - base, kPagePositions);
    if (low >= high) continue;
    *r0 = std::min(*r0, r);
    end = r + 1;
    k0[r] = static_cast<int32_t>(low);
    k1[r] = static_cast<int32_t>(high);
  }
  return end;
}

// Row r of `from` (which begins at row `base`) into the item's sums.
void Attention::fold(const Item& item, const Piece& from, int64_t r, int64_t base, bool first,
                     const Piece& sums) const {
  int64_t i = r * item.heads, j = (r - base) * item.heads, dim = layer.dim_v;
  if (first) {
    size_t heads_bytes = static_cast<size_t>(item.heads) * sizeof(float);
    memcpy(sums.m + i, from.m + j, heads_bytes);
    memcpy(sums.l + i, from.l + j, heads_bytes);
    memcpy(sums.o + i * dim, from.o + j * dim, heads_bytes * static_cast<size_t>(dim));
  } else {
    model.kernels().attn_fold(from.m + j, from.l + j, from.o + j * dim, item.heads, layer.dim_v, sums.m + i, sums.l + i,
                             sums.o + i * dim);
  }
}

bool Attention::span_is_first(const Item& item, int32_t span, int32_t row) const {
  return first_key(model.pass().positions()[item.block->t0 + row]) / kSpanPositions == span;
}

// What the rows see of a span, in ascending pages. `next` is what the thread reads afterwards.
void Attention::compute_span(const Item& item, const Acts& queries, int32_t span, const uint8_t* next, const Piece& to,
                             int thread) {
  int32_t k0[kAttentionQueries], k1[kAttentionQueries], at[kAttentionQueries], r0;
  const Block& block = *item.block;
  int32_t page = std::max(block.first_page, span * kSpanPages);
  int32_t end = std::min(block.first_page + block.pages, (span + 1) * kSpanPages);
  Piece piece = thread_piece(thread, 2);
  for (; page < end; page++) {
    if (stopped()) return;
    int32_t r1 = visible(block, page, &r0, k0, k1);
    if (r0 >= r1) continue;
    auto is_first = [&](int32_t r) {
      int32_t first = first_key(model.pass().positions()[block.t0 + r]) / kPagePositions;
      return std::max(first, span * kSpanPages) == page;
    };
    // Rows are in order of their first pages: when the last one begins here, all do.
    bool direct = r0 == 0 && r1 == item.rows && is_first(r1 - 1) && is_first(0);
    const Piece& result = direct ? to : piece;
    Acts part = queries;
    part.rows = r1 - r0;
    part.f32 += r0 * part.f32_stride;
    part.q += r0 * part.q_stride;
    part.d += r0 * part.d_stride;
    part.sums += r0 * part.sums_stride;
    const uint8_t* v = layer_of(block, page) + (layer.offset_v - layer.offset_k) +
                       item.kv_head * kPagePositions * layer.row_bytes_v;
    AttnPiece own = spec;
    if (slopes != nullptr) {
      for (int32_t r = r0; r < r1; r++) at[r] = model.pass().positions()[block.t0 + r] - page * kPagePositions;
      own.slopes = slopes + item.head0;
      own.at = at + r0;
    }
    if (layer.latent) v = nullptr;
    const AttnPieceFn compute = model.kernels().attn_piece[pool.keys][layer.latent ? pool.keys : pool.values];
    compute(&own, &part, r1 - r0, item.heads, keys(item, page), v, k0 + r0, k1 + r0,
            page + 1 < end ? keys(item, page + 1) : next, result.m, result.l, result.o, model.kernel_scratch(thread));
    for (int32_t r = r0; r < r1 && !direct; r++) fold(item, piece, r, r0, is_first(r), to);
  }
}

void Attention::fold_span(const Item& item, int32_t span, const Piece& from, const Piece& sums) const {
  for (int32_t r = 0; r < item.rows; r++) {
    int32_t position = model.pass().positions()[item.block->t0 + r];
    int32_t last_key = end_key(position, item.block->last) - 1;
    if (last_key >= 0 && first_key(position) / kSpanPositions <= span && last_key / kSpanPositions >= span) {
      fold(item, from, r, 0, span_is_first(item, span, r), sums);
    }
  }
}

float exp_of(const Kernels& k, float x, float max) {
  k.exp_sum(&x, max, 1);
  return x;
}

void Ending::leave(const Kernels& k, int32_t row, int32_t head, float m, float l, const float* sum) const {
  float* const o = out.row(row) + static_cast<int64_t>(head) * dim;
  float* const kept = carry == nullptr ? nullptr : carry->row(row);
  if (part == ATTENTION_NEXT || part == ATTENTION_LAST) {
    k.attn_fold(&m, &l, sum, 1, dim, kept + head, kept + heads + head, o);
    m = kept[head];
    l = kept[heads + head];
  } else {
    memcpy(o, sum, static_cast<size_t>(dim) * sizeof(float));
  }
  if (part == ATTENTION_FIRST || part == ATTENTION_NEXT) {
    kept[head] = m;
    kept[heads + head] = l;
    return;
  }
  divide(k, head, m, l, o);
}

void Ending::leave_nothing(const Kernels& k, int32_t row, int32_t head) const {
  float* const o = out.row(row) + static_cast<int64_t>(head) * dim;
  float* const kept = carry == nullptr ? nullptr : carry->row(row);
  if (part == ATTENTION_WHOLE || part == ATTENTION_FIRST) memset(o, 0, static_cast<size_t>(dim) * sizeof(float));
  if (part == ATTENTION_FIRST) {
    kept[head] = -INFINITY;
    kept[heads + head] = 0;
  }
  // What no source shows anything of stays zeros.
  if (part == ATTENTION_LAST && kept[heads + head] > 0) divide(k, head, kept[head], kept[heads + head], o);
}

void Ending::divide(const Kernels& k, int32_t head, float m, float l, float* o) const {
  if (sinks != nullptr) {
    float s = sinks[head], top = m > s ? m : s;
    float a = exp_of(k, m, top);
    l = l * a + exp_of(k, s, top);
    k.scale(o, a, dim);
  }
  k.scale(o, 1.0f / l, dim);
  if (hadamard) hw::hadamard(o, dim);
}

void Attention::finish(const Item& item, const Piece& sums) const {
  for (int32_t r = 0; r < item.rows; r++) {
    const int32_t row = item.block->t0 + r;
    const bool sees = end_key(model.pass().positions()[row], item.block->last) > 0;
    for (int32_t h = 0; h < item.heads; h++) {
      if (!sees) {
        ending.leave_nothing(model.kernels(), row, item.head0 + h);
        continue;
      }
      int64_t i = static_cast<int64_t>(r) * item.heads + h;
      ending.leave(model.kernels(), row, item.head0 + h, sums.m[i], sums.l[i], sums.o + i * layer.dim_v);
    }
  }
}

bool Attention::stopped() {
  if (model.cancelled()) stop.store(true, std::memory_order_relaxed);
  return stop.load(std::memory_order_relaxed);
}

// Where item `index` begins to read, if there is such an item.
const uint8_t* Attention::first_keys(int64_t index) const {
  if (index >= items) return nullptr;
  Item item = item_at(index);
  return keys(item, item.block->first_page);
}

void Attention::walk(int64_t index, int thread) {
  Item item = item_at(index);
  const Block& block = *item.block;
  Acts queries = queries_of(item, thread);
  Piece sums = thread_piece(thread, 0), piece = thread_piece(thread, 1);
  int32_t first = block.first_page / kSpanPages, last = (block.first_page + block.pages - 1) / kSpanPages;
  for (int32_t span = first; span <= last; span++) {
    const uint8_t* next = span == last ? first_keys(index + 1) : keys(item, (span + 1) * kSpanPages);
    bool direct = span == first && span_is_first(item, span, item.rows - 1);
    compute_span(item, queries, span, next, direct ? sums : piece, thread);
    if (stopped()) return;
    if (!direct) fold_span(item, span, piece, sums);
  }
  finish(item, sums);
}

void Attention::walk_split(int32_t first_span, int32_t end_span, int64_t most_queries) {
  int64_t size = piece_floats(most_queries, layer.dim_v);
  float* sums = model.scratch().pieces.as<float>();
  float* pieces = sums + items * size;
  int64_t room = static_cast<int64_t>(model.scratch().pieces.bytes() / sizeof(float)) / size - items;
  int32_t wave = static_cast<int32_t>(std::min<int64_t>(room / items, end_span - first_span));
  for (int32_t w0 = first_span; w0 < end_span; w0 += wave) {
    int32_t spans = std::min(wave, end_span - w0);
    auto hidden = [&](const Item& item, int32_t span) {
      int32_t first = item.block->first_page, end = first + item.block->pages;
      return (span + 1) * kSpanPages <= first || span * kSpanPages >= end;
    };
    model.pool().parallel_for(items * spans, [&](int64_t index, int thread) {
      Item item = item_at(index / spans);
      int32_t span = w0 + static_cast<int32_t>(index % spans);
      if (hidden(item, span) || stopped()) return;
      int32_t page = (span + 1) * kSpanPages;
      const uint8_t* next =
          page < item.block->first_page + item.block->pages ? keys(item, page) : first_keys(index / spans + 1);
      compute_span(item, queries_of(item, thread), span, next, piece_at(pieces + index * size, most_queries), thread);
    });
    if (stopped()) return;
    model.pool().parallel_for(items, [&](int64_t index, int) {
      Item item = item_at(index);
      Piece sum = piece_at(sums + index * size, most_queries);
      for (int32_t i = 0; i < spans; i++) {
        if (!hidden(item, w0 + i))
          fold_span(item, w0 + i, piece_at(pieces + (index * spans + i) * size, most_queries), sum);
      }
      if (w0 + spans >= end_span) finish(item, sum);
    });
  }
}

}  // namespace ops
}  // namespace hw
