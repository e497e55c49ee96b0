// The slots of a table that the panels of gemm_unpack.inl fill. Included last; the ISA source provides
//   kGemm<P>   the kernel of a type

// From how many token rows on a type's many-row kernel beats matvec.
struct FirstRows {
  int32_t q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, mxfp4, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs;
};

static void fill_gemm(Kernels* k, const FirstRows& from) {
  const auto set = [k](Dtype dtype, MatmulFn fn, int32_t first) {
    k->gemm[dtype] = fn;
    k->gemm_min_rows[dtype] = first;
  };
  set(Q4_0, kGemm<PanelQ4_0>, from.q4_0);
  set(Q4_1, kGemm<PanelQ4_1>, from.q4_1);
  set(Q5_0, kGemm<PanelQ5_0>, from.q5_0);
  set(Q5_1, kGemm<PanelQ5_1>, from.q5_1);
  set(Q8_0, kGemm<PanelQ8_0>, from.q8_0);
  set(IQ4_NL, kGemm<PanelIQ4_NL>, from.iq4_nl);
  set(MXFP4, kGemm<PanelMXFP4>, from.mxfp4);
  set(Q2_K, kGemm<PanelQ2_K>, from.q2_k);
  set(Q3_K, kGemm<PanelQ3_K>, from.q3_k);
  set(Q4_K, kGemm<PanelQ4_K>, from.q4_k);
  set(Q5_K, kGemm<PanelQ5_K>, from.q5_k);
  set(Q6_K, kGemm<PanelQ6_K>, from.q6_k);
  set(IQ4_XS, kGemm<PanelIQ4_XS>, from.iq4_xs);
}

struct FirstRowsGrid {
  int32_t iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq1_s, iq1_m, tq1_0, tq2_0, q1_0, q2_0, nvfp4;
};

static void fill_gemm_grid(Kernels* k, const FirstRowsGrid& from) {
  const auto set = [k](Dtype dtype, MatmulFn fn, int32_t first) {
    k->gemm[dtype] = fn;
    k->gemm_min_rows[dtype] = first;
  };
  set(IQ2_XXS, kGemm<PanelIQ2_XXS>, from.iq2_xxs);
  set(IQ2_XS, kGemm<PanelIQ2_XS>, from.iq2_xs);
  set(IQ2_S, kGemm<PanelIQ2_S>, from.iq2_s);
  set(IQ3_XXS, kGemm<PanelIQ3_XXS>, from.iq3_xxs);
  set(IQ3_S, kGemm<PanelIQ3_S>, from.iq3_s);
  set(IQ1_S, kGemm<PanelIQ1_S>, from.iq1_s);
  set(IQ1_M, kGemm<PanelIQ1_M>, from.iq1_m);
  set(TQ1_0, kGemm<PanelTQ1_0>, from.tq1_0);
  set(TQ2_0, kGemm<PanelTQ2_0>, from.tq2_0);
  set(Q1_0, kGemm<PanelQ1_0>, from.q1_0);
  set(Q2_0, kGemm<PanelQ2_0>, from.q2_0);
  set(NVFP4, gemm<PanelNVFP4>, from.nvfp4);  // few rows have no form with two scales
}
