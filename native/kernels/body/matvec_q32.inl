// Matrix times few activation rows for the types with blocks of 32 values, over an ISA's vocabulary.
//
// The canonical order is one chain of dependent FMAs per output (kernels.h): 4 cycles a block, 8 with a minimum, while
// a block of 17-34 bytes arrives from memory in 2-4. So a group of rows is done in two phases: first each row is walked
// once, as one sequential stream, and leaves its block sums and scales in L1; then kChains outputs run their chains
// side by side, one output per vector lane. Bits do not depend on the grouping: a chain is the same wherever it runs.
//
// `Kind` unpacks kChunk blocks at a time (see isa/*/matvec_q32.cc). A chunk may read blocks that belong to the next
// row: they are in memory and their sums are not used. Only at the end of the matrix the rest is copied to scratch.
#pragma once
#include <stdint.h>

#include "../kernels.h"

#if defined(__GNUC__)
#define HW_NOINLINE __attribute__((noinline))
#else
#define HW_NOINLINE
#endif

namespace hw {
namespace {

constexpr int kChains = 16;

// One activation row in the order the unpacked chunks have, padded with zeros to whole chunks.
struct PreparedRow {
  int8_t* q;    // [chunks][kChunk * 32]
  float* d;     // [chunks * kChunk]
  int32_t* fix; // [chunks * kChunk]: -offset * asum, or (float)asum for types with a minimum
};

// Blocks of 32 values in kBlockBytes: more than one where a type's blocks are larger. kTwo: each half of 16 values has
// a scale and a step of the chain of its own.
template <class Kind, class = void>
struct PartsOf {
  static constexpr int kParts = 1;
  static constexpr bool kTwo = false;
};
template <class Kind>
struct PartsOf<Kind, decltype(static_cast<void>(Kind::kParts))> {
  static constexpr int kParts = Kind::kParts;
  static constexpr bool kTwo = Kind::kTwo;
};

template <class Kind>
struct MatvecQ32 {
  typedef typename Kind::Isa Isa;
  static constexpr int kChunk = Isa::kChunk;
  static constexpr int kParts = PartsOf<Kind>::kParts;
  static constexpr bool kTwo = PartsOf<Kind>::kTwo;
  static constexpr int kPlanes = kTwo ? 4 : Kind::kMin ? 3 : 2;
  static constexpr int64_t bytes_of(int64_t blocks) { return blocks / kParts * Kind::kBlockBytes; }
  static constexpr int64_t kChunkBytes = bytes_of(kChunk);

  // Segment width and activation rows a pass takes: what fits the scratch (bytes in the static_asserts).
  static constexpr int kRowsMax = 16;
  static int segment_blocks(int n) { return (n == 1 ? 2048 : n <= 4 ? 1024 : 512) / (kTwo ? 2 : 1); }
  static constexpr size_t need(size_t rows, size_t blocks) {
    return rows * blocks * 40 / (kTwo ? 2 : 1) + blocks * kChains * 4 * (kTwo ? 2 : 3) +
           static_cast<size_t>(kChunkBytes) + 64 * (3 * rows + 2);
  }
  static_assert(need(1, 2048) <= kScratchBytes && need(4, 1024) <= kScratchBytes && need(16, 512) <= kScratchBytes,
                "scratch");

  const uint8_t* w;
  int64_t row_bytes;
  const uint8_t* end;  // one past the last byte of the last row
  int32_t blocks;      // of this segment
  int32_t chunks;
  bool first;          // chains start at zero, not at what an earlier segment left in `out`
  PreparedRow prepared[kRowsMax];
  // [chunks][kChains][kPlanes][kChunk]: d_w * d_a, isum, m_w * d_a (kTwo: and isum of the other half)
  float* sums;
  uint8_t* tail;

  void prepare(const Acts& acts, int32_t row, int32_t block0, PreparedRow& p) const {
    const int8_t* q = acts.q + row * acts.q_stride + static_cast<int64_t>(block0) * 32;
    const float* d = acts.d + row * acts.d_stride + block0;
    const int16_t* s = acts.sums + row * acts.sums_stride + static_cast<int64_t>(block0) * 2;
    for (int32_t b = 0; b < chunks * kChunk; b++) {
      int8_t* to = p.q + Isa::half_at(b);
      if (b < blocks) {
        Isa::copy16(q + b * 32, to);
        Isa::copy16(q + b * 32 + 16, to + Isa::kHalfDistance);
        const int32_t asum = s[2 * b] + s[2 * b + 1];
        p.d[b] = d[b];
        if (Kind::kMin) {
          reinterpret_cast<float*>(p.fix)[b] = static_cast<float>(asum);
        } else {
          p.fix[b] = -Kind::kOffset * asum;
        }
      } else {
        Isa::zero16(to);
        Isa::zero16(to + Isa::kHalfDistance);
        p.d[b] = 0;
        p.fix[b] = 0;
      }
    }
  }

  // Chains a weight row takes: T, but 4 for T = 3, so that a row's chains never straddle two vectors.
  static constexpr int width_of(int t) { return t == 3 ? 4 : t; }

  // Phase one: block sums of one weight row against T activation rows, as chains [chain, chain + T).
  template <int T>
  HW_NOINLINE void stream(const uint8_t* row, const PreparedRow* acts, int chain) const {
    float* o = sums + chain * kPlanes * kChunk;
    for (int32_t c = 0; c < chunks; c++, o += kChains * kPlanes * kChunk) {
      const uint8_t* p = row + c * kChunkBytes;
      Isa::template prefetch<kChunkBytes>(p);
      if (p + kChunkBytes > end) {
        const int64_t rest = end - p;
        for (int64_t i = 0; i < rest; i++) tail[i] = p[i];
        p = tail;
      }
      typename Kind::Chunk u;
      Kind::unpack(p, u);
      for (int t = 0; t < T; t++) {
        const typename Isa::Floats d = Isa::load(acts[t].d + c * kChunk);
        float* to = o + t * kPlanes * kChunk;
        Isa::store(to, Isa::mul(u.d, d));
        if constexpr (kTwo) {
          typename Isa::Floats isum[2];
          Kind::dot_two(u, acts[t].q + c * (kChunk * 32), isum);
          Isa::store(to + kChunk, isum[0]);
          Isa::store(to + 2 * kChunk, Isa::mul(u.m, d));
          Isa::store(to + 3 * kChunk, isum[1]);
          continue;
        } else {
          Isa::store(to + kChunk, Kind::dot(u, acts[t].q + c * (kChunk * 32), acts[t].fix + c * kChunk));
        }
        if (Kind::kMin) Isa::store(to + 2 * kChunk, Isa::mul(u.m, d));
      }
    }
  }

  // Phase two. Chains that no row filled run on leftovers and are not read.
  template <int T>
  HW_NOINLINE void chain(const PreparedRow* acts, float* acc) const {
    typedef typename Isa::Lanes Lanes;
    constexpr int kLanes = Isa::kLanes, kSets = kChains / kLanes;
    Lanes a[kSets];
    const float* asum[kLanes];
    for (int i = 0; i < kSets; i++) a[i] = Isa::load_lanes(acc + i * kLanes);
    for (int j = 0; j < kLanes; j++) {
      const int t = j % width_of(T);
      asum[j] = reinterpret_cast<const float*>(acts[t < T ? t : 0].fix);
    }
    const float* s = sums;
    for (int32_t b0 = 0; b0 < blocks; b0 += kChunk, s += kChains * kPlanes * kChunk) {
      const int count = blocks - b0 < kChunk ? blocks - b0 : kChunk;
      for (int b = 0; b < count; b += 4) {
        const int steps = count - b < 4 ? count - b : 4;
        Lanes fix[4];
        if (Kind::kMin) {
          if (T == 1) {
            for (int i = 0; i < 4; i++) fix[i] = Isa::broadcast(asum[0] + b0 + b + i);
          } else {
            Isa::transpose4([&](int j) { return asum[j] + b0 + b; }, fix);
          }
        }
        for (int i = 0; i < kSets; i++) {
          const float* v = s + i * kLanes * kPlanes * kChunk + b;
          Lanes scale[4], isum[4], min[4], other[4];
          Isa::transpose4([&](int j) { return v + j * kPlanes * kChunk; }, scale);
          Isa::transpose4([&](int j) { return v + (j * kPlanes + 1) * kChunk; }, isum);
          if (Kind::kMin || kTwo) Isa::transpose4([&](int j) { return v + (j * kPlanes + 2) * kChunk; }, min);
          if (kTwo) Isa::transpose4([&](int j) { return v + (j * kPlanes + 3) * kChunk; }, other);
          for (int k = 0; k < 4; k++) {
            if (k >= steps) break;
            a[i] = Isa::fma(scale[k], isum[k], a[i]);
            if (Kind::kMin) a[i] = Isa::fma(min[k], fix[k], a[i]);
            if (kTwo) a[i] = Isa::fma(min[k], other[k], a[i]);
          }
        }
      }
    }
    for (int i = 0; i < kSets; i++) Isa::store_lanes(acc + i * kLanes, a[i]);
  }

  template <int T>
  void tile(int32_t row, int32_t rows, const PreparedRow* acts, float* out, int64_t out_stride) const {
    alignas(64) float acc[kChains] = {};
    for (int32_t r = 0; r < rows; r++) {
      stream<T>(w + (row + r) * row_bytes, acts, r * width_of(T));
      if (!first) {
        for (int t = 0; t < T; t++) acc[r * width_of(T) + t] = out[t * out_stride + row + r];
      }
    }
    chain<T>(acts, acc);
    for (int32_t r = 0; r < rows; r++) {
      for (int t = 0; t < T; t++) out[t * out_stride + row + r] = acc[r * width_of(T) + t];
    }
  }

  // All weight rows against `n` prepared activation rows (n <= kRowsMax), in tiles of at most 4 of equal size.
  void rows_by(int32_t rows, int32_t n, float* out, int64_t out_stride) const {
    const int32_t tiles = (n + 3) / 4;
    const int32_t group = kChains / (n == 1 ? 1 : n == 2 ? 2 : 4);
    for (int32_t r = 0; r < rows; r += group) {
      const int32_t count = rows - r < group ? rows - r : group;
      for (int32_t i = 0, t = 0; i < tiles; i++) {
        const int32_t width = (n - t + tiles - i - 1) / (tiles - i);
        float* o = out + t * out_stride;
        switch (width) {
          case 1: tile<1>(r, count, prepared + t, o, out_stride); break;
          case 2: tile<2>(r, count, prepared + t, o, out_stride); break;
          case 3: tile<3>(r, count, prepared + t, o, out_stride); break;
          default: tile<4>(r, count, prepared + t, o, out_stride); break;
        }
        t += width;
      }
    }
  }

  void lay_out(int32_t n, void* scratch) {
    uint8_t* s = static_cast<uint8_t*>(scratch);
    const int64_t padded = static_cast<int64_t>(chunks) * kChunk;
    for (int32_t t = 0; t < n; t++) {
      prepared[t].q = reinterpret_cast<int8_t*>(s);
      prepared[t].d = reinterpret_cast<float*>(s + padded * 32);
      prepared[t].fix = reinterpret_cast<int32_t*>(s + padded * 36);
      s += (padded * 40 + 63) & ~static_cast<int64_t>(63);
    }
    sums = reinterpret_cast<float*>(s);
    tail = s + padded * kChains * 4 * kPlanes;
  }

  static void run(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                  const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
    const int32_t blocks = cols / 32;
    const int32_t segment = segment_blocks(n);
    for (int32_t t0 = 0; t0 < n; t0 += kRowsMax) {
      const int32_t count = n - t0 < kRowsMax ? n - t0 : kRowsMax;
      for (int32_t b = 0; b < blocks; b += segment) {
        MatvecQ32 m;
        m.w = w + bytes_of(b);
        m.row_bytes = row_bytes;
        m.end = w + (rows - 1) * row_bytes + bytes_of(blocks);
        m.blocks = blocks - b < segment ? blocks - b : segment;
        m.chunks = (m.blocks + kChunk - 1) / kChunk;
        m.first = b == 0;
        m.lay_out(count, scratch);
        for (int32_t t = 0; t < count; t++) m.prepare(*acts, pick ? pick[t0 + t] : t0 + t, b, m.prepared[t]);
        m.rows_by(rows, count, out + t0 * out_stride, out_stride);
      }
    }
  }
};

#include "matvec_table.inl"

}  // namespace
}  // namespace hw
