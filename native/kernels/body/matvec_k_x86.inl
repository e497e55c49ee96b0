// What the K-quant kernels of AVX2 and AVX-512 share: scale unpacking, horizontal sums, and the chains of a row.
// `Kind<Unpack>::block<T>` leaves the sums of one block as eight parts per activation row; here they become one float
// each and enter the chain. With one activation row four blocks do so together, with more the rows of one block do:
// either way a register is full, and few instructions wait for the end of a block's long dependency path.
#pragma once
#include <immintrin.h>

#include "matvec_rows.inl"

namespace hw {
namespace {

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline uint16_t load16(const void* p) {
  uint16_t v;
  __builtin_memcpy(&v, p, 2);
  return v;
}

inline uint32_t load32(const void* p) {
  uint32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

// The 6-bit scales (bytes 0-7) and minimums (bytes 8-15) of Q4_K and Q5_K. Reads 16 bytes.
inline __m128i scale_min_pairs(const uint8_t* s) {
  const __m128i v = load128(s);
  const __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(v, _MM_SHUFFLE(2, 1, 2, 0)), _mm_setr_epi32(0, 0, 0, 4));
  const __m128i high = _mm_srlv_epi32(_mm_shuffle_epi32(v, _MM_SHUFFLE(1, 1, 0, 0)), _mm_setr_epi32(0, 2, 0, 2));
  return _mm_or_si128(_mm_and_si128(low, _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f)),
                      _mm_and_si128(high, _mm_setr_epi32(0, 0x30303030, 0, 0x30303030)));
}

// Sums of the eight elements of each argument, in argument order. (Transpose-and-add: VPHADDD takes twice the time.)
inline __m128i sums_of(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  const __m256i abcd = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

inline __m128i sums_of(__m256i a, __m256i b) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(ab), _mm256_extracti128_si256(ab, 1));
  return _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
}

inline __m128i sums_of(__m256i a) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_add_epi32(two, _mm_shuffle_epi32(two, 0x55));
}

// The float16 at `at` of each of four blocks.
template <int kBlockBytes>
inline __m128 four_halves(const uint8_t* p) {
  __m128i h = _mm_cvtsi32_si128(load16(p));
  h = _mm_insert_epi16(h, load16(p + kBlockBytes), 1);
  h = _mm_insert_epi16(h, load16(p + 2 * kBlockBytes), 2);
  return _mm_cvtph_ps(_mm_insert_epi16(h, load16(p + 3 * kBlockBytes), 3));
}

template <int i>
inline __m128 element(__m128 v) {
  return i == 0 ? v : i == 1 ? _mm_movehdup_ps(v) : _mm_permute_ps(v, i * 0x55);
}

template <template <class> class Kind, class Unpack>
struct RowsK {
  static constexpr bool kMin = Unpack::kMin;
  static constexpr int kBytes = Unpack::kBlockBytes;

  // 2 KiB ahead: half a page, which the hardware prefetcher does not cross by itself.
  static void prefetch(const uint8_t* p) {
    for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + 2048 + i), _MM_HINT_T0);
  }

  // One step of the chains of up to four activation rows, one per element.
  static __m128 step(const uint8_t* p, __m128 da, __m128i isum, __m128i msum, __m128 acc) {
    const uint8_t* at = p + Unpack::kScaleAt;
    acc = _mm_fmadd_ps(_mm_mul_ps(_mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load16(at)))), da),
                       _mm_cvtepi32_ps(isum), acc);
    if (!kMin) return acc;
    const __m128 dmin = _mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load16(at + 2))));
    return _mm_fnmadd_ps(_mm_mul_ps(dmin, da), _mm_cvtepi32_ps(msum), acc);
  }

  template <int i>
  static __m128 step_of_four(__m128 scale, __m128 isum, __m128 min, __m128 msum, __m128 acc) {
    acc = _mm_fmadd_ss(element<i>(scale), element<i>(isum), acc);
    return kMin ? _mm_fnmadd_ss(element<i>(min), element<i>(msum), acc) : acc;
  }

  HW_NOINLINE static void row_of_one(const uint8_t* p, int32_t blocks, const ActRow* acts, float* out) {
    __m128 acc = _mm_setzero_ps();
    __m256i isum[4], msum[4];
    int32_t b = 0;
    for (; b + 4 <= blocks; b += 4, p += 4 * kBytes) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        prefetch(p + i * kBytes);
        Kind<Unpack>::template block<1>(p + i * kBytes, acts, b + i, isum + i, msum + i);
      }
      const __m128 da = _mm_loadu_ps(acts->d + b);
      const __m128 scale = _mm_mul_ps(four_halves<kBytes>(p + Unpack::kScaleAt), da);
      const __m128 sum = _mm_cvtepi32_ps(sums_of(isum[0], isum[1], isum[2], isum[3]));
      __m128 min = scale, fix = sum;
      if (kMin) {
        min = _mm_mul_ps(four_halves<kBytes>(p + Unpack::kScaleAt + 2), da);
        fix = _mm_cvtepi32_ps(sums_of(msum[0], msum[1], msum[2], msum[3]));
      }
      acc = step_of_four<0>(scale, sum, min, fix, acc);
      acc = step_of_four<1>(scale, sum, min, fix, acc);
      acc = step_of_four<2>(scale, sum, min, fix, acc);
      acc = step_of_four<3>(scale, sum, min, fix, acc);
    }
    for (; b < blocks; b++, p += kBytes) {
      Kind<Unpack>::template block<1>(p, acts, b, isum, msum);
      acc = step(p, _mm_set1_ps(acts->d[b]), sums_of(isum[0]), kMin ? sums_of(msum[0]) : _mm_setzero_si128(), acc);
    }
    _mm_store_ss(out, acc);
  }

  template <int T>
  HW_NOINLINE static void row_of(const uint8_t* p, int32_t blocks, const ActRow* acts, float* out, int64_t out_stride) {
    constexpr int k2 = T > 2 ? 2 : 0, k3 = T > 3 ? 3 : 0;  // elements that stand for no row repeat the first
    __m128 acc = _mm_setzero_ps();
    __m256i isum[T], msum[T];
    for (int32_t b = 0; b < blocks; b++, p += kBytes) {
      prefetch(p);
      Kind<Unpack>::template block<T>(p, acts, b, isum, msum);
      const __m128 da = _mm_setr_ps(acts[0].d[b], acts[1].d[b], acts[k2].d[b], acts[k3].d[b]);
      if (T == 2) {
        acc = step(p, da, sums_of(isum[0], isum[1]), kMin ? sums_of(msum[0], msum[1]) : _mm_setzero_si128(), acc);
      } else {
        acc = step(p, da, sums_of(isum[0], isum[1], isum[k2], isum[k3]),
                   kMin ? sums_of(msum[0], msum[1], msum[k2], msum[k3]) : _mm_setzero_si128(), acc);
      }
    }
    alignas(16) float v[4];
    _mm_store_ps(v, acc);
    for (int t = 0; t < T; t++) out[t * out_stride] = v[t];
  }

  template <int T>
  static void row(const uint8_t* p, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    if constexpr (T == 1) {
      row_of_one(p, cols / 256, acts, out);
    } else {
      row_of<T>(p, cols / 256, acts, out, out_stride);
    }
  }
};

}  // namespace
}  // namespace hw
