// Many-row matmul with the 256-bit VPDPBUSD of CPUs without AVX-512 (Intel from Alder Lake on). Lanes are weight rows.
// The vocabulary, the micro-kernel, the driver and the panel layout are in body/.
#include <stddef.h>
#include <stdint.h>

#include "../../blocks.h"
#include "../../codebooks.h"
#include "../../body/panel_avx2.inl"
#include "../../kernels.h"

namespace hw {
namespace {

#define HW_GEMM_TILE 4
constexpr int kTile = HW_GEMM_TILE;
constexpr int kPanels = 2;
constexpr bool kPremultiply = true;
constexpr bool kSixteenBit = false;
constexpr bool kSignedBytes = false;

// The signed form is not used here; the shared body names these in branches that are never taken.
inline V v_add_scaled(V init, V, V) { return init; }
inline V v_times_minus_128(V v) { return v; }
inline V v_dot(V sum, V w, V a) { return _mm256_dpbusd_avx_epi32(sum, w, a); }
inline V v_pairs(V sum, V w, V a) { return _mm256_dpwssd_avx_epi32(sum, w, a); }
inline V v_mul_add32(V a, V b, V c) { return _mm256_add_epi32(_mm256_mullo_epi32(a, b), c); }

#include "../../body/gemm_unpack.inl"

#include "../../body/gemm_drive.inl"

constexpr int kFewRows = 8, kFewAlways = 4, kFewBytes = 24 * 1024;
constexpr int kPackedAhead = 0;  // no packed rows here

#include "../../body/gemm_dot.inl"
#include "../../body/gemm_few_dot.inl"
#include "../../body/gemm_few.inl"

template <class P>
constexpr MatmulFn kGemm = gemm_any<P>;

#include "../../body/gemm_table.inl"

}  // namespace

// From how many token rows on this beats matvec, which is AVX2's: cached weights, one thread (docs/decisions/0017).
void fill_avxvnni_gemm(Kernels* k) {
  //           Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4, Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS
  fill_gemm(k, {2, 2, 1, 1, 2, 1, 2, 4, 6, 2, 2, 4, 1});
  fill_gemm_grid(k, {6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6});
}

}  // namespace hw
