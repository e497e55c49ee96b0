// Steps of recurrences and short convolutions, part of float.inl. Lanes are columns, so no sum crosses lanes; sums
// over keys lie in registers. Bits as in scalar_float.cc.

// DN vectors of columns from c on; the last one has `lanes` columns.
template <int DN>
inline void recur_columns(const RecurStep& s, int32_t c, int64_t lanes) {
  const auto load = [=](const float* p, int i) {
    return lanes < W && i == DN - 1 ? V::load_n(p + i * W, lanes) : V::load(p + i * W);
  };
  const auto store = [=](float* p, int i, F v) {
    if (lanes < W && i == DN - 1) {
      V::store_n(p + i * W, v, lanes);
    } else {
      V::store(p + i * W, v);
    }
  };
  F d[DN], sum[DN];
  const F beta = V::set(s.beta);
  for (int i = 0; i < DN; i++) d[i] = V::mul(beta, load(s.v + c, i)), sum[i] = V::zero();
  const float* const from = s.from + c;
  float* const to = s.to + c;
  // The first row of a pass writes to another slot than it reads, whose memory is asked for meanwhile.
  const bool far = from != to && !s.correct;
  if (s.correct) {
    // Nothing is stored on this way: a product twice costs less than a state written twice.
    for (int32_t k = 0; k < s.keys; k++) {
      const F decay = V::set(s.decay[k * s.decay_step]), key = V::set(s.k[k]);
      for (int i = 0; i < DN; i++) {
        if (from != to && i * W % 16 == 0) __builtin_prefetch(to + k * s.stride + i * W, 1, 2);
        sum[i] = V::fma(key, V::mul(decay, load(from + k * s.stride, i)), sum[i]);
      }
    }
    for (int i = 0; i < DN; i++) d[i] = V::mul(beta, V::sub(load(s.v + c, i), sum[i])), sum[i] = V::zero();
  }
  for (int32_t k = 0; k < s.keys; k++) {
    const F decay = V::set(s.decay[k * s.decay_step]), key = V::set(s.k[k]), query = V::set(s.q ? s.q[k] : 0.0f);
    for (int i = 0; i < DN; i++) {
      if (far && i * W % 16 == 0) __builtin_prefetch(to + (k + 8) * s.stride + i * W, 1, 2);
      const F m = V::fma(key, d[i], V::mul(decay, load(from + k * s.stride, i)));
      store(to + k * s.stride, i, m);
      sum[i] = V::fma(query, m, sum[i]);
    }
  }
  if (!s.q) return;
  for (int i = 0; i < DN; i++) {
    const F y = s.skip ? V::fma(V::set(*s.skip), load(s.v + c, i), sum[i]) : sum[i];
    store(s.out + c, i, y);
  }
}

void recur(const RecurStep* step) {
  // As wide as the registers allow: a head of 128 columns is then read in order.
  constexpr int widest = W == 16 ? 8 : 4;
  int32_t c = 0;
  for (; c + widest * W <= step->cols; c += widest * W) recur_columns<widest>(*step, c, W);
  for (; c + 2 * W <= step->cols; c += 2 * W) recur_columns<2>(*step, c, W);
  for (; c < step->cols; c += W) recur_columns<1>(*step, c, lanes_left(step->cols - c));
}

void conv(const float* const* x, const float* w, int64_t stride, int32_t taps, const float* bias, float* out,
          int64_t n) {
  for_each(n, [=](int64_t c, auto load, auto store) {
    F sum = V::mul(load(w + c), load(x[0] + c));
    for (int32_t i = 1; i < taps; i++) sum = V::fma(load(w + i * stride + c), load(x[i] + c), sum);
    store(out + c, bias ? V::add(sum, load(bias + c)) : sum);
  });
}
