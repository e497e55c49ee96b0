// The row table of a pass, and the verbs that select rows.
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <mutex>
#include <new>

#include "../resources.h"
#include "ops.h"

namespace hw {
namespace ops {

Status reserve_rows(Model& model, int64_t rows) {
  Pass& pass = model.pass();
  if (rows <= pass.row_capacity) return done();
  HW_TRY(model.grow(pass.rows, rows * 3 * static_cast<int64_t>(sizeof(int32_t))));
  pass.row_capacity = rows;
  return done();
}

namespace {

Status make_tables(Model& model, int32_t pools) {
  Pass& pass = model.pass();
  while (static_cast<int32_t>(pass.tables.size()) < pools) {
    Buffer* table = new (std::nothrow) Buffer;
    if (table == nullptr) return fail("MEMORY_BUDGET", "no memory for a block table");
    pass.tables.push_back(table);
    pass.blocks_of_table.push_back(0);
  }
  return done();
}

}  // namespace

Status reserve_tables(Model& model, Slice<const int32_t> entries) {
  if (entries.length != model.pool_count()) return bad_argument("block tables of %d KV pools", model.pool_count());
  HW_TRY(make_tables(model, model.pool_count()));
  for (int64_t p = 0; p < entries.length; p++) {
    HW_TRY(model.grow(*model.pass().tables[p], entries.data[p] * static_cast<int64_t>(sizeof(int32_t))));
  }
  return done();
}

namespace {

// Neighbouring rows of a sequence must ascend, and each position needs a page in every pool.
Status check_row_table(int32_t count, const int32_t* positions, const int32_t* sequences,
                       int32_t sequence_count, const SliceList<const int32_t>& tables, const int32_t* blocks,
                       const std::vector<const KvPool*>& pools) {
  for (int32_t t = 0; t < count; t++) {
    if (positions[t] < 0) return bad_argument("row %d has position %d", t, positions[t]);
    if (sequences[t] < 0 || sequences[t] >= sequence_count) {
      return bad_argument("row %d is of sequence %d of %d", t, sequences[t], sequence_count);
    }
    if (t > 0 && sequences[t] == sequences[t - 1] && positions[t] <= positions[t - 1]) {
      return bad_argument("rows %d and %d of a sequence do not ascend", t - 1, t);
    }
    for (int32_t p = 0; p < tables.count; p++) {
      int32_t block = pools[static_cast<size_t>(p)]->block_of(positions[t]);
      if (block >= blocks[p]) return bad_argument("position %d is beyond the block table", positions[t]);
      int32_t page = tables.items[p].data[static_cast<int64_t>(sequences[t]) * blocks[p] + block];
      if (page < 0) return bad_argument("position %d of row %d has no KV page", positions[t], t);
      if (page < pools[static_cast<size_t>(p)]->pages && !pools[static_cast<size_t>(p)]->in_memory(page)) {
        return bad_argument("position %d of row %d is written to a page on the disk", positions[t], t);
      }
    }
  }
  return done();
}

}  // namespace

Status begin(Model& model, int32_t count, Slice<const int32_t> ids, Slice<const int32_t> positions,
             Slice<const int32_t> sequences, int32_t sequence_count, const SliceList<const int32_t>& tables,
             Slice<const int32_t> blocks_per_sequence) {
  Pass& pass = model.pass();
  pass.count = 0;
  model.choose_threads(count);
  model.pool().wake();
  HW_TRY(model.check_files());
  if (count < 0 || ids.length < count || positions.length < count || sequences.length < count || sequence_count < 0) {
    return bad_argument("a row table of %d rows needs as many ids, positions and sequences", count);
  }
  if (tables.count > model.pool_count() || blocks_per_sequence.length < tables.count) {
    return bad_argument("%d block tables for %d KV pools", tables.count, model.pool_count());
  }
  int32_t pool_index = 0;
  std::vector<const KvPool*> pools;
  for (Object* object : model.objects()) {
    if (object->kind != Kind::kv_pool || pool_index >= tables.count) continue;
    const KvPool& pool = *static_cast<KvPool*>(object);
    const Slice<const int32_t>& table = tables.items[pool_index];
    int64_t blocks = blocks_per_sequence.data[pool_index];
    if (blocks < 0 || blocks > (1 << 23) + 1 || table.length < sequence_count * blocks) {
      return bad_argument("block table %d is shorter than sequences x blocks", pool_index);
    }
    for (int64_t i = 0; i < sequence_count * blocks; i++) {
      if (table.data[i] < -1 || table.data[i] >= pool.pages) {
        return bad_argument("page %d of a pool of %d", table.data[i], pool.pages);
      }
    }
    pools.push_back(&pool);
    pool_index++;
  }
  HW_TRY(check_row_table(count, positions.data, sequences.data, sequence_count, tables, blocks_per_sequence.data,
                         pools));

  HW_TRY(reserve_rows(model, count));
  HW_TRY(make_tables(model, tables.count));
  int32_t* rows = pass.rows.as<int32_t>();
  if (count > 0) {
    size_t bytes = static_cast<size_t>(count) * sizeof(int32_t);
    memcpy(rows, ids.data, bytes);
    memcpy(rows + pass.row_capacity, positions.data, bytes);
    memcpy(rows + 2 * pass.row_capacity, sequences.data, bytes);
  }
  for (int32_t p = 0; p < tables.count; p++) {
    int64_t entries = static_cast<int64_t>(sequence_count) * blocks_per_sequence.data[p];
    int64_t bytes = entries * static_cast<int64_t>(sizeof(int32_t));
    HW_TRY(model.grow(*pass.tables[p], bytes));
    if (bytes > 0) memcpy(pass.tables[p]->as<int32_t>(), tables.items[p].data, static_cast<size_t>(bytes));
    pass.blocks_of_table[p] = blocks_per_sequence.data[p];
  }
  pass.number++;
  pass.count = count;
  pass.sequence_count = sequence_count;
  pass.pool_count = tables.count;
  return done();
}

Status embed(Model& model, int32_t out_handle, int32_t weight_handle, int32_t n, float factor, int32_t by,
             Slice<const int32_t> given) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(WeightObject, table, model, weight_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_pass_rows(model, n));
  const Weight& w = table.weight;
  if (w.cols != out.cols || w.experts != 1) {
    return bad_argument("embedding rows of %lld values into %d columns", static_cast<long long>(w.cols), out.cols);
  }
  if (by < 0 || by >= LOOKUPS) return bad_argument("a lookup by %d", by);
  if (by == LOOKUP_GIVEN ? given.length < n : given.length > 0) {
    return bad_argument("%lld rows given for %d", static_cast<long long>(given.length), n);
  }
  const int32_t* ids = by == LOOKUP_GIVEN       ? given.data
                       : by == LOOKUP_POSITIONS ? model.pass().positions()
                                                : model.pass().ids();
  const int32_t least = by == LOOKUP_GIVEN ? -1 : 0;
  auto row_of = [&](int64_t t) { return by == LOOKUP_FIRST ? 0 : ids[t]; };
  for (int32_t t = 0; t < n; t++) {
    if (row_of(t) < least || row_of(t) >= w.rows) {
      const char* what = by == LOOKUP_IDS ? "token id" : by == LOOKUP_GIVEN ? "number" : "position";
      return bad_argument("%s %d of row %d, the table has %lld rows", what, ids[t], t, static_cast<long long>(w.rows));
    }
  }
  const Kernels& k = model.kernels();
  std::mutex failed_mutex;
  IoFailure failed;
  auto one = [&](int64_t t, int) {
    if (row_of(t) < 0) {
      memset(out.row(t), 0, static_cast<size_t>(w.cols) * sizeof(float));
      return;
    }
    if (!dequantize_row(k, w, 0, row_of(t), out.row(t)).ok) {
      // The reason lies in this thread's slot; the caller may be another.
      std::lock_guard<std::mutex> lock(failed_mutex);
      failed.code = last_error().code;
      snprintf(failed.message, sizeof failed.message, "%.470s", last_error().message);
      return;
    }
    if (factor != 1.0f) k.scale(out.row(t), factor, w.cols);
  };
  if (static_cast<int64_t>(n) * w.cols < kInlineValues) {
    for (int32_t t = 0; t < n; t++) one(t, 0);
  } else {
    model.pool().parallel_for(n, one);
  }
  if (failed.code != nullptr) return failed.raise();
  return model.check_mappings();
}

Status gather(Model& model, int32_t out_handle, int32_t x_handle, Slice<const int32_t> indices) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  if (indices.length > out.rows) {
    return bad_argument("%lld rows into a tensor of %d", static_cast<long long>(indices.length), out.rows);
  }
  if (out.cols != x.cols || out.data() == x.data())
    return bad_argument("gather needs another tensor of %d columns", x.cols);
  for (int64_t i = 0; i < indices.length; i++) {
    if (indices.data[i] < 0 || indices.data[i] >= x.rows) {
      return bad_argument("row %d of a tensor of %d", indices.data[i], x.rows);
    }
  }
  for (int64_t i = 0; i < indices.length; i++) {
    memcpy(out.row(i), x.row(indices.data[i]), static_cast<size_t>(x.cols) * sizeof(float));
  }
  return done();
}

Status copy(Model& model, int32_t out_handle, int32_t x_handle, int32_t n) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(x, n, "x"));
  if (out.cols != x.cols || overlap(out, x, n)) return bad_argument("copy needs another tensor of %d columns", x.cols);
  if (n > 0) memcpy(out.data(), x.data(), static_cast<size_t>(n) * static_cast<size_t>(x.cols) * sizeof(float));
  return done();
}

}  // namespace ops
}  // namespace hw
