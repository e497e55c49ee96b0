// How the weight rows of a parallel region are cut into parts. Never changes a result.
#pragma once
#include "products.h"

namespace hw {
namespace ops {

// Results that wait to join what is in `out` live in thread scratch, kAddValues or 16 weight rows of them at least.
bool uses_gemm(const Kernels& kernels, const ProductTask& task);

// Sets the `step` of tasks whose `rows` run in one region.
void choose_steps(Model& model, ProductTask* tasks, int32_t count);

}  // namespace ops
}  // namespace hw
