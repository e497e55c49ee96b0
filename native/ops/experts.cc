// All selected experts of a layer. (token row, rank) pairs are grouped by expert, so that an expert's weights are read
// once; waves of experts bound the hidden rows held at a time. Experts in slots come as they are read: hits first.
// Outputs of all pairs wait until their turn in rank order: out = y[0] * w[0], then out = fma(w[r], y[r], out) for r =
// 1, 2, ...
#include <string.h>

#include <algorithm>

#include "expert_pairs.h"

namespace hw {
namespace ops {

namespace {

Status make_room(Model& model, const ExpertShapes& s, const ExpertPairs& pairs, ExpertLayout* layout) {
  Scratch& scratch = model.scratch();
  const int64_t order_bytes = (3 * s.pairs() + s.experts + 1) * static_cast<int64_t>(sizeof(int32_t));
  HW_TRY(model.grow(scratch.expert_order, order_bytes + pairs.order_bytes(s)));
  int64_t active = std::min(s.experts, s.pairs());
  const int64_t tasks = std::max(2 * active, pairs.tasks(active));
  HW_TRY(model.grow(scratch.products, tasks * static_cast<int64_t>(sizeof(ProductTask))));
  int64_t hidden_rows = s.wave_pairs();
  int64_t floats = 2 * hidden_rows * s.hidden + s.pairs() * (s.dim + s.weighed);
  HW_TRY(model.grow(scratch.expert_rows, floats * static_cast<int64_t>(sizeof(float))));
  layout->position = scratch.expert_order.as<int32_t>();
  layout->token = layout->position + s.pairs();
  layout->first = layout->token + s.pairs();
  layout->identity = layout->first + s.experts + 1;
  layout->chosen = layout->identity + s.pairs();
  layout->tasks = scratch.products.as<ProductTask>();
  layout->gate = scratch.expert_rows.as<float>();
  layout->up = layout->gate + hidden_rows * s.hidden;
  layout->y = layout->up + hidden_rows * s.hidden;
  layout->weighed = layout->y + s.pairs() * s.dim;
  return done();
}

// Counting sort; within an expert pairs stay in token order.
void order_by_expert(const ExpertShapes& s, const int32_t* ids, const ExpertLayout& layout) {
  memset(layout.first, 0, static_cast<size_t>(s.experts + 1) * sizeof(int32_t));
  for (int64_t pair = 0; pair < s.pairs(); pair++) layout.first[ids[pair] + 1]++;
  for (int64_t e = 0; e < s.experts; e++) layout.first[e + 1] += layout.first[e];
  // first[e] runs ahead to first[e + 1] while positions are given out, and is shifted back below.
  for (int64_t pair = 0; pair < s.pairs(); pair++) {
    int32_t position = layout.first[ids[pair]]++;
    layout.position[pair] = position;
    layout.token[position] = static_cast<int32_t>(pair / s.top_k);
    layout.identity[pair] = static_cast<int32_t>(pair);
  }
  for (int64_t e = s.experts; e > 0; e--) layout.first[e] = layout.first[e - 1];
  layout.first[0] = 0;
}

// How the hidden rows are made of the products.
struct Hidden {
  int32_t kind;
  float limit;
};

struct Side {
  const Weight* weight;
  const float* bias;  // [experts][rows] or null
};

// What is the same for all waves of a call.
struct Call {
  Side sides[EXPERT_SIDES];
  const Acts* x_acts;
  Hidden made;
  ExpertPairs pairs;
  unsigned hidden_kinds;  // forms of the hidden rows, as bits
};

ProductTask task_of(const Side& side, const ExpertSlots::Wanted& wanted, const Acts* acts, const int32_t* pick,
                    float* out) {
  const Weight& w = *side.weight;
  const float* bias = side.bias == nullptr ? nullptr : side.bias + wanted.expert * w.rows;
  const uint8_t* const* planes = w.slots == nullptr ? nullptr : wanted.segments + w.slot_segment;
  ProductTask task = product_task(w, wanted.expert, acts, pick, wanted.rows, out, w.rows, bias, INTO_STORE);
  task.planes = planes;
  return task;
}

// Some experts, whose rows together fit the hidden rows.
Status run_wave(Model& model, const ExpertShapes& s, const ExpertLayout& layout, const Call& call,
                const ExpertSlots::Wanted* wave, size_t size) {
  const Kernels& k = model.kernels();
  // Without a gate the hidden rows are where the gate's would be.
  const Side &gate = call.sides[SIDE_GATE], &up = call.sides[SIDE_UP], &down = call.sides[SIDE_DOWN];
  bool gated = gate.weight != nullptr;
  int32_t pairs = 0, count = 0;
  const Acts* gate_acts = gated ? &call.x_acts[gate.weight->layout->acts] : nullptr;
  const Acts* up_acts = &call.x_acts[up.weight->layout->acts];
  for (size_t i = 0; i < size; i++) {
    const int32_t* rows = layout.token + layout.first[wave[i].expert];
    int64_t at = pairs * s.hidden;
    if (gated) layout.tasks[count++] = task_of(gate, wave[i], gate_acts, rows, layout.gate + at);
    layout.tasks[count++] = task_of(up, wave[i], up_acts, rows, (gated ? layout.up : layout.gate) + at);
    pairs += wave[i].rows;
  }
  HW_TRY(run_products(model, layout.tasks, count));
  if (gated) HW_TRY(call.pairs.add(model, s, layout, SIDE_GATE, call.x_acts, wave, size, layout.gate, s.hidden));
  float* const up_rows = gated ? layout.up : layout.gate;
  HW_TRY(call.pairs.add(model, s, layout, SIDE_UP, call.x_acts, wave, size, up_rows, s.hidden));

  Acts hidden[3];
  for (ActKind kind : {ACTS_F32, ACTS_Q8_32, ACTS_Q8_256}) {
    describe_acts(model.scratch().hidden_acts, layout.gate, s.hidden, pairs, static_cast<int32_t>(s.hidden), kind,
                  &hidden[kind]);
  }
  constexpr int64_t kStep = 1024;  // columns of a part; a multiple of every block
  int64_t pieces = (s.hidden + kStep - 1) / kStep;
  auto part = [&](int64_t index, int) {
    int64_t row = index / pieces, c0 = index % pieces * kStep, c1 = std::min(s.hidden, c0 + kStep);
    int64_t at = row * s.hidden + c0;
    if (gated) {
      apply_glu(k, call.made.kind, call.made.limit, layout.gate + at, layout.up + at, layout.gate + at, c1 - c0);
    } else {
      apply_act(k, call.made.kind, layout.gate + at, c1 - c0);
    }
    for (const Acts& acts : hidden) {
      if ((call.hidden_kinds & (1u << acts.kind)) != 0) quantize_range(k, acts, row, c0, c1);
    }
  };
  if (pairs * s.hidden < kInlineValues / 4) {
    for (int64_t i = 0; i < pairs * pieces; i++) part(i, 0);
  } else {
    model.pool().parallel_for(pairs * pieces, part);
  }

  count = pairs = 0;
  for (size_t i = 0; i < size; i++) {
    float* y = layout.y + layout.first[wave[i].expert] * s.dim;
    layout.tasks[count++] = task_of(down, wave[i], &hidden[down.weight->layout->acts], layout.identity + pairs, y);
    pairs += wave[i].rows;
  }
  HW_TRY(run_products(model, layout.tasks, count));
  return call.pairs.add(model, s, layout, SIDE_DOWN, hidden, wave, size, layout.y, s.dim);
}

// As many experts at a time as the hidden rows have room for.
Status run_waves(Model& model, const ExpertShapes& s, const ExpertLayout& layout, const Call& call,
                 const std::vector<ExpertSlots::Wanted>& wanted) {
  int64_t room = s.wave_pairs();
  for (size_t first = 0, end = 0; first < wanted.size(); first = end) {
    int64_t pairs = 0;
    while (end < wanted.size() && pairs + wanted[end].rows <= room) pairs += wanted[end++].rows;
    HW_TRY(run_wave(model, s, layout, call, wanted.data() + first, end - first));
  }
  return done();
}

Status run_slots(Model& model, const ExpertShapes& s, const ExpertLayout& layout, const Call& call) {
  const Weight& up = *call.sides[SIDE_UP].weight;
  ExpertSlots& slots = *up.slots;
  std::vector<ExpertSlots::Wanted>& ready = model.scratch().ready;
  // More token rows touch so many experts that those of other layers must be kept from their haste.
  const bool evict = s.rows <= slots.policy().evicting_rows;
  slots.begin(up.slot_group, model.scratch().wanted, model.pass().number, evict);
  Status status = done();
  for (;;) {
    status = slots.next(&ready);
    if (!status.ok || ready.empty()) break;
    status = run_waves(model, s, layout, call, ready);
    slots.release(ready);
    if (!status.ok) break;
  }
  slots.end();
  return status;
}

// A row of x for each pair, times its weight; products find them by pair instead of by token row.
const float* weigh_rows(Model& model, const ExpertShapes& s, const ExpertLayout& layout, const Tensor& x,
                        const float* weights) {
  const Kernels& k = model.kernels();
  float* to = layout.weighed;
  for (int64_t pair = 0; pair < s.pairs(); pair++) {
    memcpy(to + pair * x.cols, x.row(pair / s.top_k), static_cast<size_t>(x.cols) * sizeof(float));
    k.scale(to + pair * x.cols, weights[pair], x.cols);
    layout.token[layout.position[pair]] = static_cast<int32_t>(pair);
  }
  return to;
}

// Without weights the rows of all ranks count alike.
void combine(Model& model, const ExpertShapes& s, const ExpertLayout& layout, const float* weights, Tensor& out) {
  const Kernels& k = model.kernels();
  constexpr int64_t kStep = 1024;
  int64_t pieces = (s.dim + kStep - 1) / kStep;
  auto part = [&](int64_t index, int) {
    int64_t t = index / pieces, c0 = index % pieces * kStep, columns = std::min(s.dim - c0, kStep);
    float* to = out.row(t) + c0;
    for (int64_t rank = 0; rank < s.top_k; rank++) {
      int64_t pair = t * s.top_k + rank;
      const float* y = layout.y + layout.position[pair] * s.dim + c0;
      const float weight = weights == nullptr ? 1.0f : weights[pair];
      if (rank == 0) {
        memcpy(to, y, static_cast<size_t>(columns) * sizeof(float));
        k.scale(to, weight, columns);
      } else {
        k.axpy(y, weight, to, columns);
      }
    }
  };
  if (s.pairs() * s.dim < kInlineValues) {
    for (int64_t i = 0; i < s.rows * pieces; i++) part(i, 0);
  } else {
    model.pool().parallel_for(s.rows * pieces, part);
  }
}

Result<const float*> bias_of(Model& model, int32_t handle, const Weight& w, const char* name) {
  if (handle == 0) return static_cast<const float*>(nullptr);
  HW_GET(Vector, vector, model, handle);
  if (vector.length != w.experts * w.rows) {
    return bad_argument("%s bias of %d values for %lld experts of %lld", name, vector.length,
                        static_cast<long long>(w.experts), static_cast<long long>(w.rows));
  }
  return vector.data();
}

Status check_weights(const Weight& gate, const Weight& up, const Weight& down, const Tensor& x, const Tensor& out) {
  if (gate.experts != up.experts || gate.experts != down.experts) {
    return bad_argument("gate, up and down of %lld, %lld and %lld experts", static_cast<long long>(gate.experts),
                        static_cast<long long>(up.experts), static_cast<long long>(down.experts));
  }
  if (gate.slots != up.slots || gate.slots != down.slots || gate.slot_group != up.slot_group ||
      gate.slot_group != down.slot_group) {
    return bad_argument("gate, up and down of different expert slots");
  }
  if (gate.cols != x.cols || up.cols != x.cols || gate.rows != up.rows || gate.rows != down.cols ||
      down.rows != out.cols) {
    return bad_argument("expert shapes do not lead from %d to %d columns", x.cols, out.cols);
  }
  return done();
}

}  // namespace

Status experts(Model& model, int32_t out_handle, int32_t x_handle, int32_t routing_handle, int32_t n,
               Slice<const int32_t> weights, int32_t kind, float limit, bool on_input,
               Slice<const int32_t> pair_numbers, Slice<const float> factors) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(Routing, routing, model, routing_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(x, n, "x"));
  if (weights.length != 6) return bad_argument("experts take 6 weight handles");
  HW_GET(WeightObject, up, model, weights.data[1]);
  bool gated = weights.data[0] != 0;
  HW_GET(WeightObject, gate, model, weights.data[gated ? 0 : 1]);
  HW_GET(WeightObject, down, model, weights.data[2]);
  HW_TRY(check_weights(gate.weight, up.weight, down.weight, x, out));
  Result<const float*> gate_bias = bias_of(model, weights.data[3], gate.weight, "gate");
  Result<const float*> up_bias = bias_of(model, weights.data[4], up.weight, "up");
  Result<const float*> down_bias = bias_of(model, weights.data[5], down.weight, "down");
  if (!gate_bias.ok || !up_bias.ok || !down_bias.ok) return Status{false};
  if (kind < 0 || kind >= (gated ? int32_t{GLU_KINDS} : int32_t{ACT_KINDS})) return bad_argument("activation %d", kind);
  if (!gated && weights.data[3] != 0) return bad_argument("a bias of a gate that is not there");
  if (limit != 0 && (!gated || kind != GLU_SILU)) return bad_argument("a limit of activation %d", kind);
  if (n > routing.filled_rows || routing.experts > gate.weight.experts) {
    return bad_argument("a routing of %d rows over %d experts for %d rows and %lld experts", routing.filled_rows,
                        routing.experts, n, static_cast<long long>(gate.weight.experts));
  }
  if (overlap(out, x, n)) return bad_argument("out is its own input");
  if (n == 0) return done();
  if (model.cancelled()) return cancelled();

  ExpertShapes s = {n, routing.top_k, gate.weight.experts, out.cols, gate.weight.rows, on_input ? x.cols : 0};
  const ExpertPairs pairs = {pair_numbers, factors};
  HW_TRY(pairs.check(model, s, x.cols, gated));
  unsigned kinds[EXPERT_SIDES];
  for (int32_t side = 0; side < EXPERT_SIDES; side++) {
    Result<int32_t> found = pairs.kinds(model, side);
    if (!found.ok) return Status{false};
    kinds[side] = static_cast<unsigned>(found.value);
  }
  ExpertLayout layout;
  HW_TRY(make_room(model, s, pairs, &layout));
  order_by_expert(s, routing.ids(), layout);
  const float* rows = x.data();
  if (on_input) rows = weigh_rows(model, s, layout, x, routing.weights());
  Acts x_acts[3];
  HW_TRY(prepare_acts(model, model.scratch().acts, rows, x.cols, static_cast<int32_t>(on_input ? s.pairs() : n), x.cols,
                      kind_bit(gate.weight) | kind_bit(up.weight) | kinds[SIDE_GATE] | kinds[SIDE_UP], x_acts));
  const Call call = {{{gated ? &gate.weight : nullptr, gated ? gate_bias.value : nullptr},
                      {&up.weight, up_bias.value},
                      {&down.weight, down_bias.value}},
                     x_acts,
                     {kind, limit},
                     pairs,
                     kind_bit(down.weight) | kinds[SIDE_DOWN]};
  HW_TRY(reserve_acts(model, model.scratch().hidden_acts, s.wave_pairs(), s.hidden, call.hidden_kinds));
  std::vector<ExpertSlots::Wanted>& wanted = model.scratch().wanted;
  wanted.clear();
  for (int64_t e = 0; e < s.experts; e++) {
    int32_t rows = layout.first[e + 1] - layout.first[e];
    if (rows > 0) wanted.push_back(ExpertSlots::Wanted{static_cast<int32_t>(e), rows, {}});
  }
  if (up.weight.slots != nullptr) {
    HW_TRY(run_slots(model, s, layout, call));
  } else {
    HW_TRY(run_waves(model, s, layout, call, wanted));
  }
  combine(model, s, layout, on_input ? nullptr : routing.weights(), out);
  return done();
}

// More rows choose nearly every expert, and prefill has its own way with slots.
Status expect_experts(Model& model, int32_t routing_handle, int32_t n, int32_t gate_handle) {
  HW_GET(Routing, routing, model, routing_handle);
  HW_GET(WeightObject, gate, model, gate_handle);
  const Weight& w = gate.weight;
  if (n < 0 || n > routing.filled_rows || routing.experts > w.experts) {
    return bad_argument("a routing of %d rows over %d experts for %d rows and %lld experts", routing.filled_rows,
                        routing.experts, n, static_cast<long long>(w.experts));
  }
  if (w.slots != nullptr && n > 0 && n <= w.slots->policy().evicting_rows) {
    w.slots->expect(w.slot_group, routing.ids(), n, routing.top_k);
  }
  return done();
}

}  // namespace ops
}  // namespace hw
