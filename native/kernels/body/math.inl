// float_math.h once more, over the vector vocabulary of isa/<isa>/vec.h (`struct V`, included before this file):
//   F, W                     a vector of W floats; W divides 32
//   load_n / store_n         the first n lanes, 0 <= n <= W; other lanes read as zero and are not touched in memory
//   keep(v, lo, hi, fill)    v in lanes [lo, hi), fill elsewhere; lo and hi may lie outside [0, W]
//   min, max                 a < b ? a : b and a > b ? a : b (b when unordered), see float_math.h
//   pow2(n, t), scale2(p, n, t)   2^n and p * 2^n, from n as a float or from t = n + kRoundMagic
//   tree_sum, tree_max       the last log2(W) levels of the fixed tree
//   turn(v)                  W vectors: lane l of v[i] becomes lane i of v[l], whatever the bits mean
//   dup_n(p, n)              p[0] p[0] p[1] p[1] ... from n <= W / 2 floats
#include "../kernels.h"

namespace hw {
namespace {

typedef V::F F;
constexpr int W = V::W, NV = 32 / V::W;  // NV vectors hold the 32 partials

inline F vec_exp_poly(F r) {
  F p = V::set(kExpC6);
  p = V::fma(p, r, V::set(kExpC5));
  p = V::fma(p, r, V::set(kExpC4));
  p = V::fma(p, r, V::set(kExpC3));
  return V::fma(p, r, V::set(kExpC2));
}

inline F vec_exp(F x) {
  x = V::min(V::set(kExpMax), V::max(V::set(kExpMin), x));
  const F t = V::fma(x, V::set(kLog2e), V::set(kRoundMagic)), n = V::sub(t, V::set(kRoundMagic));
  const F r = V::fma(n, V::set(-kLn2Lo), V::fma(n, V::set(-kLn2Hi), x));
  F p = vec_exp_poly(r);
  p = V::fma(p, r, V::set(1.0f));
  p = V::fma(p, r, V::set(1.0f));
  return V::scale2(p, n, t);
}

inline F vec_tanh(F x) {
  const F a = V::min(V::set(kTanhMax), V::abs(x)), y = V::add(a, a);
  const F t = V::fma(y, V::set(kLog2e), V::set(kRoundMagic)), n = V::sub(t, V::set(kRoundMagic));
  const F r = V::fma(n, V::set(-kLn2Lo), V::fma(n, V::set(-kLn2Hi), y));
  const F q = V::fma(V::mul(r, r), vec_exp_poly(r), r), s = V::pow2(n, t);
  const F e = V::fma(s, q, V::sub(s, V::set(1.0f)));
  return V::with_sign_of(V::div(e, V::add(e, V::set(2.0f))), x);
}

inline F vec_softcap(F x, F c) { return V::mul(c, vec_tanh(V::div(x, c))); }
inline F vec_gate(F x, F z) { return V::div(x, V::add(V::set(1.0f), vec_exp(V::neg(z)))); }

// The last levels of the fixed tree above one vector: p[i] += p[i + 16], then (W = 8) += p[i + 8], ...
inline float vec_tree_sum(F* p) {
  for (int h = NV / 2; h > 0; h /= 2)
    for (int i = 0; i < h; i++) p[i] = V::add(p[i], p[i + h]);
  return V::tree_sum(p[0]);
}
inline float vec_tree_max(F* p) {
  for (int h = NV / 2; h > 0; h /= 2)
    for (int i = 0; i < h; i++) p[i] = V::max(p[i + h], p[i]);
  return V::tree_max(p[0]);
}

inline int64_t lanes_left(int64_t n) { return n < 0 ? 0 : n < W ? n : W; }

}  // namespace
}  // namespace hw
