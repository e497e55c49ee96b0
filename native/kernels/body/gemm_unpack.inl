// Weight panels for the many-row kernels, written once over a small vocabulary that the including ISA source provides:
//
//   V                       kLanes lanes of 32 bits, one lane per weight row (NEON: 16 of them in four registers)
//   v_load_quads(p, o, q)   16 bytes at p[row] + o of kLanes rows, transposed: lane `row` of q[i] = bytes 4i .. 4i + 3
//   v_and v_or v_add8 v_add32 v_mul16 v_srl<n> v_sll<n> v_sra<n> v_set32 v_lut v_table v_store v_load
//   v_spread_byte<i>(v)     byte i of every lane in all four
//   v_add_16_where(q, a, b) q + 16 in the bytes where a & b is not zero
//   v_half(out, v)          the low 16 bits of every lane as binary16, to kLanes floats
//   kPremultiply            2- and 3-bit weights times their group scale still fit a byte, so a dot product that sums
//                           in 32 bits (VNNI) needs no group step at all
//   kSixteenBit             products are summed in 16 bits first: 8-bit weights go in two nibble planes, and offset
//                           types with 16-value groups stay signed against unsigned activations (+128), whose
//                           correction depends on the weights alone and is put in the panel
//   kSignedBytes            the dot product is signed times signed (SDOT): 8-bit weights stay signed, no W may pass 127
//
// A quad is 4 consecutive k of one row. Panel of a 32-value block, all [kLanes rows]:
//   W [planes][8 quads] V | d float | m float (with minimums)
// Panel of a 256-value block:
//   W [8][planes][8 quads] V | scale [groups] V | min pairs [kMins] V of two int16 | d | -dmin | init (signed) V
//
// P::unpack(w, panel, sink) unpacks one block of kLanes rows, which `w` loads (RowBlock, PackedBlock). Scales and such
// go to `panel`, the weights to the sink, group by group: sink.open(g), sink.put(panel, quad, v) for the quads of group
// g in any order, sink.close(panel, g) when the scale of g is in the panel. Types without group scales (32-value
// blocks, premultiplied ones) may leave open and close out.
//
// W is unsigned unless kSigned or kSignedBytes. weight = W - kOffset; the driver folds -kOffset * asum into the first
// integer sum.

#if defined(__GNUC__)
#define HW_INLINE __attribute__((always_inline))
#else
#define HW_INLINE
#endif

constexpr int kVec = sizeof(V), kLanes = kVec / 4;

// What a panel is like and what is done with it. Types that agree in all of that share the code for it, which is most
// of what the compiler has to do.
template <int Block, bool HasOffset, int Mins, int GroupQuads, int Run, int Planes, bool Signed, bool Two>
struct PanelForm {
  static constexpr int kBlock = Block;
  static constexpr bool kHasOffset = HasOffset;
  static constexpr int kMins = Mins;              // 32: 1 = has m; 256: vectors of minimum pairs
  static constexpr int kGroupQuads = GroupQuads;  // quads that share an integer scale; 64 = none left
  static constexpr int kRun = Run;                // quads whose products fit one signed 16-bit sum
  static constexpr bool kSigned = Signed;
  static constexpr bool kTwo = Two;  // a scale for each half of 32 values, the second one in the place of m
  static constexpr int kPlanes = Planes;
  static constexpr int kGroups = GroupQuads == 64 ? 0 : 64 / GroupQuads;
  static constexpr int kW = kPlanes * kLanes * Block;  // bytes of W; what follows is in vectors
  static constexpr int kScaleAt = kW;
  static constexpr int kMinsAt = kScaleAt + kVec * kGroups;
  static constexpr int kD = Block == 32 ? kW : kMinsAt + kVec * Mins;
  static constexpr int kM = kD + kVec;
  static constexpr int kInit = kD + kVec + (Mins ? kVec : 0);
  static constexpr int kPanel = kInit + (Signed || Two ? kVec : 0);

  static inline void put(uint8_t* panel, int quad, V v) {
    uint8_t* at = panel + (quad / 8) * 8 * kVec * kPlanes + (quad % 8) * kVec;
    if (kPlanes == 1) {
      v_store(at, v);
    } else {
      const V nibble = v_set32(0x0f0f0f0f);
      v_store(at, v_and(v, nibble));
      v_store(at + 8 * kVec, v_and(v_srl<4>(v), nibble));
    }
  }
};

template <int Block, int Bytes, int Offset, int Mins, int GroupQuads, int Run, bool Wide = false, bool Signed = false,
          bool Two = false>
struct Shape : PanelForm<Block, Offset != 0 && !Signed, Mins, GroupQuads, kSixteenBit ? Run : 0,
                      Wide && kSixteenBit ? 2 : 1, Signed, Two> {
  typedef PanelForm<Block, Offset != 0 && !Signed, Mins, GroupQuads, kSixteenBit ? Run : 0, Wide && kSixteenBit ? 2 : 1,
                 Signed, Two>
      Panel;
  static constexpr int kBytes = Bytes;
  static constexpr int kOffset = Signed ? 0 : Offset;
  static constexpr int kParts = 1;        // blocks of 32 values in kBytes, where those of the file are larger
  static constexpr int kOdd = Bytes % 4;  // bytes of a block that fill no word: see packed.h
  static constexpr int kOddFront = Block == 32 ? kOdd : 0;
};

// What makes signed 8-bit weights the bytes the dot product takes.
constexpr int kOffset8 = kSignedBytes ? 0 : 128;
constexpr int kSign8 = kSignedBytes ? 0 : static_cast<int>(0x80808080u);

// An int in every lane as the scale the ISA multiplies with: int32, or two equal int16.
static inline V as_scale(V v) {
  return kSixteenBit ? v_or(v_and(v, v_set32(0xffff)), v_sll<16>(v)) : v;
}
static inline V twice16(V v) { return v_or(v_and(v, v_set32(0xffff)), v_sll<16>(v)); }

// Byte i of every lane, zero- or sign-extended; i is a loop constant after unrolling.
static inline V byte_of(V v, int i) {
  const V m = v_set32(255);
  switch (i) {
    case 0: return v_and(v, m);
    case 1: return v_and(v_srl<8>(v), m);
    case 2: return v_and(v_srl<16>(v), m);
    default: return v_srl<24>(v);
  }
}
static inline V signed_byte_of(V v, int i) {
  switch (i) {
    case 0: return v_sra<24>(v_sll<24>(v));
    case 1: return v_sra<24>(v_sll<16>(v));
    case 2: return v_sra<24>(v_sll<8>(v));
    default: return v_sra<24>(v);
  }
}

// The sink that keeps the weights in the panel.
template <class P>
struct Keep {
  static inline void put(uint8_t* panel, int quad, V v) { P::put(panel, quad, v); }
  static inline void open(int) {}
  static inline void close(const uint8_t*, int) {}
};

// A block of kLanes rows as they lie in a file. quads(o, q): 16 bytes from byte o on, transposed; odd(): the odd bytes,
// in the low end of a lane.
template <class P>
struct RowBlock {
  static constexpr bool kPacked = false;
  const uint8_t* const* p;
  int64_t at;
  int part;
  inline HW_INLINE void quads(int o, V* q) const { v_load_quads(p, at + o, q); }
  inline HW_INLINE V odd() const {
    V q[4];  // the 16 bytes of the block that hold them
    v_load_quads(p, at + (P::kOddFront ? 0 : P::kBytes - 16), q);
    return P::kOddFront ? q[0] : v_srl<16>(q[3]);
  }
};

// kLanes rows of a matrix from byte `at` of each on, where a chunk begins; rows past the end repeat the last one.
struct FileRows {
  static constexpr bool kPacked = false;
  const uint8_t* p[kLanes];
  FileRows(const uint8_t* w, int64_t row_bytes, int row, int rows, int64_t at) {
    for (int i = 0; i < kLanes; i++) p[i] = w + (row + i < rows ? row + i : rows - 1) * row_bytes + at;
  }
  // Block `b` of the `blocks` that are there.
  template <class P>
  inline HW_INLINE RowBlock<P> block(int b, int) const {
    return {p, static_cast<int64_t>(b / P::kParts) * P::kBytes, b % P::kParts};
  }
};

// A panel of `blocks` blocks from byte `at` of rows `row` and following.
template <class P, class Rows>
static void unpack_panel(const uint8_t* w, int64_t row_bytes, int row, int rows, int64_t at, int blocks,
                         uint8_t* panel) {
  const Rows from(w, row_bytes, row, rows, at);
  Keep<P> keep;
  for (int b = 0; b < blocks; b++) P::unpack(from.template block<P>(b, blocks), panel + b * P::kPanel, keep);
}

#include "gemm_unpack_32.inl"
#include "gemm_unpack_256.inl"
#include "gemm_unpack_grid.inl"
#include "gemm_unpack_parts.inl"
