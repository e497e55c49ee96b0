// The verb: its checks, the cut into blocks of rows, its scratch. How pages are walked: attention_walk.h.
#include <algorithm>

#include "attention_walk.h"
#include "over.h"

namespace hw {
namespace ops {

namespace {


// Cuts the rows into blocks and checks that every page a row sees is there.
Result<int32_t> make_blocks(Attention& a, int32_t n, Block* blocks) {
  const Pass& pass = a.model.pass();
  int32_t blocks_per_sequence = 0, count = 0;
  Result<const int32_t*> tables = block_tables(a.model, a.pool, &blocks_per_sequence);
  if (!tables.ok) return Status{false};
  int32_t most = std::max(1, kAttentionQueries / a.run_heads);
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
    int32_t end = t1;
    while (end < n && pass.sequences()[end] == sequence) end++;
    block.last = pass.positions()[end - 1];
    block.pages = (a.end_key(pass.positions()[t1 - 1], block.last) - 1) / kPagePositions + 1 - block.first_page;
    for (int32_t page = block.first_page; page < block.first_page + block.pages; page++) {
      if (block.table[page] < 0)
        return bad_argument("row %d needs positions from %d on, which are forgotten", t, page * kPagePositions);
    }
    t = t1;
  }
  return count;
}

}  // namespace

Status attention(Model& model, int32_t out_handle, int32_t q_handle, int32_t pool_handle, int32_t layer_index,
                 int32_t n, int32_t heads, float scale, int32_t window, float softcap, int32_t sinks_handle,
                 int32_t reach, int32_t slopes_handle, int32_t selection_handle, int32_t carry_handle, int32_t part) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, q, model, q_handle);
  HW_GET(KvPool, pool, model, pool_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(q, n, "q"));
  HW_TRY(check_pass_rows(model, n));
  Result<const KvLayer*> found = kv_layer(pool, layer_index);
  if (!found.ok) return Status{false};
  const KvLayer& layer = *found.value;
  if (heads < 1 || heads % layer.heads != 0 || layer.dim_v < 1 || q.cols != static_cast<int64_t>(heads) * layer.dim_k ||
      out.cols != static_cast<int64_t>(heads) * layer.dim_v || overlap(out, q, n)) {
    return bad_argument("q and out of %d and %d columns for %d heads over %d KV heads of %d and %d", q.cols, out.cols,
                        heads, layer.heads, layer.dim_k, layer.dim_v);
  }
  if (reach < 0 || reach >= REACHES || (reach == REACH_CHUNK && window == 0))
    return bad_argument("a reach of %d", reach);
  if (pool.every > 1 && (window != 0 || reach != REACH_BACK || slopes_handle != 0)) {
    return bad_argument("rows that several positions make are seen all, without slopes");
  }
  if (window < 0 || !(softcap >= 0))
    return bad_argument("a window of %d, a cap of %g", window, static_cast<double>(softcap));
  Result<const float*> sinks = optional_vector(model, sinks_handle, heads);
  Result<const float*> slopes = optional_vector(model, slopes_handle, heads);
  if (!sinks.ok || !slopes.ok) return Status{false};
  if (part < 0 || part >= ATTENTION_PARTS || (part == ATTENTION_WHOLE) != (carry_handle == 0)) {
    return bad_argument("part %d", part);
  }
  Tensor* carry = nullptr;
  if (carry_handle != 0) {
    HW_GET(Tensor, tensor, model, carry_handle);
    carry = &tensor;
    HW_TRY(check_rows(tensor, n, "carry"));
    if (tensor.cols != 2 * heads || overlap(tensor, out, n) || overlap(tensor, q, n)) {
      return bad_argument("sums of %d columns carried for %d heads", tensor.cols, heads);
    }
  }
  if (n == 0) return done();

  int32_t group = heads / layer.heads, run_heads = std::min(group, kAttentionQueries);
  int32_t runs = (group + run_heads - 1) / run_heads;
  const Ending ending = {out, carry, part, sinks.value, heads, layer.dim_v, layer.hadamard};
  const AttnPiece spec = {layer.dim_k, layer.dim_v, scale, softcap};
  Attention a{model, q, pool, layer, spec, heads, window, reach, slopes.value, ending, run_heads, runs,
              nullptr, 0, {false}};
  if (selection_handle != 0) {
    HW_GET(Routing, selection, model, selection_handle);
    if (window != 0 || reach != REACH_BACK) return bad_argument("chosen positions are among all before a row");
    if (slopes.value != nullptr) return bad_argument("chosen positions have no slopes");
    return a.run_selected(selection, n);
  }
  HW_TRY(model.grow(model.scratch().blocks, static_cast<int64_t>(n) * static_cast<int64_t>(sizeof(Block))));
  Block* blocks = model.scratch().blocks.as<Block>();
  Result<int32_t> count = make_blocks(a, n, blocks);
  if (!count.ok) return Status{false};

  if (a.sees_cold(blocks, count.value)) return a.run_cold(blocks, count.value);
  int32_t first_page = blocks[0].first_page, end_page = 0, rows = 0;
  for (int32_t b = 0; b < count.value; b++) {
    first_page = std::min(first_page, blocks[b].first_page);
    end_page = std::max(end_page, blocks[b].first_page + blocks[b].pages);
    rows = std::max(rows, blocks[b].t1 - blocks[b].t0);
  }
  a.blocks = blocks;
  a.items = static_cast<int64_t>(count.value) * layer.heads * runs;
  int threads = model.pool().threads();
  HW_TRY(model.grow_thread_scratch(walk_scratch_bytes(layer)));
  int32_t first_span = first_page / kSpanPages, end_span = (end_page - 1) / kSpanPages + 1;
  if (threads > 1 && a.items < kAttentionSplitItems * threads && end_span - first_span > 1) {
    const int64_t bytes = std::max(kAttentionPiecesBytes, 2 * a.items * walk_piece_bytes(layer.dim_v));
    HW_TRY(model.grow(model.scratch().pieces, bytes));
    a.walk_split(first_span, end_span, int64_t{rows} * run_heads);
  } else {
    model.pool().parallel_for(a.items, [&](int64_t index, int thread) { a.walk(index, thread); });
  }
  return a.stop.load() ? cancelled() : done();
}

}  // namespace ops
}  // namespace hw
