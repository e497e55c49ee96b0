// Pools of slots, and which of them a pass reads and writes.
#include "slots.h"

#include <memory>

#include "ops.h"

namespace hw {

namespace {

constexpr int32_t kMostHeads = 65536, kMostSize = 1 << 24;
constexpr int64_t kMostValues = int64_t{1} << 40;

Status read_layer(const int32_t* n, SlotLayer* layer) {
  *layer = SlotLayer{};
  if (n[SLOT_KIND] < 0 || n[SLOT_KIND] >= SLOT_KINDS) return bad_argument("a state of kind %d", n[SLOT_KIND]);
  layer->kind = static_cast<SlotKind>(n[SLOT_KIND]);
  layer->every = n[SLOT_EVERY];
  const bool tail = layer->kind == SLOT_OF_TAIL, block = layer->kind == SLOT_OF_BLOCK;
  layer->heads = n[SLOT_HEADS];
  layer->keys = n[SLOT_KEYS];
  layer->values = n[SLOT_VALUES];
  layer->key_heads = n[SLOT_KEY_HEADS];
  layer->tiled = n[SLOT_TILED] != 0;
  layer->decays = n[SLOT_DECAYS];
  layer->correct = n[SLOT_CORRECT] != 0;
  if (layer->heads < 1 || layer->heads > (layer->kind == SLOT_OF_MATRIX ? kMostHeads : 1) || layer->keys < 1 ||
      layer->keys > (tail ? kMostTaps - 1 : kMaxHeadDim) || layer->values < 1 || layer->values > kMostSize ||
      layer->key_heads < 1 || layer->heads % layer->key_heads != 0 ||
      (layer->decays != 1 && layer->decays != layer->keys)) {
    return bad_argument("states of %d heads of %d x %d values, %d key heads, %d decays", layer->heads, layer->keys,
                        layer->values, layer->key_heads, layer->decays);
  }
  if (block ? layer->every < 1 || layer->every > kMostEvery || (layer->keys != 4 && layer->keys != 10)
            : layer->every != 0) {
    return bad_argument("blocks of %d rows, %d of sums", layer->every, layer->keys);
  }
  const int64_t of_head = int64_t{layer->values} + layer->decays + 1;
  const int64_t of_block = int64_t{layer->values} * (layer->overlaps() ? 4 : 2);
  const int64_t of_matrix = int64_t{layer->key_heads} * layer->keys + layer->heads * of_head;
  layer->kept = tail ? layer->values : block ? of_block : of_matrix;
  return done();
}

Status allocate(Model& model, Buffer& buffer, int64_t bytes) {
  if (bytes >= 0 && buffer.allocate(&model.counters(), Purpose::kv, static_cast<size_t>(bytes), true)) return done();
  return fail("MEMORY_BUDGET", "no memory for %lld bytes of state slots", static_cast<long long>(bytes));
}

}  // namespace

Result<int32_t> slot_pool(Model& model, Slice<const int32_t> layers, int32_t slots, int32_t keeps) {
  HW_TRY(model.check_open());
  constexpr int64_t kNumbers = SLOT_NUMBERS, kMostLayers = 65536, kMostUnits = 1 << 20;
  if (layers.length < kNumbers || layers.length % kNumbers != 0 || layers.length > kNumbers * kMostLayers ||
      slots < 1 || slots > kMostUnits || keeps < 0 || keeps > kMostUnits) {
    return bad_argument("a pool of %d slots, %d places for inputs", slots, keeps);
  }
  std::unique_ptr<SlotPool> pool(new SlotPool);
  for (int64_t i = 0; i < layers.length; i += kNumbers) {
    SlotLayer layer;
    HW_TRY(read_layer(layers.data + i, &layer));
    layer.offset = pool->slot_values;
    layer.kept_offset = pool->keep_values;
    pool->slot_values += int64_t{layer.heads} * layer.keys * layer.values;
    pool->keep_values += kKeptRows * layer.kept;
    if (pool->slot_values > kMostValues / slots || pool->keep_values > kMostValues / (keeps + 1)) {
      return bad_argument("slots of %lld values", static_cast<long long>(pool->slot_values));
    }
    pool->layers.push_back(layer);
  }
  pool->slots = slots;
  pool->keeps = keeps;
  const int64_t size = static_cast<int64_t>(sizeof(float));
  HW_TRY(allocate(model, pool->memory, slots * pool->slot_values * size));
  if (keeps > 0) HW_TRY(allocate(model, pool->kept, keeps * pool->keep_values * size));
  if (!pool->runs.allocate(&model.counters(), Purpose::activations, static_cast<size_t>(slots) * sizeof(SlotRun)) ||
      !pool->marks.allocate(&model.counters(), Purpose::activations, static_cast<size_t>(slots) * sizeof(SlotMark))) {
    return fail("MEMORY_BUDGET", "no memory for %d state slots", slots);
  }
  return model.add(pool.release());
}

namespace ops {

namespace {

// Nobody may write what another sequence reads or writes in this pass.
Status check_run(const SlotPool& pool, const SlotRun& run, int32_t position, int32_t before) {
  if (run.from < -1 || run.from >= pool.slots || run.to < 0 || run.to >= pool.slots || run.keep < -1 ||
      run.keep >= pool.keeps) {
    return bad_argument("slots %d and %d of %d, place %d of %d", run.from, run.to, pool.slots, run.keep, pool.keeps);
  }
  if ((run.from < 0) != (position == 0)) {
    return bad_argument("a state of slot %d before position %d", run.from, position);
  }
  if (run.keep >= 0 && run.t1 - run.t0 > kKeptRows) return bad_argument("%d rows are to be kept", run.t1 - run.t0);
  if (run.from == run.to) return bad_argument("slot %d is read and written", run.to);
  for (int32_t i = 0; i < before; i++) {
    const SlotRun& other = *pool.run(i);
    if (other.to == run.to || other.from == run.to || other.to == run.from ||
        (run.keep >= 0 && other.keep == run.keep)) {
      return bad_argument("two sequences write slot %d or %d", run.to, other.to);
    }
  }
  return done();
}

// Rows of marks ascend and are of the pass; nobody else reads or writes their slots.
Status read_marks(const SlotPool& pool, const Pass& pass, Slice<const int32_t> marks) {
  if (marks.length % 2 != 0 || marks.length / 2 > pool.slots) {
    return bad_argument("%lld numbers of marks", static_cast<long long>(marks.length));
  }
  for (int32_t i = 0; i < marks.length / 2; i++) {
    const SlotMark mark = {marks.data[2 * i], marks.data[2 * i + 1]};
    bool taken = mark.slot < 0 || mark.slot >= pool.slots || mark.t < 0 || mark.t >= pass.count ||
                 (i > 0 && mark.t <= pool.mark(i - 1)->t);
    for (int32_t r = 0; r < pool.run_count; r++) {
      taken = taken || pool.run(r)->from == mark.slot || pool.run(r)->to == mark.slot;
    }
    for (int32_t j = 0; j < i; j++) taken = taken || pool.mark(j)->slot == mark.slot;
    if (taken) return bad_argument("slot %d cannot get the state after row %d", mark.slot, mark.t);
    pool.marks.as<SlotMark>()[i] = mark;
  }
  return done();
}

}  // namespace

Status begin_slots(Model& model, int32_t handle, Slice<const int32_t> slots, Slice<const int32_t> marks) {
  HW_GET(SlotPool, pool, model, handle);
  const Pass& pass = model.pass();
  pool.pass = 0;
  pool.run_count = 0;
  if (slots.length < int64_t{3} * pass.sequence_count) return bad_argument("the pass has no slots for its sequences");
  for (int32_t t = 0, t1 = 0; t < pass.count; t = t1) {
    const int32_t sequence = pass.sequences()[t], *places = slots.data + int64_t{3} * sequence;
    while (t1 < pass.count && pass.sequences()[t1] == sequence) t1++;
    if (pool.run_count == pool.slots) return bad_argument("more sequences than the %d slots", pool.slots);
    const SlotRun run = {t, t1, places[0], places[1], places[2], 0, 0};
    HW_TRY(check_run(pool, run, pass.positions()[t], pool.run_count));
    pool.runs.as<SlotRun>()[pool.run_count++] = run;
  }
  HW_TRY(read_marks(pool, pass, marks));
  int32_t m = 0;
  for (int32_t r = 0; r < pool.run_count; r++) {
    SlotRun& run = pool.runs.as<SlotRun>()[r];
    run.m0 = m;
    while (m < marks.length / 2 && pool.mark(m)->t < run.t1) m++;
    run.m1 = m;
  }
  pool.pass = pass.number;
  return done();
}

}  // namespace ops
}  // namespace hw
