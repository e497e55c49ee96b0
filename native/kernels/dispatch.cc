// Which kernel table this process uses. Tables are cumulative: each ISA's fills go over a copy of the next lower table.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)
#define HW_X64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(_WIN32)
extern "C" __declspec(dllimport) int __stdcall IsProcessorFeaturePresent(unsigned long feature);
#endif

namespace hw {
namespace {

#if HW_X64
struct CpuidLeaf {
  uint32_t eax, ebx, ecx, edx;
};

CpuidLeaf cpuid(uint32_t leaf, uint32_t sub) {
  CpuidLeaf r = {0, 0, 0, 0};
#if defined(_MSC_VER)
  int v[4];
  __cpuidex(v, static_cast<int>(leaf), static_cast<int>(sub));
  r = {static_cast<uint32_t>(v[0]), static_cast<uint32_t>(v[1]), static_cast<uint32_t>(v[2]),
       static_cast<uint32_t>(v[3])};
#else
  __cpuid_count(leaf, sub, r.eax, r.ebx, r.ecx, r.edx);
#endif
  return r;
}

// Which register files the operating system saves. Only valid when OSXSAVE is set.
uint64_t xcr0() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
#endif
}

bool has_bits(uint32_t value, uint32_t bits) { return (value & bits) == bits; }

bool cpu_has_avx2() {
  if (cpuid(0, 0).eax < 7) return false;
  const uint32_t leaf1 = 1u << 12 | 1u << 23 | 1u << 27 | 1u << 28 | 1u << 29;  // FMA POPCNT OSXSAVE AVX F16C
  if (!has_bits(cpuid(1, 0).ecx, leaf1)) return false;
  if ((xcr0() & 0x06) != 0x06) return false;  // XMM and YMM
  return has_bits(cpuid(7, 0).ebx, 1u << 5 | 1u << 8);  // AVX2 BMI2
}

#if !defined(HW_NO_AVXVNNI)
bool cpu_has_avxvnni() {
  return cpu_has_avx2() && cpuid(7, 0).eax >= 1 && has_bits(cpuid(7, 1).eax, 1u << 4);
}
#endif

bool cpu_has_avx512() {
  if (!cpu_has_avx2() || (xcr0() & 0xe6) != 0xe6) return false;  // and opmask, upper ZMM, ZMM16-31
  const CpuidLeaf leaf7 = cpuid(7, 0);
  return has_bits(leaf7.ebx, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) &&  // F DQ BW VL
         has_bits(leaf7.ecx, 1u << 1 | 1u << 11);                          // VBMI VNNI
}
#endif

#if defined(__aarch64__)
bool cpu_has_neon_dotprod() {
#if defined(__linux__)
  const unsigned long bits = 1ul << 9 | 1ul << 10 | 1ul << 20;  // FPHP ASIMDHP ASIMDDP
  return (getauxval(AT_HWCAP) & bits) == bits;
#elif defined(__APPLE__)
  return true;  // from the first M1 on
#elif defined(_WIN32)
  return IsProcessorFeaturePresent(43) != 0;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE; those have half floats, too
#else
  return false;  // no way known here to ask
#endif
}
#endif

bool always() { return true; }

struct Isa {
  const char* name;
  bool (*cpu_has)();
  void (*fills[10])(Kernels*);
};

// Lowest first.
const Isa kIsas[] = {
    {"scalar", always, {fill_scalar_matmul, fill_scalar_units, fill_scalar_float, fill_scalar_attention}},
#if HW_X64
    {"avx2", cpu_has_avx2,
     {fill_avx2_matvec_q32, fill_avx2_matvec_k, fill_avx2_matvec_grid, fill_avx2_matvec_float, fill_avx2_quantize,
      fill_avx2_units, fill_avx2_gemm, fill_avx2_gemm_float, fill_avx2_float, fill_avx2_attention}},
#if !defined(HW_NO_AVXVNNI)
    {"avxvnni", cpu_has_avxvnni, {fill_avxvnni_gemm}},
#endif
    {"avx512", cpu_has_avx512,
     {fill_avx512_matvec_q32, fill_avx512_matvec_k, fill_avx512_matvec_grid, fill_avx512_matvec_float,
      fill_avx512_units, fill_avx512_gemm, fill_avx512_gemm_float, fill_avx512_float, fill_avx512_attention}},
#elif defined(__aarch64__)
    {"neon", cpu_has_neon_dotprod,
     {fill_neon_matvec_q32, fill_neon_matvec_k, fill_neon_matvec_grid, fill_neon_matvec_float, fill_neon_quantize,
      fill_neon_gemm, fill_neon_gemm_float, fill_neon_float, fill_neon_attention}},
#endif
};
constexpr int kIsaCount = static_cast<int>(sizeof(kIsas) / sizeof(kIsas[0]));

struct Tables {
  Kernels table[kIsaCount];
  bool usable[kIsaCount];

  Tables() {
    Kernels k = {};
    for (int i = 0; i < kIsaCount; i++) {
      usable[i] = kIsas[i].cpu_has();
      if (!usable[i]) continue;
      k.isa = kIsas[i].name;
      for (auto fill : kIsas[i].fills) {
        if (fill) fill(&k);
      }
      table[i] = k;
    }
  }
};

const Tables& tables() {
  static const Tables t;
  return t;
}

struct Choice {
  int index = 0;
  char error[256] = "";
  char note[256] = "";

  Choice() {
    const Tables& t = tables();
    const char* wanted = getenv("HUNDREDWEIGHT_ISA");
    if (wanted && *wanted) {
      choose_named(t, wanted);
      return;
    }
    for (int i = kIsaCount - 1; i > 0; i--) {
      if (!t.usable[i]) continue;
      const char* slot = self_check(t.table[i], t.table[0]);
      if (!slot) {
        index = i;
        return;
      }
      snprintf(note, sizeof note, "%s kernels not used: %s differs from scalar on this CPU", kIsas[i].name, slot);
    }
  }

  void choose_named(const Tables& t, const char* wanted) {
    char possible[128] = "";
    for (int i = 0; i < kIsaCount; i++) {
      if (!t.usable[i]) continue;
      const size_t used = strlen(possible);
      snprintf(possible + used, sizeof possible - used, "%s%s", used ? ", " : "", kIsas[i].name);
      if (strcmp(kIsas[i].name, wanted) != 0) continue;
      const char* slot = i == 0 ? nullptr : self_check(t.table[i], t.table[0]);
      if (!slot) {
        index = i;
        return;
      }
      snprintf(error, sizeof error, "HUNDREDWEIGHT_ISA=%s: %s differs from scalar on this CPU", wanted, slot);
      return;
    }
    snprintf(error, sizeof error, "HUNDREDWEIGHT_ISA=%.40s cannot be used here, this CPU and build have: %s", wanted,
             possible);
  }
};

const Choice& choice() {
  static const Choice c;
  return c;
}

}  // namespace

const Kernels& kernels() { return tables().table[choice().index]; }

const char* kernels_error() { return choice().error[0] ? choice().error : nullptr; }

const char* kernels_note() { return choice().note[0] ? choice().note : nullptr; }

const Kernels* kernels_for(const char* isa) {
  for (int i = 0; i < kIsaCount; i++) {
    if (strcmp(kIsas[i].name, isa) == 0) return tables().usable[i] ? &tables().table[i] : nullptr;
  }
  return nullptr;
}

const char* const* isa_names(int* count) {
  static const char* names[kIsaCount];
  static const bool filled = [] {
    for (int i = 0; i < kIsaCount; i++) names[i] = kIsas[i].name;
    return true;
  }();
  *count = filled ? kIsaCount : 0;
  return names;
}

}  // namespace hw
