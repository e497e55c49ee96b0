// What the one-row kernels of blocks of 256 values share on AVX2: scales in the order of the products.
#pragma once
#include <immintrin.h>

#include "../../body/matvec_k_x86.inl"

namespace hw {
namespace {

// Scales of groups of 16 in the order `spread` needs: even groups in the low lane, odd ones in the high lane.
inline __m256i even_odd(__m256i natural) {
  const __m256i split = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(natural, split), 0xd8);
}

// Scales of group g (32 values) in all 16-bit elements, the low lane's for the first 16 values.
inline __m256i spread(__m256i scales, int g) {
  return _mm256_shuffle_epi8(scales, _mm256_set1_epi16(static_cast<int16_t>((2 * g + 1) << 8 | 2 * g)));
}

inline __m256i two_bits(const uint8_t* qs, int g) {
  return _mm256_and_si256(_mm256_srli_epi16(load256(qs + g / 4 * 32), 2 * (g % 4)), _mm256_set1_epi8(3));
}

}  // namespace
}  // namespace hw
