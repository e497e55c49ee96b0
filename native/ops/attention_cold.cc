// Attention where pages are on the disk: sequence after sequence, a wave of spans at a time, whose parts are read into
// places while the wave before is computed. Pieces are those of attention_walk.h and are folded in the same order: the
// same bits.
#include <algorithm>

#include "attention_walk.h"

namespace hw {
namespace ops {

namespace {

// All of a sequence's rows in the pass, as blocks that follow each other.
int32_t run_end(Model& model, const Block* all, int32_t first, int32_t count) {
  const int32_t* sequences = model.pass().sequences();
  int32_t end = first + 1;
  while (end < count && sequences[all[end].t0] == sequences[all[first].t0]) end++;
  return end;
}

struct Pages {
  int32_t first, end;
};

Pages pages_of(const Block* blocks, int32_t count) {
  Pages pages = {blocks[0].first_page, 0};
  for (int32_t b = 0; b < count; b++) {
    pages.first = std::min(pages.first, blocks[b].first_page);
    pages.end = std::max(pages.end, blocks[b].first_page + blocks[b].pages);
  }
  return pages;
}

}  // namespace

bool Attention::sees_cold(const Block* all, int32_t count) const {
  if (pool.cold == nullptr) return false;
  for (int32_t b = 0; b < count; b++)
    for (int32_t page = all[b].first_page; page < all[b].first_page + all[b].pages; page++)
      if (!pool.in_memory(all[b].table[page])) return true;
  return false;
}

Status Attention::run_cold(const Block* all, int32_t count) {
  if (pool.cold->staging == nullptr) return bad_argument("pages are on the disk, and no file was named");
  // What this call reads in its order, then what the next layer will.
  std::vector<StagedPart> parts;
  const int64_t layers = static_cast<int64_t>(pool.layers.size()), own = &layer - pool.layers.data();
  for (int64_t l = own; l < own + 2 && l < own + layers; l++) {
    const KvLayer& of = pool.layers[static_cast<size_t>(l % layers)];
    for (int32_t b = 0; b < count;) {
      const int32_t end = run_end(model, all, b, count);
      const Pages pages = pages_of(all + b, end - b);
      for (int32_t page = pages.first; page < pages.end; page++) {
        const int32_t id = all[b].table[page];
        if (pool.in_memory(id)) continue;
        const int64_t serial = pool.cold->serial[static_cast<size_t>(id)];
        parts.push_back({serial * layers + l % layers, pool.cold->part_at(l % layers, id), of.bytes()});
      }
      b = end;
    }
  }
  HW_TRY(model.grow_thread_scratch(walk_scratch_bytes(layer)));
  size_t at = 0;
  for (int32_t b = 0; b < count;) {
    const int32_t end = run_end(model, all, b, count);
    blocks = all + b;
    items = static_cast<int64_t>(end - b) * layer.heads * runs;
    HW_TRY(walk_staged(parts, &at));
    b = end;
  }
  return done();
}

// Items and blocks are those of one sequence; `at` is the first of its parts.
Status Attention::walk_staged(const std::vector<StagedPart>& parts, size_t* at) {
  const int32_t count = static_cast<int32_t>(items / (layer.heads * runs));
  const Pages pages = pages_of(blocks, count);
  int32_t rows = 0;
  for (int32_t b = 0; b < count; b++) rows = std::max(rows, blocks[b].t1 - blocks[b].t0);
  const int64_t queries = int64_t{rows} * run_heads, size = piece_floats(queries, layer.dim_v);
  const int threads = model.pool().threads();
  // Few items: threads take spans, whose pieces wait for their folds. Otherwise items, whose sums wait for the disk.
  const bool few = threads > 1 && items < kAttentionSplitItems * threads;
  const int64_t piece = static_cast<int64_t>(sizeof(float)) * size;
  HW_TRY(model.grow(model.scratch().pieces, few ? std::max(kAttentionPiecesBytes, 2 * items * piece) : items * piece));
  float* const sums = model.scratch().pieces.as<float>();
  float* const pieces = sums + items * size;
  const int64_t room = static_cast<int64_t>(model.scratch().pieces.bytes() / sizeof(float)) / size - items;
  // Half of the places are read into meanwhile.
  int32_t wave = static_cast<int32_t>(std::max<int64_t>(1, pool.cold->staging->places() / 2 / kSpanPages));
  if (few) wave = static_cast<int32_t>(std::min<int64_t>(wave, std::max<int64_t>(1, room / items)));
  const int32_t first_span = pages.first / kSpanPages, end_span = (pages.end - 1) / kSpanPages + 1;
  auto hidden = [&](const Item& item, int32_t span) {
    const int32_t first = item.block->first_page, end = first + item.block->pages;
    return (span + 1) * kSpanPages <= first || span * kSpanPages >= end;
  };
  for (int32_t w0 = first_span; w0 < end_span; w0 += wave) {
    const int32_t spans = std::min(wave, end_span - w0);
    HW_TRY(stage(std::max(pages.first, w0 * kSpanPages), std::min(pages.end, (w0 + spans) * kSpanPages), parts, at));
    if (few) {
      model.pool().parallel_for(items * spans, [&](int64_t index, int thread) {
        const Item item = item_at(index / spans);
        const int32_t span = w0 + static_cast<int32_t>(index % spans);
        if (hidden(item, span) || stopped()) return;
        compute_span(item, queries_of(item, thread), span, nullptr, piece_at(pieces + index * size, queries), thread);
      });
      if (stopped()) return cancelled();
    }
    model.pool().parallel_for(items, [&](int64_t index, int thread) {
      const Item item = item_at(index);
      const Piece sum = piece_at(sums + index * size, queries);
      Acts own = {};
      if (!few) own = queries_of(item, thread);
      for (int32_t i = 0; i < spans; i++) {
        if (hidden(item, w0 + i)) continue;
        if (few) {
          fold_span(item, w0 + i, piece_at(pieces + (index * spans + i) * size, queries), sum);
          continue;
        }
        const Piece alone = thread_piece(thread, 1);
        compute_span(item, own, w0 + i, nullptr, alone, thread);
        if (stopped()) return;
        fold_span(item, w0 + i, alone, sum);
      }
      if (w0 + spans >= end_span) finish(item, sum);
    });
    if (stopped()) return cancelled();
  }
  return done();
}

// The pages [first, end) of the sequence, those of them that are on the disk: the next parts from `at` on.
Status Attention::stage(int32_t first, int32_t end, const std::vector<StagedPart>& parts, size_t* at) {
  staged_first = first;
  staged.assign(static_cast<size_t>(end - first), nullptr);
  size_t now = 0;
  for (int32_t page = first; page < end; page++) now += pool.in_memory(blocks[0].table[page]) ? 0 : 1;
  std::vector<const uint8_t*> found(now);
  HW_TRY(pool.cold->staging->want(parts.data() + *at, parts.size() - *at, now, found.data()));
  *at += now;
  size_t next = 0;
  for (int32_t page = first; page < end; page++)
    if (!pool.in_memory(blocks[0].table[page])) staged[static_cast<size_t>(page - first)] = found[next++];
  return done();
}

}  // namespace ops
}  // namespace hw
