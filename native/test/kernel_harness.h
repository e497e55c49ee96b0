// What the kernel test programs share: memory that faults one byte past its end, canaries in front, bit comparison,
// counting, and the line that reruns a failure. No framework.
#pragma once
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "kernels/sample.h"
#include "system.h"

namespace hw {

// `bytes` bytes that end exactly at a page without access; 64 canary bytes lie in front of them.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes) {
    const size_t page = test_system::page_bytes();
    mapped_ = (bytes + kFront + page - 1) / page * page + page;
    base_ = test_system::map_guarded(mapped_);
    if (base_ == nullptr) {
      perror("guard page");
      exit(2);
    }
    data_ = base_ + mapped_ - page - bytes;
    memset(data_ - kFront, 0xA5, kFront);
  }
  ~Guarded() { test_system::unmap_guarded(base_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  template <class T>
  T* as() {
    return (T*)data_;
  }
  size_t bytes() const { return bytes_; }
  bool intact() const {
    for (size_t i = 1; i <= kFront; i++)
      if (data_[-(ptrdiff_t)i] != 0xA5) return false;
    return true;
  }

 private:
  static constexpr size_t kFront = 64;
  size_t bytes_, mapped_;
  uint8_t *base_, *data_;
};

// Bit patterns agree, or both are NaN (kernels.h: a NaN's payload is not part of the contract).
static inline bool same_float(float a, float b) { return float_bits(a) == float_bits(b) || (a != a && b != b); }

// What a program was asked for: [SEED] [--whole] [--filter TEXT] [--vectors FOLDER]. Without --whole it runs a part of
// its sweep that the seed draws, small enough for emulators and sanitizers; every run draws another.
struct Options {
  uint64_t seed = (uint64_t)time(nullptr);
  bool whole = false;
  const char *filter = "", *vectors = nullptr;

  Options(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
      const char* value = i + 1 < argc ? argv[i + 1] : "";
      if (!strcmp(argv[i], "--whole")) whole = true;
      else if (!strcmp(argv[i], "--filter")) filter = value, i++;
      else if (!strcmp(argv[i], "--vectors")) vectors = value, i++;
      else if (argv[i][0] >= '0' && argv[i][0] <= '9') seed = strtoull(argv[i], nullptr, 10);
      else fprintf(stderr, "unknown argument %s\n", argv[i]), exit(2);
    }
  }
};

struct Report {
  const char* program;
  uint64_t seed;
  bool whole;
  int64_t checks = 0, failures = 0;

  Report(const char* name, const char* path, const Options& options)
      : program(name), seed(options.seed), whole(options.whole) {
    printf("%s: %s, seed %llu, rerun with: %s %llu%s\n", name, whole ? "the whole sweep" : "a part of the sweep",
           (unsigned long long)seed, path, (unsigned long long)seed, whole ? " --whole" : "");
  }
  bool check(bool ok, const char* format, ...) __attribute__((format(printf, 3, 4)));
  bool same(const float* got, const float* want, int64_t n, const char* what, const char* isa, int64_t size) {
    for (int64_t i = 0; i < n; i++)
      if (!same_float(got[i], want[i]))
        return check(false, "%s %s n=%lld: [%lld] is %a, scalar has %a", what, isa, (long long)size, (long long)i,
                     (double)got[i], (double)want[i]);
    return check(true, "%s", "");
  }
  int finish() {
    printf("%s: %lld checks, %lld failures\n", program, (long long)checks, (long long)failures);
    return failures ? 1 : 0;
  }
};

inline bool Report::check(bool ok, const char* format, ...) {
  checks++;
  if (ok) return true;
  if (++failures <= 20) {
    va_list args;
    va_start(args, format);
    printf("FAIL ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
  }
  return false;
}

// Every ISA this CPU can run beside scalar; says which ones it could not.
struct Isas {
  const Kernels* scalar = kernels_for("scalar");
  const Kernels* others[8];
  int count = 0;
  Isas() {
    int n;
    const char* const* names = isa_names(&n);
    for (int i = 0; i < n; i++) {
      const Kernels* k = kernels_for(names[i]);
      if (!k) printf("NOT TESTED: this CPU cannot run %s\n", names[i]);
      else if (k != scalar) others[count++] = k;
    }
    printf("tested against scalar:");
    for (int i = 0; i < count; i++) printf(" %s", others[i]->isa);
    printf("\n");
  }
};

// Values of four tempers: ordinary, of any magnitude, small and signed zeros and subnormals, specials among ordinary.
static inline float sample_float(SampleRng& rng, int temper) {
  const float x = rng.uniform();
  switch (temper) {
    case 0: return x * 4.0f;
    case 1: return bits_float((uint32_t)(rng.next() >> 32) & 0xBFFFFFFFu) * (rng.below(2) ? 1.0f : 1e19f);
    case 2: return rng.below(4) == 0 ? (rng.below(2) ? -0.0f : 0.0f) : x * 0x1p-140f;
    default: {
      const float specials[6] = {INFINITY, -INFINITY, NAN, 3e38f, -0.0f, 1e-42f};
      return rng.below(8) == 0 ? specials[rng.below(6)] : x * 100.0f;
    }
  }
}
constexpr int kTempers = 4;

}  // namespace hw
