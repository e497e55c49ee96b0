#include <stdint.h>

#include <vector>

#include "cores.h"
#include "windows.h"

namespace hw {

Cores count_cores() {
  Cores none;
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &bytes);
  std::vector<uint64_t> memory(bytes / 8 + 1);
  uint8_t* data = reinterpret_cast<uint8_t*>(memory.data());
  if (bytes == 0 || GetLogicalProcessorInformationEx(
                        RelationProcessorCore, reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(data),
                        &bytes) == 0) {
    return none;
  }
  int physical = 0, fastest = 0, best = 0;
  for (DWORD at = 0; at < bytes;) {
    auto* core = reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(data + at);
    if (core->Size == 0) break;
    // A higher class is faster and takes more power.
    const int kind = core->Processor.EfficiencyClass;
    if (kind > best || physical == 0) best = kind, fastest = 0;
    if (kind == best) fastest++;
    physical++;
    at += core->Size;
  }
  return physical > 0 ? Cores{physical, fastest} : none;
}

}  // namespace hw
