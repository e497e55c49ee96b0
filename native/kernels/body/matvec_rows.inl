// Matrix times few activation rows where the chain of a row runs along with the walk: blocks of 256 values, and floats.
// Weight rows are walked one at a time as one sequential stream; a row serves all activation rows while it is in L1.
#pragma once
#include <stdint.h>

#include "../kernels.h"

#if defined(__GNUC__)
#define HW_NOINLINE __attribute__((noinline))
#else
#define HW_NOINLINE
#endif

namespace hw {
namespace {

// One activation row. Only the planes its kind has are valid.
struct ActRow {
  const float* f32;
  const int8_t* q;      // [blocks][256]
  const float* d;       // [blocks]
  const int16_t* sums;  // [blocks][16]
};

// Kind::row<T>(p, cols, acts, out, out_stride): out[t * out_stride] = dot of the weight row at p with acts[t].
template <class Kind>
struct MatvecRows {
  static constexpr int kRowsMax = 16;  // activation rows of one pass over the weights

  static ActRow act_row(const Acts& a, int64_t i) {
    if (a.kind == ACTS_F32) return {a.f32 + i * a.f32_stride, nullptr, nullptr, nullptr};
    return {nullptr, a.q + i * a.q_stride, a.d + i * a.d_stride, a.sums + i * a.sums_stride};
  }

  static void run(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                  const int32_t* pick, int32_t n, float* out, int64_t out_stride, void*) {
    ActRow a[kRowsMax];
    for (int32_t t0 = 0; t0 < n; t0 += kRowsMax) {
      const int32_t count = n - t0 < kRowsMax ? n - t0 : kRowsMax;
      const int32_t tiles = (count + 3) / 4;
      for (int32_t t = 0; t < count; t++) a[t] = act_row(*acts, pick ? pick[t0 + t] : t0 + t);
      for (int32_t r = 0; r < rows; r++) {
        const uint8_t* p = w + r * row_bytes;
        for (int32_t i = 0, t = 0; i < tiles; i++) {
          const int32_t width = (count - t + tiles - i - 1) / (tiles - i);  // 4 at most, all about equal
          float* o = out + (t0 + t) * out_stride + r;
          switch (width) {
            case 1: Kind::template row<1>(p, cols, a + t, o, out_stride); break;
            case 2: Kind::template row<2>(p, cols, a + t, o, out_stride); break;
            case 3: Kind::template row<3>(p, cols, a + t, o, out_stride); break;
            default: Kind::template row<4>(p, cols, a + t, o, out_stride); break;
          }
          t += width;
        }
      }
    }
  }
};

#include "matvec_table.inl"

}  // namespace
}  // namespace hw
