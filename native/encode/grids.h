// The code books as encoders search them: from the code of a point to its entry, and for points that are none the
// entries around it, nearest first.
#pragma once
#include <stdint.h>

namespace hw {

enum class Book { iq1, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s };

// A point has 8 letters of 2 bits, or 4 of 3 bits; letter l stands for 2 l + 1.
struct Grid {
  // Point -> entry, or -1 - the place of its first tile.
  const int32_t* entry_of;
  // Entries around a point, sixteen a tile, which repeats the first one at its end.
  const uint16_t* around;
  // The same as odd numbers, [tile][value][16].
  const int8_t* odd;
  // Tiles of a point begin at its place and number so many.
  const uint8_t* tiles;
  // Entry -> its odd numbers, [entry][values].
  const int8_t* entries;
  // Entry -> its magnitudes as decoders have them, [entry][values].
  const float* decoded;
  int count;
};

// Made when it is first asked for, by one thread; null when there is no memory. It stays.
const Grid* grid(Book book);

}  // namespace hw
