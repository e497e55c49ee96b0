// What the experts of a layer and the pairs of matrices beside them share.
#pragma once
#include "products.h"

namespace hw {
namespace ops {

struct ExpertShapes {
  int64_t rows, top_k, experts, dim, hidden;
  int64_t weighed;  // columns of the rows that weights multiply; 0: they multiply what comes out
  int64_t pairs() const { return rows * top_k; }
  // Hidden rows of a wave: every pair of a small pass, at least one row per token row of a large one.
  int64_t wave_pairs() const { return std::max(rows, std::min(pairs(), kExpertWavePairs)); }
};

struct ExpertLayout {
  // i32: position of each pair in the order by expert; token row of each position, or its pair where rows are weighed;
  // first position of each expert
  int32_t *position, *token, *first;
  int32_t* identity;  // 0, 1, 2, ...: a pick list of consecutive rows from any start
  int32_t* chosen;    // rows of a wave that adapters are for; expert_pairs.cc
  ProductTask* tasks;
  float *gate, *up;  // [wave_pairs][hidden]
  float* y;          // [pairs][dim], in order by expert
  float* weighed;    // [pairs][cols] where weights multiply what goes in
};

// The matrices of an expert, in the order in which they are given.
enum ExpertSide : int32_t { SIDE_GATE, SIDE_UP, SIDE_DOWN, EXPERT_SIDES };

// Pairs beside the matrices of experts: what adapters add. Each has a factor for every token row; rows of factor 0 are
// neither computed nor written, so their bits are those of a model without the pair.
struct ExpertPairs {
  Slice<const int32_t> numbers;  // [side, a, b] each, by handle
  Slice<const float> factors;    // [pairs][token rows]
  int64_t count() const { return numbers.length / 3; }

  // Shapes, and one factor for each row.
  Status check(Model& model, const ExpertShapes& s, int64_t cols, bool gated) const;
  // The forms of activations that the first halves of a side's pairs multiply with, as bits.
  Result<int32_t> kinds(Model& model, int32_t side) const;
  // Bytes of `chosen`.
  int64_t order_bytes(const ExpertShapes& s) const;
  // Products of a wave of so many experts, at most.
  int64_t tasks(int64_t experts) const;
  // out = fma(factor, b (a x), out) for the rows of a wave that have been multiplied with the base of a side, pair by
  // pair in their order. `acts` are what went into it, by kind. Leaves other rows in the hidden acts.
  Status add(Model& model, const ExpertShapes& s, const ExpertLayout& layout, int32_t side, const Acts* acts,
             const ExpertSlots::Wanted* wave, size_t size, float* out, int64_t stride) const;
};

}  // namespace ops
}  // namespace hw
