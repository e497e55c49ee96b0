// Placements of a model's weights: what is refused leaves the model as it was, what is accepted gives the rows of the
// file through pinned memory, ring and slots, for models that come and go on one machine.
#include <stdio.h>
#include <string.h>

#include <atomic>
#include <cmath>
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../model.h"
#include "../ops/ops.h"
#include "../residency.h"
#include "../resources.h"
#include "system.h"

namespace {

std::atomic<int> failures{0};

void check(bool ok, const char* what, long long a = 0) {
  if (ok) return;
  fprintf(stderr, "FAILED: %s (%lld): %s\n", what, a, hw::last_error().message);
  failures++;
}

constexpr int32_t kRows = 300, kCols = 64, kExperts = 4;
constexpr int64_t kOffset = 96;

float value_at(int64_t i) { return std::sin(static_cast<float>(i)); }

struct WeightFile {
  std::string path;
  WeightFile() {
    std::vector<float> values(kOffset / 4 + int64_t{kRows} * kCols * kExperts);
    for (size_t i = 0; i < values.size(); i++) values[i] = value_at(static_cast<int64_t>(i) - kOffset / 4);
    path = test_system::write_temporary("placed", values.data(), values.size() * sizeof(float));
    check(!path.empty(), "a file of weights");
  }
  ~WeightFile() { test_system::remove_file(path); }
};

template <typename T>
hw::Slice<const T> slice(const std::vector<T>& of) {
  return {of.data(), static_cast<int64_t>(of.size())};
}

// A placement and what its lists point to.
struct Wanted {
  std::vector<int32_t> pinned, tiles, groups, classes;
  std::vector<double> policy = std::vector<double>(hw::POLICY_NUMBERS, 1);
  int64_t ring_bytes = 1 << 20;

  hw::Result<const char*> place(hw::Model& model) const {
    return hw::place(model, hw::Placement{0, 4, slice(pinned), true, ring_bytes, slice(tiles), slice(groups),
                                          slice(classes), 0, slice(policy), {}, false});
  }
};

struct Opened {
  std::unique_ptr<hw::Model> model;
  int32_t file = 0;

  explicit Opened(const WeightFile& source) {
    model.reset(hw::Model::open(2, nullptr, 0, 0, &hw::kernels()).value);
    file = hw::file_open_unmapped(*model, source.path.c_str(), true).value;
  }
  int32_t weight(int32_t rows, int32_t experts) {
    const double bytes = 4.0 * rows * kCols * experts;
    const double extent[] = {0, static_cast<double>(file), kOffset, bytes};
    const double type = hw::F32;
    hw::Result<int32_t> made = hw::weight(*model, {&type, 1}, rows, kCols, experts, {extent, 4});
    check(made.ok, "a weight");
    return made.value;
  }
};

// Products with one column of the weight are its values.
void products(hw::Model& model, int32_t weight, int passes) {
  const int32_t x = hw::tensor(model, 1, kCols).value, out = hw::tensor(model, 1, kRows).value;
  check(hw::seal(model).ok, "seal");
  std::vector<float> one(kCols, 0.0f), got(kRows);
  one[5] = 1;
  check(hw::tensor_write(model, x, slice(one)).ok, "x");
  const int32_t product[] = {out, weight, 0, hw::INTO_STORE, 0, 1};
  for (int pass = 0; pass < passes; pass++) {
    check(hw::ops::matmul(model, {product, hw::kProductNumbers}, x, 1).ok, "a product");
    check(hw::tensor_read(model, out, 1, {got.data(), kRows}).ok, "what came out");
    for (int32_t r = 0; r < kRows; r++) check(got[static_cast<size_t>(r)] == value_at(r * kCols + 5), "a row", r);
  }
}

void refused(hw::Model& model, const Wanted& wanted, const char* code, const char* what) {
  const bool ok = !wanted.place(model).ok && strcmp(hw::last_error().code, code) == 0;
  check(ok && model.residency() == nullptr, what);
}

void what_is_refused_leaves_the_model_as_it_was(const WeightFile& source) {
  Opened opened(source);
  hw::Model& model = *opened.model;
  const int32_t w = opened.weight(kRows, 1), stack = opened.weight(64, kExperts);
  const int64_t charged = model.counters().charged();
  Wanted wanted;
  wanted.pinned = {w, kRows + 1};
  refused(model, wanted, "NATIVE_ARGUMENT", "more rows than there are");
  wanted.pinned = {w, 10};
  refused(model, wanted, "NATIVE_ARGUMENT", "rows that nobody brings");
  wanted.tiles = {w, 20, kRows};
  refused(model, wanted, "NATIVE_ARGUMENT", "rows between pinned ones and tiles");
  wanted.tiles = {w, 10, kRows};
  wanted.ring_bytes = 4096;
  refused(model, wanted, "MEMORY_BUDGET", "a ring that is too small");
  wanted.ring_bytes = 1 << 20;
  wanted.groups = {1, stack};
  refused(model, wanted, "NATIVE_ARGUMENT", "experts without a class");
  wanted.classes = {2, 1, 0};
  wanted.policy[hw::POLICY_TRUST] = 2;
  refused(model, wanted, "NATIVE_ARGUMENT", "a policy out of range");
  wanted.policy[hw::POLICY_TRUST] = 0.5;
  check(model.counters().promise(charged + 4096, 0), "a promise");
  refused(model, wanted, "MEMORY_BUDGET", "more than was promised");
  check(model.counters().charged() == charged, "bytes that stay charged", model.counters().charged() - charged);
  check(model.counters().promise(0, 0), "no promise");
  int32_t cancelled = 1;
  model.set_cancel(&cancelled);
  refused(model, wanted, "CANCELLED", "stopped while it was read");
  cancelled = 0;
  check(wanted.place(model).ok, "the same placement, whole");
  check(!wanted.place(model).ok, "placed twice");
  products(model, w, 3);
}

void shares_of(const WeightFile& source, int32_t pinned) {
  Opened opened(source);
  Wanted wanted;
  const int32_t w = opened.weight(kRows, 1);
  if (pinned > 0) wanted.pinned = {w, pinned};
  for (int32_t from = pinned; from < kRows; from += 90) {
    for (int32_t number : {w, from, std::min(kRows, from + 90)}) wanted.tiles.push_back(number);
  }
  check(wanted.place(*opened.model).ok, "a placement");
  products(*opened.model, w, 4);
}

// Three models at a time, on threads of their own, share pool and reader.
void models_come_and_go(const WeightFile& source) {
  std::vector<std::thread> threads;
  for (int32_t i = 0; i < 3; i++) {
    threads.emplace_back([&source, i] {
      for (const int32_t pinned : {0, 40 * i + 7, int32_t{kRows}}) shares_of(source, pinned);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  const WeightFile source;
  what_is_refused_leaves_the_model_as_it_was(source);
  models_come_and_go(source);
  printf(failures == 0 ? "placement: all passed\n" : "placement: %d failures\n", failures.load());
  return failures == 0 ? 0 : 1;
}
