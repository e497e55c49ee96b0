// The CPU as `doctor` shows it. Dispatch does its own probing (kernels/dispatch.cc).
#pragma once
#include "../system/cores.h"

namespace hw {

struct CpuInfo {
  char model[64] = "";
  const char* features[32] = {};
  int feature_count = 0;
  Cores cores;  // of the machine
};

void read_cpu_info(CpuInfo* info);

}  // namespace hw
