// Eight outputs side by side in one register, for the chains of AVX2 and AVX-512: see matvec_q32.inl.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace hw {
namespace {

// Bytes ahead of the walk, and past the second level: every weight is used once, so nothing is gained by keeping it,
// and what a second level lets go has to be written into the third, which is a victim cache on AMD. What is under way
// takes a miss buffer of the first level, but 8 KiB ahead it arrives in time (docs/decisions/0008, Zen 5).
constexpr int kPrefetchAhead = 8192;

struct LanesX86 {
  template <int kBytes>
  static inline __attribute__((always_inline)) void prefetch(const uint8_t* p) {
    for (int i = 0; i < kBytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchAhead + i), _MM_HINT_NTA);
    }
  }
  static constexpr int kLanes = 8;
  typedef __m256 Lanes;
  static __m256 load_lanes(const float* p) { return _mm256_loadu_ps(p); }
  static void store_lanes(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
  static __m256 broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
  // Four floats of each of eight rows to four registers of one float per row.
  template <class Row>
  static void transpose4(Row row, __m256* out) {
    __m256 v[4];
    for (int j = 0; j < 4; j++) {
      v[j] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row(j))), _mm_loadu_ps(row(j + 4)), 1);
    }
    const __m256 a = _mm256_unpacklo_ps(v[0], v[1]), b = _mm256_unpackhi_ps(v[0], v[1]);
    const __m256 c = _mm256_unpacklo_ps(v[2], v[3]), d = _mm256_unpackhi_ps(v[2], v[3]);
    out[0] = _mm256_shuffle_ps(a, c, 0x44);
    out[1] = _mm256_shuffle_ps(a, c, 0xee);
    out[2] = _mm256_shuffle_ps(b, d, 0x44);
    out[3] = _mm256_shuffle_ps(b, d, 0xee);
  }
};

}  // namespace
}  // namespace hw
