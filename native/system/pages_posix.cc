#include <sys/mman.h>

#include "pages.h"

namespace hw {

namespace {

uint8_t* map(size_t bytes, int flags) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
}

void advise_huge_pages(uint8_t* pages, size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(pages, bytes, MADV_HUGEPAGE);
#else
  (void)pages, (void)bytes;
#endif
}

}  // namespace

uint8_t* map_lazy_pages(size_t bytes, bool huge) {
  uint8_t* pages = map(bytes, MAP_NORESERVE);
  if (pages != nullptr && huge) advise_huge_pages(pages, bytes);
  return pages;
}

uint8_t* map_kept_pages(size_t bytes, size_t align) {
  const size_t whole = bytes + align;
  uint8_t* start = map(whole, 0);
  if (start == nullptr) return nullptr;
  const uintptr_t mask = align - 1;
  uint8_t* first = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(start) + mask) & ~mask);
  if (first > start) munmap(start, static_cast<size_t>(first - start));
  if (start + whole > first + bytes) munmap(first + bytes, static_cast<size_t>(start + whole - (first + bytes)));
  if (align == kHugePage) advise_huge_pages(first, bytes);
#ifdef MADV_DONTDUMP
  madvise(first, bytes, MADV_DONTDUMP);
#endif
  return first;
}

void unmap_pages(uint8_t* pages, size_t bytes) { munmap(pages, bytes); }

bool give_back_pages(uint8_t* first, size_t bytes) { return munmap(first, bytes) == 0; }

bool lock_pages(uint8_t* pages, size_t bytes) { return mlock(pages, bytes) == 0; }

void unlock_pages(uint8_t*, size_t) {}  // what is unmapped is not locked any more

void advise_small_pages(uint8_t* pages, size_t bytes) {
#ifdef MADV_NOHUGEPAGE
  madvise(pages, bytes, MADV_NOHUGEPAGE);
#else
  (void)pages, (void)bytes;
#endif
}

}  // namespace hw
