// The CPU as `doctor` shows it. Dispatch does its own probing (kernels/dispatch.cc).
#pragma once

namespace hw {

struct CpuInfo {
  char model[64];
  const char* features[32];
  int feature_count;
  int physical_cores;  // of the machine; at least 1
};

void read_cpu_info(CpuInfo* info);

}  // namespace hw
