// The float kernels once, over the vector vocabulary (body/math.inl). Bits as in scalar_float.cc.
// Tails run the vector code on a zero-padded block: no second formula for the remainder.
#include "math.inl"

namespace hw {
namespace {

void rms_norm(const float* x, const float* w, float* out, int32_t cols, float eps) {
  F p[NV];
  for (int i = 0; i < NV; i++) p[i] = V::zero();
  int64_t k = 0;
  for (; k + 32 <= cols; k += 32)
    for (int i = 0; i < NV; i++) {
      const F v = V::load(x + k + i * W);
      p[i] = V::fma(v, v, p[i]);
    }
  if (k < cols)
    for (int i = 0; i < NV; i++) {
      const int64_t n = lanes_left(cols - k - i * W);
      const F v = n > 0 ? V::load_n(x + k + i * W, n) : V::zero();
      p[i] = V::fma(v, v, p[i]);
    }
  const F inv = V::set(1.0f / V::sqrt1(vec_tree_sum(p) / (float)cols + eps));
  for (k = 0; k + W <= cols; k += W) {
    const F v = V::mul(V::load(x + k), inv);
    V::store(out + k, w ? V::mul(v, V::load(w + k)) : v);
  }
  if (k < cols) {
    const int64_t n = cols - k;
    const F v = V::mul(V::load_n(x + k, n), inv);
    V::store_n(out + k, w ? V::mul(v, V::load_n(w + k, n)) : v, n);
  }
}

// f(i, load, store) on whole vectors, then once on the padded tail.
template <class Fn>
inline void for_each(int64_t n, Fn f) {
  int64_t i = 0;
  for (; i + W <= n; i += W)
    f(i, [](const float* p) { return V::load(p); }, [](float* p, F v) { V::store(p, v); });
  if (i < n)
    f(i, [=](const float* p) { return V::load_n(p, n - i); }, [=](float* p, F v) { V::store_n(p, v, n - i); });
}

void add(const float* x, float* y, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) { store(y + i, V::add(load(y + i), load(x + i))); });
}

void scale(float* x, float s, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) { store(x + i, V::mul(load(x + i), V::set(s))); });
}

void axpy(const float* x, float s, float* y, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) {
    store(y + i, V::fma(V::set(s), load(x + i), load(y + i)));
  });
}

void softcap(float* x, float c, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) { store(x + i, vec_softcap(load(x + i), V::set(c))); });
}

void glu_silu(const float* gate, const float* up, float* out, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) {
    const F g = load(gate + i);
    store(out + i, V::mul(vec_gate(g, g), load(up + i)));
  });
}

void glu_gelu_tanh(const float* gate, const float* up, float* out, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) {
    const F g = load(gate + i), u = V::mul(g, V::fma(V::mul(g, g), V::set(kGeluC1), V::set(kGeluC0)));
    store(out + i, V::mul(vec_gate(g, V::add(u, u)), load(up + i)));
  });
}

void glu_oai(const float* gate, const float* up, float* out, int64_t n) {
  for_each(n, [=](int64_t i, auto load, auto store) {
    const F limit = V::set(kOaiLimit), g = V::min(limit, load(gate + i));
    const F u = V::max(V::set(-kOaiLimit), V::min(limit, load(up + i)));
    store(out + i, V::mul(vec_gate(g, V::mul(g, V::set(kOaiAlpha))), V::add(u, V::set(1.0f))));
  });
}

void rope(float* x, const float* cos, const float* sin, int32_t dims, int32_t interleaved) {
  const int64_t half = dims / 2;
  if (!interleaved) {
    for_each(half, [=](int64_t i, auto load, auto store) {
      const F a = load(x + i), b = load(x + half + i), c = load(cos + i), s = load(sin + i);
      store(x + i, V::fma(a, c, V::neg(V::mul(b, s))));
      store(x + half + i, V::fma(b, c, V::mul(a, s)));
    });
    return;
  }
  for_each(2 * half, [=](int64_t i, auto load, auto store) {
    const int64_t n = half - i / 2 < W / 2 ? half - i / 2 : W / 2;
    const F v = load(x + i), c = V::dup_n(cos + i / 2, n), s = V::dup_n(sin + i / 2, n);
    store(x + i, V::fmaddsub(v, c, V::mul(V::swap_pairs(v), s)));
  });
}

float max(const float* x, int64_t n) {
  F p[NV];
  const F none = V::set(-__builtin_inff());
  for (int i = 0; i < NV; i++) p[i] = none;
  int64_t k = 0;
  for (; k + 32 <= n; k += 32)
    for (int i = 0; i < NV; i++) p[i] = V::max(V::load(x + k + i * W), p[i]);
  for (int i = 0; k < n; k += W, i++) {
    const int64_t left = lanes_left(n - k);
    p[i] = V::max(V::keep(V::load_n(x + k, left), 0, left, none), p[i]);
  }
  return vec_tree_max(p);
}

float exp_sum(float* x, float max, int64_t n) {
  F p[NV];
  for (int i = 0; i < NV; i++) p[i] = V::zero();
  const F m = V::set(max);
  int64_t k = 0;
  for (; k + 32 <= n; k += 32)
    for (int i = 0; i < NV; i++) {
      const F e = vec_exp(V::sub(V::load(x + k + i * W), m));
      V::store(x + k + i * W, e);
      p[i] = V::add(p[i], e);
    }
  for (int i = 0; k < n; k += W, i++) {
    const int64_t left = lanes_left(n - k);
    const F e = V::keep(vec_exp(V::sub(V::load_n(x + k, left), m)), 0, left, V::zero());
    V::store_n(x + k, e, left);
    p[i] = V::add(p[i], e);
  }
  return vec_tree_sum(p);
}

#include "recurrence.inl"

inline void fill_float(Kernels* k) {
  k->rms_norm = rms_norm;
  k->add = add;
  k->scale = scale;
  k->axpy = axpy;
  k->softcap = softcap;
  k->glu[GLU_SILU] = glu_silu;
  k->glu[GLU_GELU_TANH] = glu_gelu_tanh;
  k->glu[GLU_OAI] = glu_oai;
  k->rope = rope;
  k->max = max;
  k->exp_sum = exp_sum;
  k->recur = recur;
  k->conv = conv;
}

}  // namespace
}  // namespace hw
