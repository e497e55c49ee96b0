// What the K-quant kernels of AVX2 and AVX-512 share: scale unpacking, horizontal sums, and the chains of a row.
// `Kind<Unpack>::block<T>` leaves the sums of one block as eight parts per activation row; here they become one float
// each and enter the chain.
//
// With one activation row the path from a block's load to its chain is 70-100 cycles long, and waiting for it fills the
// reorder buffer: 24 cycles a block where the ports need 13. So, as in matvec_q32, kChains rows are walked one after
// the other and leave sums and scales in scratch, four blocks at a time, and then their chains run side by side. With
// more activation rows there is enough independent work, and the rows of one block share a register.
#pragma once
#include <immintrin.h>

#include "lanes_x86.inl"
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

// The scales of four blocks, of one in all elements. A type says with kUnit what its whole-numbered scales are a
// multiple of, and with `half` where no two bytes hold the scale (kScaleAt is -1).
template <class Unpack, class = void>
struct ScaleOf {
  static __m128 four(const uint8_t* p) { return four_halves<Unpack::kBlockBytes>(p + Unpack::kScaleAt); }
  static __m128 one(const uint8_t* p) {
    return _mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load16(p + Unpack::kScaleAt))));
  }
};

template <class Unpack>
struct ScaleOf<Unpack, decltype(static_cast<void>(Unpack::kUnit))> {
  static constexpr int kBytes = Unpack::kBlockBytes;
  static __m128 times_unit(__m128i halves) { return _mm_mul_ps(_mm_cvtph_ps(halves), _mm_set1_ps(Unpack::kUnit)); }
  static __m128 four(const uint8_t* p) {
    const __m128i low = _mm_insert_epi16(_mm_cvtsi32_si128(Unpack::half(p)), Unpack::half(p + kBytes), 1);
    return times_unit(
        _mm_insert_epi16(_mm_insert_epi16(low, Unpack::half(p + 2 * kBytes), 2), Unpack::half(p + 3 * kBytes), 3));
  }
  static __m128 one(const uint8_t* p) { return times_unit(_mm_set1_epi16(static_cast<int16_t>(Unpack::half(p)))); }
};

template <template <class> class Kind, class Unpack>
struct MatvecK {
  static constexpr bool kMin = Unpack::kMin;
  static constexpr int kBytes = Unpack::kBlockBytes;

  // One step of the chains of up to four activation rows, one per element.
  static __m128 step(const uint8_t* p, __m128 da, __m128i isum, __m128i msum, __m128 acc) {
    acc = _mm_fmadd_ps(_mm_mul_ps(ScaleOf<Unpack>::one(p), da), _mm_cvtepi32_ps(isum), acc);
    if (!kMin) return acc;
    const __m128 dmin = _mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load16(p + Unpack::kScaleAt + 2))));
    return _mm_fnmadd_ps(_mm_mul_ps(dmin, da), _mm_cvtepi32_ps(msum), acc);
  }

  // One activation row, phase one: scales and sums of one weight row, four blocks at a time, as chain `sums` points at.
  static constexpr int kChains = 16, kPlanes = kMin ? 4 : 2, kGroup = kChains * kPlanes * 4;
  static constexpr int32_t kSegment = 128;  // blocks
  static_assert(kSegment / 4 * kGroup * sizeof(float) <= kScratchBytes, "scratch");

  HW_NOINLINE static void stream(const uint8_t* p, int32_t blocks, const ActRow& act, float* sums) {
    __m256i isum[4], msum[4];
    int32_t b = 0;
    for (; b + 4 <= blocks; b += 4, p += 4 * kBytes, sums += kGroup) {
      LanesX86::prefetch<4 * kBytes>(p);
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        Kind<Unpack>::template block<1>(p + i * kBytes, &act, b + i, isum + i, msum + i);
      }
      const __m128 d = _mm_loadu_ps(act.d + b);
      _mm_store_ps(sums, _mm_mul_ps(ScaleOf<Unpack>::four(p), d));
      _mm_store_ps(sums + 4, _mm_cvtepi32_ps(sums_of(isum[0], isum[1], isum[2], isum[3])));
      if (!kMin) continue;
      const __m128 min = _mm_mul_ps(four_halves<kBytes>(p + Unpack::kScaleAt + 2), d);
      _mm_store_ps(sums + 8, _mm_xor_ps(min, _mm_set1_ps(-0.0f)));
      _mm_store_ps(sums + 12, _mm_cvtepi32_ps(sums_of(msum[0], msum[1], msum[2], msum[3])));
    }
    for (int i = 0; b < blocks; b++, i++, p += kBytes) {
      Kind<Unpack>::template block<1>(p, &act, b, isum, msum);
      const __m128 d = _mm_set_ss(act.d[b]);
      _mm_store_ss(sums + i, _mm_mul_ss(ScaleOf<Unpack>::one(p), d));
      _mm_store_ss(sums + 4 + i, _mm_cvtepi32_ps(sums_of(isum[0])));
      if (!kMin) continue;
      const __m128 min = _mm_mul_ss(_mm_cvtph_ps(_mm_cvtsi32_si128(load16(p + Unpack::kScaleAt + 2))), d);
      _mm_store_ss(sums + 8 + i, _mm_xor_ps(min, _mm_set1_ps(-0.0f)));
      _mm_store_ss(sums + 12 + i, _mm_cvtepi32_ps(sums_of(msum[0])));
    }
  }

  // Phase two. Chains that no row filled run on leftovers and are not read.
  HW_NOINLINE static void chain(const float* sums, int32_t blocks, float* acc) {
    __m256 a[2] = {LanesX86::load_lanes(acc), LanesX86::load_lanes(acc + 8)};
    for (int32_t b = 0; b < blocks; b += 4, sums += kGroup) {
      for (int i = 0; i < 2; i++) {
        __m256 v[kPlanes][4];
        for (int k = 0; k < kPlanes; k++) {
          LanesX86::transpose4([&](int j) { return sums + ((i * 8 + j) * kPlanes + k) * 4; }, v[k]);
        }
        for (int k = 0; k < 4 && k < blocks - b; k++) {
          a[i] = _mm256_fmadd_ps(v[0][k], v[1][k], a[i]);
          if (kMin) a[i] = _mm256_fmadd_ps(v[kPlanes - 2][k], v[kPlanes - 1][k], a[i]);
        }
      }
    }
    LanesX86::store_lanes(acc, a[0]);
    LanesX86::store_lanes(acc + 8, a[1]);
  }

  static void run_one(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t blocks, const ActRow& act, float* out,
                      float* sums) {
    for (int32_t b = 0; b < blocks; b += kSegment) {
      const int32_t count = blocks - b < kSegment ? blocks - b : kSegment;
      const ActRow part = {nullptr, act.q + b * 256, act.d + b, act.sums + b * 16};
      for (int32_t r = 0; r < rows; r += kChains) {
        const int32_t chains = rows - r < kChains ? rows - r : kChains;
        alignas(32) float acc[kChains] = {};
        for (int32_t j = 0; j < chains; j++) {
          stream(w + (r + j) * row_bytes + static_cast<int64_t>(b) * kBytes, count, part, sums + j * kPlanes * 4);
          if (b > 0) acc[j] = out[r + j];
        }
        chain(sums, count, acc);
        for (int32_t j = 0; j < chains; j++) out[r + j] = acc[j];
      }
    }
  }

  template <int T>
  HW_NOINLINE static void row_of(const uint8_t* p, int32_t blocks, const ActRow* acts, float* out, int64_t out_stride) {
    // elements that stand for no row repeat the first
    constexpr int k1 = T > 1 ? 1 : 0, k2 = T > 2 ? 2 : 0, k3 = T > 3 ? 3 : 0;
    __m128 acc = _mm_setzero_ps();
    __m256i isum[T], msum[T];
    for (int32_t b = 0; b < blocks; b++, p += kBytes) {
      LanesX86::prefetch<kBytes>(p);
      Kind<Unpack>::template block<T>(p, acts, b, isum, msum);
      const __m128 da = _mm_setr_ps(acts[0].d[b], acts[k1].d[b], acts[k2].d[b], acts[k3].d[b]);
      if (T <= 2) {
        acc = step(p, da, sums_of(isum[0], isum[k1]), kMin ? sums_of(msum[0], msum[k1]) : _mm_setzero_si128(), acc);
      } else {
        acc = step(p, da, sums_of(isum[0], isum[k1], isum[k2], isum[k3]),
                   kMin ? sums_of(msum[0], msum[k1], msum[k2], msum[k3]) : _mm_setzero_si128(), acc);
      }
    }
    alignas(16) float v[4];
    _mm_store_ps(v, acc);
    for (int t = 0; t < T; t++) out[t * out_stride] = v[t];
  }

  template <int T>
  static void row(const uint8_t* p, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    row_of<T>(p, cols / 256, acts, out, out_stride);
  }

  static void run(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                  const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
    if (n == 1) {
      const ActRow act = MatvecRows<MatvecK>::act_row(*acts, pick ? pick[0] : 0);
      run_one(w, row_bytes, rows, cols / 256, act, out, static_cast<float*>(scratch));
    } else {
      MatvecRows<MatvecK>::run(w, row_bytes, rows, cols, acts, pick, n, out, out_stride, scratch);
    }
  }
};

}  // namespace
}  // namespace hw
