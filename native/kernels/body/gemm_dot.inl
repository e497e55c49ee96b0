// The micro-kernel of the many-row kernels where the dot product sums four byte products in 32 bits (VPDPBUSD).
// Included by the ISA source after gemm_drive.inl; the ISA provides, for this and for gemm_few.inl, over V (integers)
// and F (floats):
//   v_dot(sum, w, a)        kLanes sums of four products, unsigned (kSignedBytes: signed) w
//   v_four(p)               4 activation bytes, or 4 bytes of anything, in every lane
//   v_mul_add32(a, b, c)    a * b + c, 32-bit lanes
//   v_pairs(sum, w, a)      two signed 16-bit products a lane, added to sum
//   F f_zero f_load f_store f_set f_mul f_fma f_of(V)

// sum[r][t] += panel rows times token rows over `Quads` quads; w: [quad] V, kPanelBytes between panels; q: token rows.
// A broadcast is a whole load on cores that move 64 bytes a cycle, so every one serves R panels.
template <int T, int R, int Quads>
inline __attribute__((always_inline)) void dot_quads(V (&sum)[R][T], const uint8_t* w, const uint8_t* q) {
#pragma GCC unroll 8
  for (int i = 0; i < Quads; i++) {
    V v[R];
    for (int r = 0; r < R; r++) v[r] = v_load(w + r * kPanelBytes + kVec * i);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const V a = v_four(q + t * kChunk + 4 * i);
      for (int r = 0; r < R; r++) sum[r][t] = v_dot(sum[r][t], v[r], a);
    }
  }
}

template <class P, int T, int R>
struct MicroOf<P, T, R, 32> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    F acc[R][T];
    for (int r = 0; r < R; r++) {
      for (int t = 0; t < T; t++) {
        acc[r][t] = first ? f_zero() : f_load(out + t * stride + kLanes * r);
      }
    }
    const uint8_t* q = tile;
    const uint8_t* word = tile + L::kInit;  // 4 bytes per block in each of the planes init, min, d
    for (int b = 0; b < blocks; b++, panel += P::kPanel, q += 32, word += 4) {
      V sum[R][T];
      for (int t = 0; t < T; t++) {
        const V init = P::kHasOffset ? v_four(word + t * 4 * L::kInits) : v_set32(0);
        for (int r = 0; r < R; r++) sum[r][t] = init;
      }
      fetch.next();
      dot_quads<T, R, 8>(sum, panel, q);
      for (int t = 0; t < T; t++) {
        const F da = f_set(word + (L::kD - L::kInit) + t * 4 * L::kBlocks);
        for (int r = 0; r < R; r++) {
          const F dw = f_load(panel + r * kPanelBytes + P::kD);
          acc[r][t] = f_fma(f_mul(dw, da), f_of(sum[r][t]), acc[r][t]);
          if (P::kMins) {
            const F m = f_load(panel + r * kPanelBytes + P::kM);
            const F asum = f_set(word + (L::kMin - L::kInit) + t * 4 * L::kMinWords);
            acc[r][t] = f_fma(f_mul(m, da), asum, acc[r][t]);
          }
        }
      }
    }
    for (int r = 0; r < R; r++) {
      for (int t = 0; t < T; t++) f_store(out + t * stride + kLanes * r, acc[r][t]);
    }
  }
};

// Two scales for 32 values.
template <class P, int T, int R>
struct MicroOf<P, T, R, 16> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    F acc[R][T];
    for (int r = 0; r < R; r++) {
      for (int t = 0; t < T; t++) acc[r][t] = first ? f_zero() : f_load(out + t * stride + kLanes * r);
    }
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      fetch.next();
      for (int h = 0; h < 2; h++) {
        V sum[R][T];
        for (int t = 0; t < T; t++) {
          const V init = v_four(tile + L::kInit + 4 * (t * L::kInits + 2 * b + h));
          for (int r = 0; r < R; r++) sum[r][t] = init;
        }
        dot_quads<T, R, 4>(sum, panel + 4 * kVec * h, tile + 32 * b + 16 * h);
        for (int t = 0; t < T; t++) {
          const F da = f_set(tile + L::kD + 4 * (t * L::kBlocks + b));
          for (int r = 0; r < R; r++) {
            const F dw = f_load(panel + r * kPanelBytes + (h ? P::kM : P::kD));
            acc[r][t] = f_fma(f_mul(dw, da), f_of(sum[r][t]), acc[r][t]);
          }
        }
      }
    }
    for (int r = 0; r < R; r++) {
      for (int t = 0; t < T; t++) f_store(out + t * stride + kLanes * r, acc[r][t]);
    }
  }
};

template <class P, int T, int R>
struct MicroOf<P, T, R, 256> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    constexpr int kGroup = P::kGroupQuads == 64 ? 8 : P::kGroupQuads;  // quads of one dot_quads
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      const uint8_t* q = tile + 256 * b;
      const uint8_t* init = tile + L::kInit + 4 * b * (L::kInits / L::kBlocks);
      V isum[R][T];
      for (int t = 0; t < T; t++) {
        const bool once = P::kGroupQuads == 64 && P::kHasOffset;
        const V v = once ? v_four(init + t * 4 * L::kInits) : v_set32(0);
        for (int r = 0; r < R; r++) isum[r][t] = v;
      }
      for (int g = 0; g < 64 / kGroup; g++, q += 4 * kGroup) {
        const uint8_t* w = panel + kVec * kGroup * g;
        if (kGroup == 8 || g % 2 == 0) fetch.next();
        if constexpr (P::kGroupQuads == 64) {
          dot_quads<T, R, kGroup>(isum, w, q);
        } else {
          V sum[R][T];
          for (int t = 0; t < T; t++) {
            const V v = P::kHasOffset ? v_four(init + t * 4 * L::kInits + 4 * g) : v_set32(0);
            for (int r = 0; r < R; r++) sum[r][t] = v;
          }
          dot_quads<T, R, kGroup>(sum, w, q);
          for (int r = 0; r < R; r++) {
            const V scale = v_load(panel + r * kPanelBytes + P::kScaleAt + kVec * g);
            for (int t = 0; t < T; t++) {
              isum[r][t] = v_mul_add32(sum[r][t], scale, isum[r][t]);
            }
          }
        }
      }
      for (int t = 0; t < T; t++) {
        const F da = f_set(tile + L::kD + 4 * (t * L::kBlocks + b));
        for (int r = 0; r < R; r++) {
          const uint8_t* scales = panel + r * kPanelBytes;
          float* const to = out + t * stride + kLanes * r;
          F acc = first && b == 0 ? f_zero() : f_load(to);
          acc = f_fma(f_mul(f_load(scales + P::kD), da), f_of(isum[r][t]), acc);
          if (P::kMins) {
            const uint8_t* pairs = tile + L::kMin + 4 * (t * L::kMinWords + b * P::kMins);
            V msum = v_set32(0);
            for (int i = 0; i < P::kMins; i++) {
              msum = v_pairs(msum, v_load(scales + P::kMinsAt + kVec * i), v_four(pairs + 4 * i));
            }
            acc = f_fma(f_mul(f_load(scales + P::kM), da), f_of(msum), acc);
          }
          f_store(to, acc);
        }
      }
    }
  }
};
