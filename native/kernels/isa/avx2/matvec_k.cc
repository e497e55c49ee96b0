// Blocks of 256 values on AVX2. A block is eight groups of 32 values in their natural order, one register each, as
// unsigned bytes: VPMADDUBSW with the activations (at most 2 * 63 * 127, no saturation), VPMADDWD with the 16-bit group
// scales, and one horizontal sum per block. What the unsigned form adds is taken off through the activation sums: `fix`
// holds -offset * scale (or the minimums) per 16 values. IQ4_XS has signed codes: |w| and sign(a, w), no fix.
#include <immintrin.h>

#include "../../blocks.h"
#include "block256.inl"

namespace hw {
namespace {

// Eight bytes to 16-bit elements, each twice: what sums over 16 values need for groups of 32.
inline __m256i twice(__m128i bytes) { return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(bytes, bytes)); }

struct PairScales {
  __m256i scales, fix;
  explicit PairScales(const uint8_t* s) {
    const __m128i pairs = scale_min_pairs(s);
    scales = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(pairs));
    fix = twice(_mm_unpackhi_epi64(pairs, pairs));
  }
};

struct UnpackQ4_K : PairScales {
  static constexpr int kBlockBytes = 144, kScaleAt = 0;
  static constexpr bool kMin = true, kSigned = false;
  const uint8_t* qs;
  explicit UnpackQ4_K(const uint8_t* p) : PairScales(p + 4), qs(p + 16) {}
  __m256i group(int g) const {
    const __m256i v = load256(qs + g / 2 * 32);
    return _mm256_and_si256(g % 2 ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
  }
};

struct UnpackQ5_K : PairScales {
  static constexpr int kBlockBytes = 176, kScaleAt = 0;
  static constexpr bool kMin = true, kSigned = false;
  __m256i qh;
  const uint8_t* qs;
  explicit UnpackQ5_K(const uint8_t* p)
      : PairScales(p + 4), qh(load256(p + 16)), qs(p + 48) {}
  __m256i group(int g) const {
    const __m256i v = load256(qs + g / 2 * 32);
    const __m256i low = _mm256_and_si256(g % 2 ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
    const __m256i bit = g < 4 ? _mm256_slli_epi16(qh, 4 - g) : _mm256_srli_epi16(qh, g - 4);
    return _mm256_or_si256(low, _mm256_and_si256(bit, _mm256_set1_epi8(16)));
  }
};

struct UnpackQ6_K {
  static constexpr int kBlockBytes = 210, kScaleAt = 208;
  static constexpr bool kMin = false, kSigned = false;
  __m256i scales, fix;
  const uint8_t* p;
  explicit UnpackQ6_K(const uint8_t* block) : p(block) {
    const __m256i natural = _mm256_cvtepi8_epi16(load128(p + 192));
    scales = even_odd(natural);
    fix = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16(natural, 5));
  }
  __m256i group(int g) const {
    const int h = g / 4, j = g % 4;
    const __m256i v = load256(p + 64 * h + 32 * (j % 2)), high = load256(p + 128 + 32 * h);
    const __m256i low = _mm256_and_si256(j < 2 ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
    const __m256i bits = j < 2 ? _mm256_slli_epi16(high, 4 - 2 * j) : _mm256_srli_epi16(high, 2 * j - 4);
    return _mm256_or_si256(low, _mm256_and_si256(bits, _mm256_set1_epi8(0x30)));
  }
};

struct UnpackQ2_K {
  static constexpr int kBlockBytes = 84, kScaleAt = 80;
  static constexpr bool kMin = true, kSigned = false;
  __m256i scales, fix;
  const uint8_t* qs;
  explicit UnpackQ2_K(const uint8_t* p) : qs(p + 16) {
    const __m128i s = load128(p), low = _mm_set1_epi8(15);
    scales = even_odd(_mm256_cvtepu8_epi16(_mm_and_si128(s, low)));
    fix = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(s, 4), low));
  }
  __m256i group(int g) const { return two_bits(qs, g); }
};

struct UnpackQ3_K {
  static constexpr int kBlockBytes = 110, kScaleAt = 108;
  static constexpr bool kMin = false, kSigned = false;
  __m256i scales, fix, hmask;
  const uint8_t* qs;
  explicit UnpackQ3_K(const uint8_t* p) : hmask(load256(p)), qs(p + 32) {
    // Groups 4i..4i+3 are dword i: a nibble of dwords 0 and 1 of the 12 bytes, two bits of dword 2.
    const __m128i ab = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 96));
    const __m128i c = _mm_set1_epi32(static_cast<int>(load32(p + 104)));
    const __m128i low = _mm_and_si128(_mm_srlv_epi32(_mm_unpacklo_epi64(ab, ab), _mm_setr_epi32(0, 0, 4, 4)),
                                      _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srlv_epi32(c, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const __m128i s = _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
    const __m256i natural = _mm256_cvtepi8_epi16(s);
    scales = even_odd(natural);
    fix = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16(natural, 2));
  }
  __m256i group(int g) const {
    const __m256i bit = g < 2 ? _mm256_slli_epi16(hmask, 2 - g) : _mm256_srli_epi16(hmask, g - 2);
    return _mm256_or_si256(two_bits(qs, g), _mm256_and_si256(bit, _mm256_set1_epi8(4)));
  }
};

struct UnpackIQ4_XS {
  static constexpr int kBlockBytes = 136, kScaleAt = 0;
  static constexpr bool kMin = false, kSigned = true;
  __m256i scales, fix;
  const uint8_t* qs;
  explicit UnpackIQ4_XS(const uint8_t* p) : qs(p + 8) {
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load32(p + 4))),
                                          _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(load16(p + 2)),
                                           _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    const __m256i s = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                      _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    const __m256i centred = _mm256_sub_epi32(s, _mm256_set1_epi32(32));
    scales = _mm256_permute4x64_epi64(_mm256_packs_epi32(centred, centred), 0x88);
    fix = _mm256_setzero_si256();
  }
  __m256i group(int g) const {
    const __m256i v = _mm256_broadcastsi128_si256(load128(qs + 16 * g));
    const __m256i both = _mm256_srlv_epi64(v, _mm256_setr_epi64x(0, 0, 4, 4));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(kValuesIQ4NL)),
                               _mm256_and_si256(both, _mm256_set1_epi8(15)));
  }
};

template <class Unpack>
struct Kind {
  // isum[t] and msum[t]: eight parts each of the block's sums with activation row t.
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i* msum) {
    const Unpack u(p);
    for (int t = 0; t < T; t++) isum[t] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
      const __m256i w = u.group(g), s = spread(u.scales, g);
      const __m256i magnitude = Unpack::kSigned ? _mm256_abs_epi8(w) : w;
      for (int t = 0; t < T; t++) {
        const __m256i a = load256(acts[t].q + b * 256 + g * 32);
        const __m256i pairs = _mm256_maddubs_epi16(magnitude, Unpack::kSigned ? _mm256_sign_epi8(a, w) : a);
        isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(pairs, s));
      }
    }
    for (int t = 0; t < T; t++) {
      if (Unpack::kSigned) continue;
      msum[t] = _mm256_madd_epi16(u.fix, load256(acts[t].sums + b * 16));
      if (!Unpack::kMin) isum[t] = _mm256_add_epi32(isum[t], msum[t]);
    }
  }
};

}  // namespace

void fill_avx2_matvec_k(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<Kind, Unpack##T>::run);
  HW_MATVEC_K(HW_KERNEL)
}

}  // namespace hw
