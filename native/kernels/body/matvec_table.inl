// The types whose few-row kernel each body provides: one list for all instruction sets. A source names the kernel of a
// type,
//   #define HW_KERNEL(T) set_matvec(k, T, MatvecQ32<Kind##T>::run);
//   HW_MATVEC_Q32(HW_KERNEL)
// Included by the bodies, inside their namespace.

// Blocks of 32 values, those of one scale and those of two or of one or two bits.
#define HW_MATVEC_Q32(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(IQ4_NL) X(MXFP4)
#define HW_MATVEC_Q32_SMALL(X) X(Q1_0) X(Q2_0) X(NVFP4)
// Super-blocks of 256 values.
#define HW_MATVEC_K(X) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_XS)
// Code books with signs, code books with an offset, ternary digits.
#define HW_MATVEC_SIGNED(X) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S)
#define HW_MATVEC_OFFSET(X) X(IQ1_S) X(IQ1_M)
#define HW_MATVEC_TERNARY(X) X(TQ1_0) X(TQ2_0)
#define HW_MATVEC_FLOAT(X) X(F32) X(F16) X(BF16)

// A table without a GEMM of its own for a type uses the matvec kernel in both slots.
inline void set_matvec(Kernels* k, Dtype dtype, MatmulFn fn) {
  if (k->gemm[dtype] == k->matvec[dtype]) k->gemm[dtype] = fn;
  k->matvec[dtype] = fn;
}
