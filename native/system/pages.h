// Memory in whole pages from the system. One file a system: pages_posix.cc (what Linux and macOS have in common, with
// the advice each of them knows), pages_windows.cc.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace hw {

constexpr size_t kHugePage = size_t{2} << 20;

// Zeroes that cost no memory before they are touched (Windows: they count against what it has committed). Huge pages
// are advised. Null when the system refuses.
uint8_t* map_lazy_pages(size_t bytes, bool huge);
// For memory that stays: aligned, kept out of core files, huge pages where `align` is kHugePage; on Windows these are
// its large pages where the user may lock memory. `bytes` is a multiple of 4,096.
uint8_t* map_kept_pages(size_t bytes, size_t align);
void unmap_pages(uint8_t* pages, size_t bytes);
// Pages at the end of what was mapped go back to the system. False: they cannot apart from the others, and stay.
bool give_back_pages(uint8_t* first, size_t bytes);
// Keeps them from being paged out; touches all of them. False when a limit forbids it.
bool lock_pages(uint8_t* pages, size_t bytes);
// Before they are unmapped, where locking raised a quota.
void unlock_pages(uint8_t* pages, size_t bytes);
// Ordinary pages are wanted, to compare.
void advise_small_pages(uint8_t* pages, size_t bytes);

}  // namespace hw
