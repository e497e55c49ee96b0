// Kernels for packed weight rows (packed.h): those of gemm_few.inl and gemm_drive.inl without transposing, on one
// stream of memory, so that one token row goes this way, too. Included by the ISA source after gemm_few.inl; the ISA
// provides
//   v_widen16 v_widen8(p)   kLanes values of 16 or 8 bits, zero-extended to a lane each

static_assert(kLanes == kStripRows && kChunk == kStripChunk, "packed.h");

// As RowBlock; the quads are there as they are wanted.
template <class P>
struct PackedBlock {
  static constexpr bool kPacked = true;
  const uint8_t* words;
  const uint8_t* odds;
  inline HW_INLINE void quads(int o, V* q) const {
    for (int i = 0; i < 4; i++) q[i] = v_load(words + kLanes * (o - P::kOddFront) + kVec * i);
  }
  inline HW_INLINE V odd() const { return P::kOdd == 1 ? v_widen8(odds) : v_widen16(odds); }
};

// As FileRows; `row` is a multiple of kLanes, and kLanes rows are there.
struct PackedRows {
  static constexpr bool kPacked = true;
  const uint8_t* p;
  PackedRows(const uint8_t* w, int64_t row_bytes, int row, int, int64_t at) : p(w + row * row_bytes + kLanes * at) {}
  template <class P>
  inline HW_INLINE PackedBlock<P> block(int b, int blocks) const {
    constexpr int kBlocks = kChunk / P::kBlock;
    const int first = b / kBlocks * kBlocks, n = blocks - first < kBlocks ? blocks - first : kBlocks;
    const uint8_t* const chunk = p + static_cast<int64_t>(first) * kLanes * P::kBytes;
    return {chunk + kLanes * (P::kOdd * n + (P::kBytes - P::kOdd) * (b - first)),
            chunk + kLanes * P::kOdd * (b - first)};
  }
};

// The strips of `rows` rows, then those left over, which lie as in a file.
template <class P>
static void gemm_packed(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                        const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  const MatmulFn fn = n <= kFewMost ? gemm_few<P, PackedRows> : gemm<P, PackedRows>;
  const int32_t strips = rows / kLanes * kLanes;
  if (strips > 0) fn(w, row_bytes, strips, cols, acts, pick, n, out, out_stride, scratch);
  if (strips < rows) {
    gemm_any<P>(w + strips * row_bytes, row_bytes, rows - strips, cols, acts, pick, n, out + strips, out_stride,
                scratch);
  }
}

static void fill_packed(Kernels* k) {
  k->packed[Q4_0] = gemm_packed<PanelQ4_0>;
  k->packed[Q4_1] = gemm_packed<PanelQ4_1>;
  k->packed[Q5_0] = gemm_packed<PanelQ5_0>;
  k->packed[Q5_1] = gemm_packed<PanelQ5_1>;
  k->packed[Q8_0] = gemm_packed<PanelQ8_0>;
  k->packed[Q2_K] = gemm_packed<PanelQ2_K>;
  k->packed[Q3_K] = gemm_packed<PanelQ3_K>;
  k->packed[Q4_K] = gemm_packed<PanelQ4_K>;
  k->packed[Q5_K] = gemm_packed<PanelQ5_K>;
  k->packed[Q6_K] = gemm_packed<PanelQ6_K>;
  k->packed[IQ4_NL] = gemm_packed<PanelIQ4_NL>;
  k->packed[IQ4_XS] = gemm_packed<PanelIQ4_XS>;
  k->packed[MXFP4] = gemm_packed<PanelMXFP4>;
}
