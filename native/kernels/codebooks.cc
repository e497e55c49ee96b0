// The code books, unpacked by the compiler from the text that the plain decoders in src/formats have too.
#include "codebooks.h"

namespace hw {
namespace {

#include "codebook_grids.inc"

constexpr uint32_t base64(char c) {
  return static_cast<uint32_t>(c >= 'a'   ? c - 'a' + 26
                               : c >= 'A' ? c - 'A'
                               : c >= '0' ? c - '0' + 52
                               : c == '+' ? 62
                                          : 63);
}

constexpr uint32_t byte_at(const char* text, int i) {
  const char* p = text + i / 3 * 4;
  const uint32_t two = i % 3 == 0 ? base64(p[0]) << 6 | base64(p[1])
                       : i % 3 == 1 ? base64(p[1]) << 6 | base64(p[2])
                                    : base64(p[2]) << 6 | base64(p[3]);
  return two >> (i % 3 == 0 ? 4 : i % 3 == 1 ? 2 : 0) & 255;
}

// `letters`: 3, of 2 bits each in an entry of 8, or 8, of 3 bits each in an entry of 4.
template <class Entry, int kCount>
constexpr CodeBook<Entry, kCount> unpack(const char* text, const uint8_t* letters) {
  CodeBook<Entry, kCount> grid = {};
  constexpr int values = sizeof(Entry), bits = values == 8 ? 2 : 3;
  for (int i = 0; i < kCount; i++) {
    const uint32_t word = byte_at(text, 2 * i) | byte_at(text, 2 * i + 1) << 8;
    Entry entry = 0;
    for (int k = 0; k < values; k++) {
      entry |= static_cast<Entry>(letters[word >> (bits * k) & ((1 << bits) - 1)]) << (8 * k);
    }
    grid.entry[i] = entry;
  }
  return grid;
}

constexpr CodeBook<uint8_t, 128> even_signs() {
  CodeBook<uint8_t, 128> signs = {};
  for (int i = 0; i < 128; i++) {
    int parity = 0;
    for (int k = 0; k < 7; k++) parity ^= i >> k & 1;
    signs.entry[i] = static_cast<uint8_t>(i | parity << 7);
  }
  return signs;
}

constexpr uint8_t kIQ2[] = {8, 25, 43, 0}, kIQ1[] = {0, 1, 2, 0};
constexpr uint8_t kIQ3XXS[] = {4, 12, 20, 28, 36, 44, 52, 62}, kIQ3S[] = {1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace

constexpr CodeBook<uint64_t, 256> kGridIQ2_XXS = unpack<uint64_t, 256>(k_iq2xxs, kIQ2);
constexpr CodeBook<uint64_t, 512> kGridIQ2_XS = unpack<uint64_t, 512>(k_iq2xs, kIQ2);
constexpr CodeBook<uint64_t, 1024> kGridIQ2_S = unpack<uint64_t, 1024>(k_iq2s, kIQ2);
constexpr CodeBook<uint32_t, 256> kGridIQ3_XXS = unpack<uint32_t, 256>(k_iq3xxs, kIQ3XXS);
constexpr CodeBook<uint32_t, 512> kGridIQ3_S = unpack<uint32_t, 512>(k_iq3s, kIQ3S);
constexpr CodeBook<uint64_t, 2048> kGridIQ1 = unpack<uint64_t, 2048>(k_iq1, kIQ1);
constexpr CodeBook<uint8_t, 128> kEvenSigns = even_signs();

}  // namespace hw
