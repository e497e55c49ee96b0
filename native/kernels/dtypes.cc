// The weight types that have kernels.
#include "kernels.h"

namespace hw {
namespace {

const DtypeInfo kInfos[] = {
    {F32, "f32", 1, 4, ACTS_F32, -1, -1},         {F16, "f16", 1, 2, ACTS_F32, -1, -1},
    {BF16, "bf16", 1, 2, ACTS_F32, -1, -1},       {Q4_0, "q4_0", 32, 18, ACTS_Q8_32, 0, -1},
    {Q4_1, "q4_1", 32, 20, ACTS_Q8_32, 0, 2},     {Q5_0, "q5_0", 32, 22, ACTS_Q8_32, 0, -1},
    {Q5_1, "q5_1", 32, 24, ACTS_Q8_32, 0, 2},     {Q8_0, "q8_0", 32, 34, ACTS_Q8_32, 0, -1},
    {Q2_K, "q2_k", 256, 84, ACTS_Q8_256, 80, 82}, {Q3_K, "q3_k", 256, 110, ACTS_Q8_256, 108, -1},
    {Q4_K, "q4_k", 256, 144, ACTS_Q8_256, 0, 2},  {Q5_K, "q5_k", 256, 176, ACTS_Q8_256, 0, 2},
    {Q6_K, "q6_k", 256, 210, ACTS_Q8_256, 208, -1}, {IQ4_NL, "iq4_nl", 32, 18, ACTS_Q8_32, 0, -1},
    {IQ4_XS, "iq4_xs", 256, 136, ACTS_Q8_256, 0, -1}, {MXFP4, "mxfp4", 32, 17, ACTS_Q8_32, 0, -1},
    {IQ2_XXS, "iq2_xxs", 256, 66, ACTS_Q8_256, 0, -1}, {IQ2_XS, "iq2_xs", 256, 74, ACTS_Q8_256, 0, -1},
    {IQ2_S, "iq2_s", 256, 82, ACTS_Q8_256, 0, -1}, {IQ3_XXS, "iq3_xxs", 256, 98, ACTS_Q8_256, 0, -1},
    {IQ3_S, "iq3_s", 256, 110, ACTS_Q8_256, 0, -1}, {IQ1_S, "iq1_s", 256, 50, ACTS_Q8_256, 0, -1},
    {IQ1_M, "iq1_m", 256, 56, ACTS_Q8_256, -1, -1}, {TQ1_0, "tq1_0", 256, 54, ACTS_Q8_256, 52, -1},
    {TQ2_0, "tq2_0", 256, 66, ACTS_Q8_256, 64, -1}, {NVFP4, "nvfp4", 64, 36, ACTS_Q8_32, -1, -1},
    {Q1_0, "q1_0", 128, 18, ACTS_Q8_32, 0, -1},   {Q2_0, "q2_0", 64, 18, ACTS_Q8_32, 0, -1},
};
constexpr int kCount = static_cast<int>(sizeof(kInfos) / sizeof(kInfos[0]));

}  // namespace

const DtypeInfo* dtype_info(int32_t dtype) {
  for (const DtypeInfo& info : kInfos) {
    if (info.dtype == dtype) return &info;
  }
  return nullptr;
}

const DtypeInfo* dtype_infos(int* count) {
  *count = kCount;
  return kInfos;
}

}  // namespace hw
