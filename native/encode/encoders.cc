#include <string.h>

#include "encode.h"

namespace hw {

const Encoders& encoders_for(const char* isa) {
  struct Tables {
    Encoders portable = {}, avx2 = {}, avx512 = {};
    Tables() {
      fill_portable_encode(&portable);
      fill_portable_integers(&portable);
#if defined(__x86_64__)
      fill_avx2_encode(&avx2);
      fill_avx2_integers(&avx2);
      fill_avx512_encode(&avx512);
      fill_avx512_integers(&avx512);
#endif
    }
  };
  static const Tables tables;
#if defined(__x86_64__)
  if (strcmp(isa, "avx512") == 0) return tables.avx512;
  if (strcmp(isa, "avx2") == 0 || strcmp(isa, "avxvnni") == 0) return tables.avx2;
#else
  (void)isa;
#endif
  return tables.portable;
}

}  // namespace hw
