// Second moments of what goes into products, and their factors (encode/feedback.h).
#include "../encode/feedback.h"
#include "../kernels/half.h"
#include "../machine.h"
#include "addon.h"

namespace hw {
namespace {

Status check_block(int64_t cols, int64_t block) {
  if (cols < 1 || cols > INT32_MAX || block < kMomentTile || block % kMomentTile != 0 || cols % block != 0)
    return bad_argument("blocks of %lld of %lld columns", static_cast<long long>(block), static_cast<long long>(cols));
  return done();
}

}  // namespace

Status add_moments(Slice<const float> x, int64_t rows, int64_t cols, int64_t block, Slice<float> sums,
                   int32_t threads, const Nullable<Text>& isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  HW_TRY(check_block(cols, block));
  if (rows < 1 || rows > INT32_MAX || x.length != rows * cols || sums.length != cols / block * moment_values(block))
    return bad_argument("x must hold rows x cols values, sums the tiles of all blocks");
  Result<std::shared_ptr<Machine>> machine = Machine::lease(threads, nullptr, 0, 0);
  if (!machine.ok) return Status{false};
  Counters counters;
  Buffer panels;
  if (!panels.allocate(&counters, Purpose::scratch, static_cast<size_t>(rows * cols) * sizeof(float)))
    return fail("MEMORY_BUDGET", "no memory for %lld values", static_cast<long long>(rows * cols));
  add_moments(encoders_for(kernels.value->isa), machine.value->pool(), x.data, rows, cols, block, panels.as<float>(),
              sums.data);
  return done();
}

Status make_factor(Slice<const float> sums, int64_t block, Slice<const int32_t> order, double shrink, double damp,
                   Slice<float> factor, int32_t threads, const Nullable<Text>& isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  const int64_t cols = order.length;
  HW_TRY(check_block(cols, block));
  if (sums.length != cols / block * moment_values(block) || factor.length != cols * block)
    return bad_argument("sums must hold the tiles of all blocks, factor cols x block values");
  if (!(shrink >= 0.0 && shrink <= 1.0 && damp > 0.0)) return bad_argument("shrink is from 0 to 1, damp more than 0");
  for (int64_t i = 0; i < sums.length; i++) {
    if ((float_bits(sums.data[i]) & 0x7f800000) == 0x7f800000) return bad_argument("moments are finite numbers");
  }
  Result<std::shared_ptr<Machine>> machine = Machine::lease(threads, nullptr, 0, 0);
  if (!machine.ok) return Status{false};
  Counters counters;
  Buffer work;
  if (!work.allocate(&counters, Purpose::scratch,
                     static_cast<size_t>(block * (block + kFactorStep + 1)) * sizeof(double) +
                         static_cast<size_t>(block) * sizeof(int32_t)))
    return fail("MEMORY_BUDGET", "no memory to factor %lld columns", static_cast<long long>(block));
  double* a = work.as<double>();
  int32_t* own = reinterpret_cast<int32_t*>(a + block * (block + kFactorStep + 1));
  for (int64_t b = 0; b < cols / block; b++) {
    for (int64_t j = 0; j < block; j++) {
      const int64_t from = order.data[b * block + j] - b * block;
      if (from < 0 || from >= block) return bad_argument("the order must leave columns within their block");
      own[j] = static_cast<int32_t>(from);
    }
    make_factor(encoders_for(kernels.value->isa), machine.value->pool(), sums.data + b * moment_values(block), block,
                own, shrink, damp, a, a + block * block, factor.data + b * block * block);
  }
  return done();
}

}  // namespace hw
