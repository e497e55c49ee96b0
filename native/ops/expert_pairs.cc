// Pairs beside the matrices of experts: decision 0101.
#include "expert_pairs.h"

#include <algorithm>

#include "../resources.h"

namespace hw {
namespace ops {

namespace {

// So many rows wait for their place at a time, as beside plain products (low_rank.cc).
constexpr int64_t kAddedRows = kGluRows / 8;
constexpr int32_t kNumbers = 3;
// [room] each: expert, activation row, row of the result; and the factor, an f32.
constexpr int64_t kChosenNumbers = 4;

struct Halves {
  const Weight *a, *b;
};

Result<Halves> halves_of(Model& model, const int32_t* numbers) {
  HW_GET(WeightObject, a, model, numbers[1]);
  HW_GET(WeightObject, b, model, numbers[2]);
  return Halves{&a.weight, &b.weight};
}

// The rows of a wave that one pair is for.
struct Chosen {
  int32_t *expert, *from, *to;
  float* factor;
  int64_t count;
};

// Rows [first, first + count) of what is chosen as products, one for each expert.
int32_t tasks_of(const Weight& w, const Chosen& chosen, int64_t first, int64_t count, const Acts* acts,
                 const int32_t* picks, float* out, ProductTask* tasks) {
  int32_t made = 0;
  for (int64_t i = first, end = first; i < first + count; i = end) {
    while (end < first + count && chosen.expert[end] == chosen.expert[i]) end++;
    tasks[made++] = product_task(w, chosen.expert[i], acts, picks + (i - first), static_cast<int32_t>(end - i),
                                 out + (i - first) * w.rows, w.rows, nullptr, INTO_STORE);
  }
  return made;
}

void add_rows(Model& model, const float* sums, int64_t cols, const Chosen& chosen, int64_t first, int64_t count,
              float* out, int64_t stride) {
  const Kernels& k = model.kernels();
  auto one = [&](int64_t i, int) {
    k.axpy(sums + i * cols, chosen.factor[first + i], out + chosen.to[first + i] * stride, cols);
  };
  if (count * cols < kInlineValues) {
    for (int64_t i = 0; i < count; i++) one(i, 0);
  } else {
    model.pool().parallel_for(count, one);
  }
}

int64_t of_side(const ExpertPairs& pairs, int32_t side) {
  int64_t count = 0;
  for (int64_t p = 0; p < pairs.count(); p++) count += pairs.numbers.data[kNumbers * p] == side;
  return count;
}

// Most pairs of one side.
int64_t most_of_a_side(const ExpertPairs& pairs) {
  int64_t most = 0;
  for (int32_t side = 0; side < EXPERT_SIDES; side++) most = std::max(most, of_side(pairs, side));
  return most;
}

}  // namespace

Status ExpertPairs::check(Model& model, const ExpertShapes& s, int64_t cols, bool gated) const {
  if (numbers.length % kNumbers != 0 || factors.length != count() * s.rows) {
    return bad_argument("%lld numbers of pairs with %lld factors for %lld rows", static_cast<long long>(numbers.length),
                        static_cast<long long>(factors.length), static_cast<long long>(s.rows));
  }
  for (int64_t p = 0; p < count(); p++) {
    const int32_t* own = numbers.data + kNumbers * p;
    const int32_t side = own[0];
    if (side < 0 || side >= EXPERT_SIDES || (side == SIDE_GATE && !gated))
      return bad_argument("a pair of side %d", side);
    Result<Halves> found = halves_of(model, own);
    if (!found.ok) return Status{false};
    const Weight &a = *found.value.a, &b = *found.value.b;
    const bool down = side == SIDE_DOWN;
    const bool fits = a.experts == s.experts && b.experts == s.experts && a.rows == b.cols &&
                      a.cols == (down ? s.hidden : cols) && b.rows == (down ? s.dim : s.hidden);
    if (!fits || a.layout->by_inputs || b.layout->by_inputs || a.slots != nullptr || b.slots != nullptr) {
      return bad_argument("a pair of %lld and %lld experts, %lld x %lld and %lld x %lld",
                          static_cast<long long>(a.experts), static_cast<long long>(b.experts),
                          static_cast<long long>(a.rows), static_cast<long long>(a.cols),
                          static_cast<long long>(b.rows), static_cast<long long>(b.cols));
    }
  }
  return done();
}

Result<int32_t> ExpertPairs::kinds(Model& model, int32_t side) const {
  unsigned bits = 0;
  for (int64_t p = 0; p < count(); p++) {
    const int32_t* own = numbers.data + kNumbers * p;
    if (own[0] != side) continue;
    Result<Halves> found = halves_of(model, own);
    if (!found.ok) return Status{false};
    bits |= kind_bit(*found.value.a);
  }
  return static_cast<int32_t>(bits);
}

int64_t ExpertPairs::order_bytes(const ExpertShapes& s) const {
  return most_of_a_side(*this) * kChosenNumbers * s.wave_pairs() * static_cast<int64_t>(sizeof(int32_t));
}

int64_t ExpertPairs::tasks(int64_t experts) const { return most_of_a_side(*this) * experts; }

Status ExpertPairs::add(Model& model, const ExpertShapes& s, const ExpertLayout& layout, int32_t side, const Acts* acts,
                        const ExpertSlots::Wanted* wave, size_t size, float* out, int64_t stride) const {
  const int64_t room = s.wave_pairs();
  // Rows of the result of `down` wait in the order by expert, the others as they are made.
  const bool down = side == SIDE_DOWN;
  auto place = [&](int64_t at) {
    int32_t* own = layout.chosen + at * kChosenNumbers * room;
    return Chosen{own, own + room, own + 2 * room, reinterpret_cast<float*>(own + 3 * room), 0};
  };
  auto choose = [&](const float* by_token, Chosen* chosen) {
    int32_t row = 0;
    for (size_t i = 0; i < size; i++) {
      const int32_t first = layout.first[wave[i].expert];
      for (int32_t j = 0; j < wave[i].rows; j++, row++) {
        const int32_t x_row = layout.token[first + j];
        const float factor = by_token[s.weighed > 0 ? x_row / s.top_k : x_row];
        if (factor == 0) continue;
        chosen->expert[chosen->count] = wave[i].expert;
        chosen->from[chosen->count] = down ? row : x_row;
        chosen->to[chosen->count] = down ? first + j : row;
        chosen->factor[chosen->count++] = factor;
      }
    }
  };

  // The first halves of all pairs come before the second ones of any, which take the place of hidden rows.
  int64_t at = 0, low_values = 0, added = 0;
  int32_t count = 0;
  for (int64_t p = 0; p < this->count(); p++) {
    const int32_t* own = numbers.data + kNumbers * p;
    if (own[0] != side) continue;
    Result<Halves> found = halves_of(model, own);
    if (!found.ok) return Status{false};
    low_values += room * found.value.b->cols;
    added = std::max(added, std::min(room, kAddedRows) * found.value.b->rows);
  }
  if (low_values == 0) return done();
  HW_TRY(model.grow(model.scratch().sums, (low_values + added) * static_cast<int64_t>(sizeof(float))));
  float* low = model.scratch().sums.as<float>();
  float* const sums = low + low_values;
  for (int64_t p = 0; p < this->count(); p++) {
    const int32_t* own = numbers.data + kNumbers * p;
    if (own[0] != side) continue;
    const Halves halves = halves_of(model, own).value;
    Chosen chosen = place(at++);
    choose(factors.data + p * s.rows, &chosen);
    count += tasks_of(*halves.a, chosen, 0, chosen.count, &acts[halves.a->layout->acts], chosen.from, low,
                      layout.tasks + count);
    low += room * halves.b->cols;
  }
  if (count == 0) return done();
  HW_TRY(run_products(model, layout.tasks, count));

  at = 0;
  low = model.scratch().sums.as<float>();
  for (int64_t p = 0; p < this->count(); p++) {
    const int32_t* own = numbers.data + kNumbers * p;
    if (own[0] != side) continue;
    const Weight& b = *halves_of(model, own).value.b;
    Chosen chosen = place(at++);
    choose(factors.data + p * s.rows, &chosen);
    for (int64_t first = 0; first < chosen.count; first += kAddedRows) {
      const int64_t some = std::min(chosen.count - first, kAddedRows);
      const int32_t rank = static_cast<int32_t>(b.cols);
      Acts low_acts[3];
      HW_TRY(prepare_acts(model, model.scratch().hidden_acts, low + first * rank, rank, static_cast<int32_t>(some),
                          rank, kind_bit(b), low_acts));
      const int32_t tasks =
          tasks_of(b, chosen, first, some, &low_acts[b.layout->acts], layout.identity, sums, layout.tasks);
      HW_TRY(run_products(model, layout.tasks, tasks));
      add_rows(model, sums, b.rows, chosen, first, some, out, stride);
    }
    low += room * b.cols;
  }
  return done();
}

}  // namespace ops
}  // namespace hw
