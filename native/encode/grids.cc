#include "grids.h"

#include <mutex>
#include <new>
#include <vector>

#include "../kernels/codebooks.h"

namespace hw {
namespace {

struct Made {
  Grid grid = {};
  std::vector<int32_t> entry_of;
  std::vector<uint16_t> around;
  std::vector<int8_t> odd, entries;
  std::vector<uint8_t> tiles;
  std::vector<float> decoded;
};

// `shift` takes a value of the decoder's table to its letter. `shells`: so many different distances are neighbours.
template <typename Table>
void make(const Table& table, int count, int values, int shift, int shells, Made* made) {
  Grid& g = made->grid;
  const int bits = values == 8 ? 2 : 3, of = values == 8 ? 3 : 8;
  const int points = 1 << (bits * values), mask = (1 << bits) - 1;
  made->entry_of.assign(static_cast<size_t>(points), INT32_MIN);
  made->entries.resize(static_cast<size_t>(count * values));
  made->decoded.resize(static_cast<size_t>(count * values));
  for (int e = 0; e < count; e++) {
    int point = 0;
    for (int k = 0; k < values; k++) {
      const int letter = static_cast<int>(table.entry[e] >> (8 * k) & 255) >> shift;
      point |= letter << (bits * k);
      made->entries[static_cast<size_t>(e * values + k)] = static_cast<int8_t>(2 * letter + 1);
      made->decoded[static_cast<size_t>(e * values + k)] = static_cast<float>(table.entry[e] >> (8 * k) & 255);
    }
    made->entry_of[static_cast<size_t>(point)] = e;
  }
  std::vector<int> distance(static_cast<size_t>(count));
  std::vector<uint16_t> list;
  for (int point = 0; point < points; point++) {
    int letters[8];
    bool possible = true;
    for (int k = 0; k < values; k++) {
      letters[k] = point >> (bits * k) & mask;
      possible = possible && letters[k] < of;
    }
    if (made->entry_of[static_cast<size_t>(point)] >= 0) continue;
    if (!possible) {
      made->entry_of[static_cast<size_t>(point)] = 0;
      continue;
    }
    for (int e = 0; e < count; e++) {
      int sum = 0;
      for (int k = 0; k < values; k++) {
        const int diff = made->entries[static_cast<size_t>(e * values + k)] - (2 * letters[k] + 1);
        sum += diff * diff;
      }
      distance[static_cast<size_t>(e)] = sum;
    }
    list.clear();
    for (int shell = 0, beyond = -1; shell < shells; shell++) {
      int nearest = INT32_MAX;
      for (int d : distance) nearest = d > beyond && d < nearest ? d : nearest;
      if (nearest == INT32_MAX) break;
      for (int e = 0; e < count; e++)
        if (distance[static_cast<size_t>(e)] == nearest) list.push_back(static_cast<uint16_t>(e));
      beyond = nearest;
    }
    const int place = static_cast<int>(made->around.size() / 16);
    made->entry_of[static_cast<size_t>(point)] = -1 - place;
    while (list.size() % 16 != 0) list.push_back(list[0]);
    for (size_t from = 0; from < list.size(); from += 16) {
      made->tiles.push_back(static_cast<uint8_t>((list.size() - from) / 16));
      for (size_t i = 0; i < 16; i++) made->around.push_back(list[from + i]);
      for (int k = 0; k < values; k++) {
        for (size_t i = 0; i < 16; i++)
          made->odd.push_back(made->entries[static_cast<size_t>(list[from + i] * values + k)]);
      }
    }
  }
  g.entry_of = made->entry_of.data();
  g.around = made->around.data();
  g.odd = made->odd.data();
  g.tiles = made->tiles.data();
  g.entries = made->entries.data();
  g.decoded = made->decoded.data();
  g.count = count;
}

}  // namespace

const Grid* grid(Book book) {
  static std::mutex mutex;
  static Made* books[6];
  const std::lock_guard<std::mutex> lock(mutex);
  Made*& made = books[static_cast<int>(book)];
  if (made != nullptr) return &made->grid;
  made = new (std::nothrow) Made;
  if (made == nullptr) return nullptr;
  switch (book) {
    case Book::iq1: make(kGridIQ1, 2048, 8, 0, 3, made); break;
    case Book::iq2_xxs: make(kGridIQ2_XXS, 256, 8, 4, 2, made); break;
    case Book::iq2_xs: make(kGridIQ2_XS, 512, 8, 4, 2, made); break;
    case Book::iq2_s: make(kGridIQ2_S, 1024, 8, 4, 1, made); break;
    case Book::iq3_xxs: make(kGridIQ3_XXS, 256, 4, 3, 2, made); break;
    case Book::iq3_s: make(kGridIQ3_S, 512, 4, 1, 3, made); break;
  }
  return &made->grid;
}

}  // namespace hw
