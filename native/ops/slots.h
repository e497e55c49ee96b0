// States that are replaced and not added to. A slot holds those of all layers of a model at one position of a
// sequence, f32; a pass reads one slot of each sequence and writes another, and keeps what it fed in where drafts may
// be refused.
#pragma once
#include "../model.h"

namespace hw {

struct SlotLayer {
  // A tail of a convolution: the last `keys` rows of `values` columns. Matrices: [heads][keys][values]. A block: how
  // many of its rows have come, and their sums (compress.cc).
  SlotKind kind;
  int32_t every;  // rows of a block
  int32_t heads, keys, values, key_heads, decays;
  bool tiled, correct;
  int64_t offset;       // of its values in a slot
  int64_t kept_offset;  // of its rows [kKeptRows][kept] in a place for inputs
  int64_t kept;         // values of such a row: a tail's columns; k, v, decay, beta; a block's values and gates

  // A block's sums: of the rows that are its own, and where blocks overlap of the next one's half as well.
  bool overlaps() const { return keys == 10; }
  int32_t key_head(int32_t head) const { return tiled ? head % key_heads : head / (heads / key_heads); }
};

// The rows [t0, t1) of a sequence in the pass, and its marks [m0, m1).
struct SlotRun {
  int32_t t0, t1;
  int32_t from, to, keep;  // slots, and the place for its inputs; -1: from zeros, nothing is kept
  int32_t m0, m1;
};

// The state after row t goes to a slot of its own besides.
struct SlotMark {
  int32_t t, slot;
};

struct SlotPool : Object {
  static constexpr Kind kKind = Kind::slot_pool;
  SlotPool() : Object(kKind) {}
  int32_t slots = 0, keeps = 0;
  int64_t slot_values = 0, keep_values = 0;
  std::vector<SlotLayer> layers;
  Buffer memory, kept;
  Buffer runs, marks;  // SlotRun, SlotMark [slots]: each sequence of a pass and each mark writes a slot of its own
  int32_t run_count = 0;
  uint64_t pass = 0;  // the pass whose runs these are

  float* state(int32_t slot, const SlotLayer& layer) const {
    return memory.as<float>() + slot * slot_values + layer.offset;
  }
  float* kept_row(int32_t keep, const SlotLayer& layer, int64_t row) const {
    return kept.as<float>() + keep * keep_values + layer.kept_offset + row * layer.kept;
  }
  const SlotRun* run(int32_t index) const { return runs.as<SlotRun>() + index; }
  const SlotMark* mark(int32_t index) const { return marks.as<SlotMark>() + index; }
};

// layers: SlotLayerNumber of each.
Result<int32_t> slot_pool(Model& model, Slice<const int32_t> layers, int32_t slots, int32_t keeps);

namespace ops {

// After begin(): which slots the sequences of the pass read and write; marks: [row, slot] each, ascending.
Status begin_slots(Model& model, int32_t pool, Slice<const int32_t> slots, Slice<const int32_t> marks);
Status short_conv(Model& model, int32_t out, int32_t x, int32_t pool, int32_t layer, int32_t weight, int32_t bias,
                  int32_t n);
// inputs: q, k, v, decay, beta or 0
Status recur(Model& model, int32_t out, Slice<const int32_t> inputs, int32_t pool, int32_t layer, int32_t skip,
             int32_t n);
// Each row that ends a block: the block's rows made one; others: zeros.
Status compress(Model& model, int32_t out, int32_t values, int32_t gates, int32_t pool, int32_t layer,
                int32_t positions, int32_t n);
void replay_block(Model& model, const SlotPool& pool, const SlotLayer& layer, const float* from, float* to,
                  int32_t keep, int32_t rows);
// The first `rows` rows kept at `keep`, from slot `from` (-1: zeros) into slot `to`.
Status replay(Model& model, int32_t pool, int32_t from, int32_t to, int32_t keep, int32_t rows);

}  // namespace ops
}  // namespace hw
