// Sixteen blocks side by side: element i of all of them is one vector, so each lane adds its own block up in the order
// of the elements, whatever the width of the registers. Every sum is the same number on every instruction set.
#include <stdint.h>

namespace hw {
namespace {

constexpr int kLanes = 16;
typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef int8_t Bytes16 __attribute__((vector_size(16)));

#define HW_LANES static inline __attribute__((always_inline))
// Called once for hundreds of values. Copies of it within its callers would only be compiled: what a compiler takes for
// a function grows faster than the function.
#define HW_APART __attribute__((noinline))
// In front of a loop of so few steps that what it keeps fits in registers once it is unrolled; -O2 unrolls no other.
#define HW_UNROLL _Pragma("GCC unroll 16")

HW_LANES F spread(float v) { return F{} + v; }
HW_LANES F to_float(I v) { return __builtin_convertvector(v, F); }
HW_LANES F magnitude(F v) { return (F)((I)v & 0x7fffffff); }
HW_LANES I clamp(I v, int least, int most) {
  v = v < least ? I{} + least : v;
  return v > most ? I{} + most : v;
}

// To the nearest whole number, ties to even. Beyond 2^22 the result is some number, the same one everywhere.
HW_LANES I nearest(F v) {
  const I bits = (I)(v + 12582912.0f);
  return (bits & 0x007fffff) - 0x00400000;
}

static inline int nearest_one(float v) {
  const float shifted = v + 12582912.0f;
  int32_t bits;
  __builtin_memcpy(&bits, &shifted, 4);
  return (bits & 0x007fffff) - 0x00400000;
}

HW_LANES bool any(I mask) {
  uint64_t word[8], all = 0;
  __builtin_memcpy(word, &mask, sizeof word);
  for (int i = 0; i < 8; i++) all |= word[i];
  return all != 0;
}

HW_LANES F load(const float* from) {
  F v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

// out[i] = values i of `kLanes` blocks; block b begins at from[b].
inline void side_by_side(const float* const* from, int n, F* out) {
  float* to = (float*)out;
  for (int b = 0; b < kLanes; b++) {
    const float* block = from[b];
    for (int i = 0; i < n; i++) to[i * kLanes + b] = block[i];
  }
}

inline int least_of(int a, int b) { return a < b ? a : b; }
inline int most_of(int a, int b) { return a > b ? a : b; }
inline int within(int v, int least, int most) { return v < least ? least : v > most ? most : v; }

// A scale is stored as a finite number whatever the values were.
inline uint16_t to_half(float v) {
  if (!(v == v)) return 0;
  if (v >= 65520.0f) return 0x7bff;
  if (v <= -65520.0f) return 0xfbff;
  return float_to_half(v);
}

}  // namespace
}  // namespace hw
