// The physical cores of the machine: cores_linux.cc, cores_macos.cc, cores_windows.cc.
#pragma once

namespace hw {

struct Cores {
  int physical = 1;
  // Those of the fastest kind, where the system tells kinds apart; else all of them.
  int fastest = 1;
};

Cores count_cores();

}  // namespace hw
