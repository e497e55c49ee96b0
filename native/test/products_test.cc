// Matrix products of weights that are not all in memory: spans of any size give the bits of the resident weight, every
// span is released, a failing or disorderly source and a cancel flag end the call with an error.
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "../model.h"
#include "../kernels/packed.h"
#include "../kernels/sample.h"
#include "../ops/products.h"
#include "../resources.h"

namespace {

int failures = 0;

void check(bool ok, const char* what, long long a = 0) {
  if (ok) return;
  fprintf(stderr, "FAILED: %s (%lld)\n", what, a);
  failures++;
}

// Copies each piece to fresh memory of exactly its size, so that reading past it is seen by a sanitizer.
struct PieceSource : hw::WeightSource {
  const hw::Weight* whole = nullptr;
  int64_t most = 1;  // slices of a piece
  int64_t fail_at = -1, cancel_at = -1;
  bool disorder = false;
  int32_t cancel_flag = 0;
  int held = 0, most_held = 0;
  std::unique_ptr<uint8_t[]> memory[hw::kMostPlanes];

  hw::Status next(int64_t expert, int64_t slice, hw::Piece* out) override {
    if (fail_at >= 0 && slice >= fail_at) return hw::fail("FILE_IO", "gone");
    if (cancel_at >= 0 && slice >= cancel_at) cancel_flag = 1;
    const hw::Slices& slices = whole->slices;
    int64_t end = std::min(slice + most, slices.count);
    const hw::Piece all = whole->resident_piece(expert);
    *out = hw::Piece{{}, disorder ? slice + 1 : slice, end};
    for (int32_t p = 0; p < whole->layout->planes; p++) {
      const uint8_t* from = all.plane[p] + slice * slices.plane_bytes[p];
      memory[p].reset(new uint8_t[static_cast<size_t>((end - slice) * slices.plane_bytes[p])]);
      memcpy(memory[p].get(), from, static_cast<size_t>((end - slice) * slices.plane_bytes[p]));
      out->plane[p] = memory[p].get();
    }
    held++;
    most_held = held > most_held ? held : most_held;
    return hw::done();
  }
  void release(const hw::Piece&) override { held--; }
};

struct Fixture {
  std::unique_ptr<hw::Model> model;
  std::vector<uint8_t> bytes;
  std::vector<float> x, bias;
  hw::Weight resident, streamed;
  PieceSource source;
  int32_t n;

  Fixture(int threads, hw::Dtype dtype, int64_t rows, int64_t cols, int64_t experts, int32_t tokens) : n(tokens) {
    model.reset(hw::Model::open(threads, nullptr, 0, 0, &hw::kernels()).value);
    const hw::DtypeInfo& info = *hw::dtype_info(dtype);
    check(resident.shape(hw::layout_of(dtype), rows, cols, experts), "a shape");
    bytes.resize(static_cast<size_t>(resident.bytes()));
    hw::SampleRng rng(7);
    hw::sample_weights(info, rng, bytes.data(), rows * cols * experts);
    for (int64_t i = 0; i < n * cols; i++) x.push_back(rng.uniform());
    for (int64_t i = 0; i < rows; i++) bias.push_back(rng.uniform());
    hw::PlaneExtent extent;
    extent.base = bytes.data();
    resident.planes[0].extents.push_back(extent);
    resident.resident = rows;
    source.whole = &resident;
    streamed = resident;
    streamed.planes[0].extents[0].base = nullptr;
    streamed.resident = 0;
    streamed.source = &source;
  }

  hw::Status run(const hw::Weight& weight, int64_t expert, bool add, std::vector<float>* out) {
    out->assign(static_cast<size_t>(n * weight.rows), 0.5f);
    hw::Acts acts[3];
    int32_t cols = static_cast<int32_t>(weight.cols);
    const unsigned kinds = hw::ops::kind_bit(weight);
    HW_TRY(hw::ops::prepare_acts(*model, model->scratch().acts, x.data(), cols, n, cols, kinds, acts));
    hw::ops::ProductTask task = hw::ops::product_task(weight, expert, &acts[weight.layout->acts], nullptr, n,
                                                      out->data(), weight.rows, bias.data(), add);
    return hw::ops::run_products(*model, &task, 1);
  }
};

void spans_give_the_same_bits() {
  const hw::Dtype dtypes[] = {hw::F32, hw::Q4_0, hw::Q4_K};
  int cases = 0;
  for (hw::Dtype dtype : dtypes) {
    for (int threads : {1, 3}) {
      for (int32_t n : {1, 5, 20}) {
        Fixture f(threads, dtype, 203, 512, 2, n);
        for (int64_t span : {1, 7, 64, 203, 1000}) {
          bool add = cases++ % 2 == 1;
          std::vector<float> expected, got;
          f.source.most = span;
          check(f.run(f.resident, 1, add, &expected).ok, "resident product");
          check(f.run(f.streamed, 1, add, &got).ok, "streamed product", span);
          check(memcmp(expected.data(), got.data(), expected.size() * sizeof(float)) == 0, "bits of a streamed product",
                span);
          check(f.source.held == 0, "spans still held", f.source.held);
          check(f.source.most_held <= 2, "spans held at once", f.source.most_held);
        }
      }
    }
  }
}

// 203 rows: whole strips and some rows more, of each expert.
void packed_rows_give_the_same_bits() {
  for (hw::Dtype dtype : {hw::Q4_0, hw::Q6_K}) {
    if (hw::kernels().packed[dtype] == nullptr) continue;
    for (int32_t n : {1, 5, 20}) {
      Fixture f(3, dtype, 203, 512, 2, n);
      hw::Weight packed = f.resident;
      std::vector<uint8_t> bytes(f.bytes.size());
      const int64_t one = packed.expert_bytes();
      for (int64_t expert = 0; expert < 2; expert++) {
        hw::pack_rows(*hw::dtype_info(dtype), f.bytes.data() + expert * one, packed.slices.bytes, packed.rows,
                      packed.cols, bytes.data() + expert * one);
      }
      packed.planes[0].extents[0].base = bytes.data();
      packed.packed = true;
      std::vector<float> expected, got;
      for (bool add : {false, true}) {
        check(f.run(f.resident, 1, add, &expected).ok && f.run(packed, 1, add, &got).ok, "packed product");
        check(expected == got, "bits of a packed product", n);
      }
      std::vector<float> row(512), same(512);
      for (int64_t r : {0, 17, 191, 192, 202}) {
        check(hw::dequantize_row(hw::kernels(), f.resident, 1, r, row.data()).ok, "row");
        check(hw::dequantize_row(hw::kernels(), packed, 1, r, same.data()).ok, "packed row");
        check(row == same, "values of a packed row", r);
      }
    }
  }
}

void a_mix_in_one_call() {
  Fixture f(2, hw::Q4_0, 100, 512, 1, 3);
  f.source.most = 33;
  std::vector<float> a(300), b(300), expected;
  check(f.run(f.resident, 0, false, &expected).ok, "resident product");
  hw::Acts acts[3];
  const unsigned kinds = 1u << hw::ACTS_Q8_32;
  check(hw::ops::prepare_acts(*f.model, f.model->scratch().acts, f.x.data(), 512, 3, 512, kinds, acts).ok, "acts");
  const hw::Acts& q8 = acts[hw::ACTS_Q8_32];
  hw::ops::ProductTask tasks[3] = {
      hw::ops::product_task(f.streamed, 0, &q8, nullptr, 3, a.data(), 100, f.bias.data(), hw::INTO_STORE),
      hw::ops::product_task(f.resident, 0, &q8, nullptr, 0, nullptr, 100, nullptr, hw::INTO_STORE),  // no rows
      hw::ops::product_task(f.resident, 0, &q8, nullptr, 3, b.data(), 100, f.bias.data(), hw::INTO_STORE),
  };
  check(hw::ops::run_products(*f.model, tasks, 3).ok, "streamed and resident products in one call");
  check(a == expected && b == expected, "both are right");
}

void failures_end_the_call() {
  std::vector<float> out;
  Fixture f(2, hw::Q4_0, 203, 512, 1, 4);
  f.source.most = 50;
  f.source.fail_at = 100;
  check(!f.run(f.streamed, 0, false, &out).ok && strcmp(hw::last_error().code, "FILE_IO") == 0, "a read that fails");
  f.source.fail_at = -1;
  f.source.disorder = true;
  check(!f.run(f.streamed, 0, false, &out).ok && strcmp(hw::last_error().code, "INTERNAL") == 0, "rows out of order");
  f.source.disorder = false;
  f.source.cancel_at = 100;
  f.model->set_cancel(&f.source.cancel_flag);
  check(!f.run(f.streamed, 0, false, &out).ok && strcmp(hw::last_error().code, "CANCELLED") == 0, "cancelled");
  check(f.source.held == 0, "spans held after failures", f.source.held);
}

}  // namespace

int main() {
  spans_give_the_same_bits();
  packed_rows_give_the_same_bits();
  a_mix_in_one_call();
  failures_end_the_call();
  printf(failures == 0 ? "products: all passed\n" : "products: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
