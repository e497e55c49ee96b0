#include "cpu.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace hw {

namespace {

#if defined(__x86_64__)
void read_features(CpuInfo* info) {
  auto add = [info](bool has, const char* name) {
    if (has && info->feature_count < 32) info->features[info->feature_count++] = name;
  };
  // Asked directly: what __builtin_cpu_supports reads is part of some compilers' runtimes only.
  unsigned leaf1[4] = {}, leaf7[4] = {};
  __get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]);
  __get_cpuid_count(7, 0, &leaf7[0], &leaf7[1], &leaf7[2], &leaf7[3]);
  unsigned saved = 0, high = 0;  // registers that the system saves
  if ((leaf1[2] & (1u << 27)) != 0) __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  const bool avx = (saved & 0x06) == 0x06 && (leaf1[2] & (1u << 28)) != 0, avx512 = avx && (saved & 0xe6) == 0xe6;
  add(avx, "avx");
  add(avx && (leaf7[1] & (1u << 5)) != 0, "avx2");
  add(avx && (leaf1[2] & (1u << 12)) != 0, "fma");
  add((leaf7[1] & (1u << 8)) != 0, "bmi2");
  add(avx512 && (leaf7[1] & (1u << 16)) != 0, "avx512f");
  add(avx512 && (leaf7[1] & (1u << 30)) != 0, "avx512bw");
  add(avx512 && (leaf7[1] & (1u << 17)) != 0, "avx512dq");
  add(avx512 && (leaf7[1] & (1u << 31)) != 0, "avx512vl");
  add(avx512 && (leaf7[2] & (1u << 11)) != 0, "avx512vnni");
  add(avx512 && (leaf7[2] & (1u << 1)) != 0, "avx512vbmi");
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    add(avx && (a & (1u << 4)) != 0, "avxvnni");
    add(avx512 && (a & (1u << 5)) != 0, "avx512bf16");
  }
}

void read_model(CpuInfo* info) {
  unsigned words[12] = {};
  for (unsigned i = 0; i < 3; i++) {
    __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
  }
  static_assert(sizeof words < sizeof info->model, "48 characters");
  memcpy(info->model, words, sizeof words);
}
#else
void read_features(CpuInfo* info) {
  info->features[info->feature_count++] = "neon";
#if defined(__aarch64__) && defined(__linux__)
  unsigned long caps = getauxval(AT_HWCAP);
  if (caps & (1ul << 20)) info->features[info->feature_count++] = "dotprod";
  if (caps & (1ul << 10)) info->features[info->feature_count++] = "fp16";
#endif
}

void read_model(CpuInfo* info) {
#if defined(__APPLE__)
  size_t size = sizeof info->model - 1;
  sysctlbyname("machdep.cpu.brand_string", info->model, &size, nullptr, 0);
#else
  snprintf(info->model, sizeof info->model, "aarch64");
#endif
}
#endif

}  // namespace

void read_cpu_info(CpuInfo* info) {
  *info = CpuInfo();
  read_model(info);
  read_features(info);
  info->cores = count_cores();
}

}  // namespace hw
