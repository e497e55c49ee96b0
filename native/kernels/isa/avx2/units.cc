// Layouts of several planes on AVX2: lanes are eight output rows, which is how a word of eight inputs lies when inputs
// come in order; in the order of rows the same words are gathered. AVX-VNNI and AVX-512 use the same.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../units.h"

namespace hw {
namespace {

constexpr int kLanes = 8, kTokens = 32;  // token rows whose activations are put into order at a time

inline __m256i eight_words(const uint8_t* at, int64_t stride) {
  if (stride == 4) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  int32_t words[kLanes];
  for (int i = 0; i < kLanes; i++) __builtin_memcpy(&words[i], at + i * stride, 4);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

inline __m256 eight_halves(const uint8_t* at, int64_t stride) {
  uint16_t halves[kLanes];
  for (int i = 0; i < kLanes; i++) __builtin_memcpy(&halves[i], at + i * stride, 2);
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
}

// 32 activations of a unit: of each 16 the even ones, then the odd ones, as the nibbles of two words hold them.
inline void order(const int8_t* a, int32_t* out) {
  const __m256i shuffle =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_shuffle_epi8(x, shuffle));
}

struct Ordered {
  int32_t quads[8];
  int32_t sum;
  float d;
};

void units_int4(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                const int32_t* pick, int32_t n, float* out, int64_t out_stride) {
  enum { kWords, kScales, kOffsets };
  const int64_t group = layout.plane[kScales].cols;
  const __m256i nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  Ordered ordered[kTokens];
  for (int64_t unit = 0; unit < grid.inputs; unit += kUnitInputs) {
    const int64_t block = (grid.first_input + unit) / kUnitInputs;
    for (int32_t t0 = 0; t0 < n; t0 += kTokens) {
      const int32_t count = n - t0 < kTokens ? n - t0 : kTokens;
      for (int32_t t = 0; t < count; t++) {
        const int64_t row = pick != nullptr ? pick[t0 + t] : t0 + t;
        order(acts.q + row * acts.q_stride + block * kUnitInputs, ordered[t].quads);
        const int16_t* const sums = acts.sums + row * acts.sums_stride + 2 * block;
        ordered[t].sum = sums[0] + sums[1];
        ordered[t].d = acts.d[row * acts.d_stride + block];
      }
      for (int64_t r = r0; r < r1; r += kLanes) {
        const int64_t down = r - grid.first_row;
        // Quads of nibbles in the order of `order`: words 0 and 1 even, then odd, words 2 and 3 the same.
        __m256i q[8];
        for (int w = 0; w < 4; w++) {
          const uint8_t* const at =
              grid.at[kWords] + down * grid.row_stride[kWords] + (unit / 8 + w) * grid.input_stride[kWords];
          const __m256i words = eight_words(at, grid.row_stride[kWords]);
          const int base = w / 2 * 4 + w % 2;
          q[base] = _mm256_and_si256(words, nibble);
          q[base + 2] = _mm256_and_si256(_mm256_srli_epi16(words, 4), nibble);
        }
        const int64_t across = unit / group;
        const __m256 scale =
            eight_halves(grid.at[kScales] + down * grid.row_stride[kScales] + across * grid.input_stride[kScales],
                         grid.row_stride[kScales]);
        int32_t packed;
        __builtin_memcpy(
            &packed, grid.at[kOffsets] + down / 8 * grid.row_stride[kOffsets] + across * grid.input_stride[kOffsets],
            4);
        const __m256i offset =
            _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(packed), shifts), _mm256_set1_epi32(15));
        for (int32_t t = 0; t < count; t++) {
          const Ordered& a = ordered[t];
          // Eight products of at most 2 * 15 * 127 fit 16 bits.
          __m256i sum = _mm256_maddubs_epi16(q[0], _mm256_set1_epi32(a.quads[0]));
          for (int i = 1; i < 8; i++)
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(q[i], _mm256_set1_epi32(a.quads[i])));
          const __m256i isum =
              _mm256_sub_epi32(_mm256_madd_epi16(sum, ones), _mm256_mullo_epi32(offset, _mm256_set1_epi32(a.sum)));
          float* const to = out + (t0 + t) * out_stride + r - r0;
          const __m256 d = _mm256_mul_ps(scale, _mm256_set1_ps(a.d));
          _mm256_storeu_ps(to, _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(isum), _mm256_loadu_ps(to)));
        }
      }
    }
  }
}

// Each input has a scale and an offset of its own: they are put beside its values once for all token rows.
void units_int4_act_order(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                          const int32_t* pick, int32_t n, float* out, int64_t out_stride) {
  enum { kWords, kScales, kOffsets, kIndex };
  const int64_t last = grid.all_inputs / layout.plane[kScales].cols - 1;
  const __m256i nibble = _mm256_set1_epi32(15), shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  int64_t group[kUnitInputs];
  __m256i value[kUnitInputs];
  __m256 scale[kUnitInputs];
  for (int64_t unit = 0; unit < grid.inputs; unit += kUnitInputs) {
    const int64_t first = grid.first_input + unit;
    for (int i = 0; i < kUnitInputs; i++) {
      uint32_t named;
      __builtin_memcpy(&named, grid.at[kIndex] + (first + i) * grid.input_stride[kIndex], 4);
      group[i] = named < last ? named : last;
    }
    for (int64_t r = r0; r < r1; r += kLanes) {
      const int64_t down = r - grid.first_row;
      for (int i = 0; i < kUnitInputs; i++) {
        const uint8_t* const at = grid.at[kWords] + down * grid.row_stride[kWords];
        const __m256i words = eight_words(at + (unit + i) / 8 * grid.input_stride[kWords], grid.row_stride[kWords]);
        const __m256i q = _mm256_and_si256(_mm256_srl_epi32(words, _mm_cvtsi32_si128(4 * (i % 8))), nibble);
        const uint8_t* const offsets = grid.at[kOffsets] + down / 8 * grid.row_stride[kOffsets];
        int32_t packed;
        __builtin_memcpy(&packed, offsets + group[i] * grid.input_stride[kOffsets], 4);
        const __m256i offset = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(packed), shifts), nibble);
        value[i] = _mm256_sub_epi32(q, offset);
        const uint8_t* const scales = grid.at[kScales] + down * grid.row_stride[kScales];
        scale[i] = eight_halves(scales + group[i] * grid.input_stride[kScales], grid.row_stride[kScales]);
      }
      for (int32_t t = 0; t < n; t++) {
        const int64_t row = pick != nullptr ? pick[t] : t;
        const int8_t* const a = acts.q + row * acts.q_stride + first;
        const __m256 d = _mm256_set1_ps(acts.d[row * acts.d_stride + first / kUnitInputs]);
        float* const to = out + t * out_stride + r - r0;
        __m256 acc = _mm256_loadu_ps(to);
        for (int i = 0; i < kUnitInputs; i++) {
          // The upper halves of the activation are zero, so this is one product a lane.
          const __m256i product = _mm256_madd_epi16(value[i], _mm256_set1_epi32(static_cast<uint16_t>(a[i])));
          acc = _mm256_fmadd_ps(_mm256_mul_ps(scale[i], d), _mm256_cvtepi32_ps(product), acc);
        }
        _mm256_storeu_ps(to, acc);
      }
    }
  }
}

}  // namespace

void fill_avx2_units(Kernels* k) {
  k->units[UNITS_INT4] = units_int4;
  k->units[UNITS_INT4_ACT_ORDER] = units_int4_act_order;
}

}  // namespace hw
