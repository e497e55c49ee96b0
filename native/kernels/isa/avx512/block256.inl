// What the one-row kernels of blocks of 256 values share on AVX-512: scales in the order of packed sums, and the
// products.
#pragma once
#include <immintrin.h>

#include "../../body/matvec_k_x86.inl"

namespace hw {
namespace {

// 32 bytes in both halves; `low` and `high` are constants for one half each.
inline __m512i both_halves(const uint8_t* p) { return _mm512_broadcast_i64x4(load256(p)); }
inline __m512i halves(int64_t low, int64_t high) {
  return _mm512_setr_epi64(low, low, low, low, high, high, high, high);
}
inline __m512i half_bytes(int low, int high) {
  return halves(0x0101010101010101ll * low, static_cast<int64_t>(0x0101010101010101ull * static_cast<uint64_t>(high)));
}

struct alignas(64) ByteIndex {
  uint8_t i[64];
  __m512i vector() const { return _mm512_load_si512(i); }
};

// The Unpack types hold the weights in w, in `fix` 16 groups of 16 values, 16 bits each, and the scales in s: for
// 16-bit sums in pack order, which is in lane l of half h group 8h + l four times, then group 8h + 4 + l; for wide sums
// 32 bits.
inline __m512i pack_order(__m256i scales, int h) {
  const __m512i lane = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  const __m512i group = _mm512_add_epi64(lane, _mm512_set1_epi64(8 * h));
  const __m512i index = _mm512_mullo_epi64(group, _mm512_set1_epi64(0x0001000100010001ll));
  return _mm512_permutexvar_epi16(index, _mm512_castsi256_si512(scales));
}

// Element i of the pack order of half h, as the byte of group (8h + ...) / `groups` in a table of scale bytes; the odd
// bytes are left to a zeroing mask.
constexpr ByteIndex pack_bytes(int h, int groups) {
  ByteIndex r = {};
  for (int i = 0; i < 64; i++) r.i[i] = static_cast<uint8_t>((8 * h + i / 16 + (i % 16 / 8) * 4) / groups);
  return r;
}

// Unsigned scale bytes, one per 16 * `groups` values, straight to 16 bits in pack order.
template <int h, int groups>
inline __m512i pack_unsigned(__m128i bytes) {
  static constexpr ByteIndex index = pack_bytes(h, groups);
  return _mm512_maskz_permutexvar_epi8(0x5555555555555555ull, index.vector(), _mm512_castsi128_si512(bytes));
}

inline __m512i two_bits(const uint8_t* qs, int k) {
  const __m512i shift = k % 2 ? halves(4, 6) : halves(0, 2);
  return _mm512_and_si512(_mm512_srlv_epi64(both_halves(qs + k / 2 * 32), shift), _mm512_set1_epi8(3));
}

// Unsigned weights w[4] times activations, times scales; see matvec_k.cc.
template <class Unpack>
struct Kind {
  // Sum of scale * (w . a) over the block, in eight parts.
  static __m256i scaled(const Unpack& u, const int8_t* q) {
    __m512i dot[4];
    for (int k = 0; k < 4; k++)
      dot[k] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u.w[k], _mm512_loadu_si512(q + 64 * k));
    __m512i sum;
    if (Unpack::kWide) {
      for (int k = 0; k < 4; k++) dot[k] = _mm512_mullo_epi32(dot[k], u.s[k]);
      sum = _mm512_add_epi32(_mm512_add_epi32(dot[0], dot[1]), _mm512_add_epi32(dot[2], dot[3]));
    } else {
      sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(dot[0], dot[1]), u.s[0]);
      sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(dot[2], dot[3]), u.s[1]);
    }
    return _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
  }

  // isum[t] and msum[t]: eight parts each of the block's sums with activation row t.
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i* msum) {
    const Unpack u(p);
    for (int t = 0; t < T; t++) {
      isum[t] = scaled(u, acts[t].q + b * 256);
      msum[t] = _mm256_madd_epi16(u.fix, load256(acts[t].sums + b * 16));
      if (!Unpack::kMin) isum[t] = _mm256_add_epi32(isum[t], msum[t]);
    }
  }
};

}  // namespace
}  // namespace hw
