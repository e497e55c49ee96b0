// Many-row matmul with VNNI: lanes are weight rows, so the canonical chain of every output is one fma per block in its
// own lane and nothing is ever summed across lanes. The driver and the panel layout are in body/.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../blocks.h"
#include "../../codebooks.h"
#include "../../kernels.h"
#include "../../packed.h"
#include "panel.inl"

namespace hw {

namespace {

#define HW_GEMM_TILE 6
constexpr int kTile = HW_GEMM_TILE;
constexpr int kPanels = 2;
constexpr bool kPremultiply = true;
constexpr bool kSixteenBit = false;
constexpr bool kSignedBytes = false;

// The signed form is not used here; the shared body names these in branches that are never taken.
inline V v_add_scaled(V init, V, V) { return init; }
inline V v_times_minus_128(V v) { return v; }

#include "../../body/gemm_unpack.inl"

inline V v_dot(V sum, V w, V a) { return _mm512_dpbusd_epi32(sum, w, a); }
inline V v_mul_add32(V a, V b, V c) { return _mm512_add_epi32(_mm512_mullo_epi32(a, b), c); }
inline V v_pairs(V sum, V w, V a) { return _mm512_dpwssd_epi32(sum, w, a); }

#include "../../body/gemm_drive.inl"

// Token rows of one walk; up to how many they beat panels whatever the width, and while the packed token rows leave the
// first-level cache to the weights that pass through it.
constexpr int kFewRows = 8, kFewAlways = 4, kFewBytes = 24 * 1024;
constexpr int kPackedAhead = 4096;  // 8 KiB loses 1 to 5 % with one row, the second level or none much more (0016)

#include "../../body/gemm_dot.inl"
#include "../../body/gemm_few_dot.inl"
#include "../../body/gemm_few.inl"
#include "../../body/gemm_packed.inl"

template <class P>
constexpr MatmulFn kGemm = gemm_any<P>;

#include "../../body/gemm_table.inl"

}  // namespace

// From how many token rows on this beats matvec, weights streamed from memory, one thread (docs/decisions/0008).
void fill_avx512_gemm(Kernels* k) {
  //           Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4, Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS
  fill_gemm(k, {2, 2, 2, 2, 2, 2, 3, 2, 4, 2, 2, 4, 2});
  fill_gemm_grid(k, {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6});
  fill_packed(k);
}

}  // namespace hw
