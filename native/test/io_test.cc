// Reading in the background, pinned memory and mappings: every engine and mode gives the bytes of the file at any
// offset; files that shrink, change or cannot be read end in an error that names them; a mapping that shrinks does not
// kill.
#include "io_files.h"

#include <errno.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "../io/mapping.h"
#include "../io/pinned.h"
#include "../io/reader.h"

using namespace io_test;

namespace {

constexpr hw::IoEngine kEngines[] = {hw::IoEngine::uring, hw::IoEngine::threads};

struct Pieces {
  hw::PinnedMemory memory;
  std::vector<hw::Fill> fills;
  // Offset and length of each.
  Pieces(hw::DataFile& file, const std::vector<std::pair<int64_t, int64_t>>& wanted) {
    int64_t bytes = 0;
    for (auto& w : wanted) {
      fills.push_back(hw::Fill{&file, w.first, w.second, nullptr});
      bytes += hw::page_up(w.first + w.second) - hw::page_down(w.first);
    }
    check(memory.allocate(bytes), "memory");
    uint8_t* at = memory.data();
    for (hw::Fill& fill : fills) {
      fill.memory = at;
      at += hw::page_up(fill.offset + fill.bytes) - hw::page_down(fill.offset);
    }
  }
  bool right() const {
    for (const hw::Fill& fill : fills) {
      if (!same(fill.memory + fill.offset % hw::kPage, fill.offset, fill.bytes)) return false;
    }
    return true;
  }
};

void every_way_gives_the_bytes() {
  const int64_t size = 3 * 1024 * 1024 + 1234;  // the last page is cut
  TestFile source(size);
  for (hw::IoMode mode : {hw::IoMode::direct, hw::IoMode::buffered}) {
    for (hw::IoEngine engine : kEngines) {
      for (int depth : {1, 8}) {
        hw::DataFile file;
        check(file.open(source.path.c_str(), mode).ok, "open");
        check(file.bytes() == size, "size");
        std::unique_ptr<hw::Reader> reader(hw::Reader::open(engine, depth));
        for (int64_t request : {4096, 300000, 4 << 20}) {
          Pieces pieces(
              file, {{0, 1}, {1, 4096}, {4095, 2}, {12345, 1000003}, {size - 1, 1}, {size - 9000, 9000}, {0, size}});
          check(hw::fill_memory(*reader, pieces.fills.data(), pieces.fills.size(), nullptr, request).ok, "fill",
                request);
          check(pieces.right(), "bytes as in the file", request);
        }
        check(reader->bytes_read() >= 3 * size, "bytes counted", reader->bytes_read());
      }
    }
  }
  std::unique_ptr<hw::Reader> best(hw::Reader::open(hw::IoEngine::automatic, 4));
  printf("io: the best engine here is %s\n", best->name());
}

int refuse_all(const hw::ReadJob&) { return EIO; }
int refuse_second_mebibyte(const hw::ReadJob& job) { return job.offset >= 1 << 20 ? EIO : 0; }
int wait_a_little(const hw::ReadJob&) {
  test_system::sleep_microseconds(30000);
  return 0;
}

int wait_a_millisecond(const hw::ReadJob&) {
  test_system::sleep_microseconds(1000);
  return 0;
}

void failures_are_reported() {
  for (hw::IoMode mode : {hw::IoMode::direct, hw::IoMode::buffered}) {
    for (hw::IoEngine engine : kEngines) {
      TestFile source(2 << 20);
      hw::DataFile file;
      check(file.open(source.path.c_str(), mode).ok, "open");
      std::unique_ptr<hw::Reader> reader(hw::Reader::open(engine, 4));
      Pieces pieces(file, {{100, (2 << 20) - 200}});
      auto fill = [&](const int32_t* flag) { return hw::fill_memory(*reader, pieces.fills.data(), 1, flag, 65536); };
      hw::set_read_fault(refuse_second_mebibyte);
      check(failed_with(fill(nullptr), "FILE_IO", "offset 1048576"), "EIO names the place");
      check(strstr(hw::last_error().message, source.path.c_str()) != nullptr, "EIO names the file");
      hw::set_read_fault(refuse_all);
      check(failed_with(fill(nullptr), "FILE_IO"), "EIO at once");
      hw::set_read_fault(wait_a_little);
      int32_t flag = 1;
      check(failed_with(fill(&flag), "CANCELLED"), "cancelled");
      hw::set_read_fault(nullptr);
      check(fill(nullptr).ok && pieces.right(), "afterwards it reads");
      for (int64_t size : {int64_t{1} << 20, int64_t{700001}}) {
        check(test_system::truncate_file(source.path, size), "truncate");
        check(failed_with(fill(nullptr), "MODEL_CHANGED", "2097152"), "a file that shrank", size);
      }
    }
  }
  hw::DataFile none;
  check(failed_with(none.open("/nonexistent/file", hw::IoMode::direct), "FILE_NOT_FOUND"), "no file");
  hw::DataFile folder;
  check(failed_with(folder.open(".", hw::IoMode::direct), "FILE_IO"), "a folder");
}

// Asks for pages for ever and counts how many are under way.
struct Counting : hw::Feed {
  hw::DataFile* file = nullptr;
  hw::PinnedMemory memory;
  // All guarded by `mutex`; `older` of those under way were begun before most_in() looked.
  int under_way = 0, older = 0, most = 0, done = 0;
  bool old[16] = {};
  std::mutex mutex;
  std::vector<uint64_t> free;
  bool take(hw::ReadJob* job) override {
    std::lock_guard<std::mutex> lock(mutex);
    check(!free.empty(), "room for a read");
    *job = hw::widened(file, 0, 4096, memory.data() + hw::kPage * static_cast<int64_t>(free.back()), free.back());
    free.pop_back();
    most = std::max(most, ++under_way);
    return true;
  }
  void finished(const hw::ReadJob& job, const hw::IoFailure*) override {
    std::lock_guard<std::mutex> lock(mutex);
    free.push_back(job.tag);
    if (old[job.tag]) older--;
    old[job.tag] = false;
    under_way--;
    done++;
  }
  // The most that are under way at once while the next `reads` end. What an earlier depth left under way ends first,
  // however long the system keeps its threads waiting.
  int most_in(int reads) {
    std::unique_lock<std::mutex> lock(mutex);
    std::fill(old, old + 16, true);
    for (uint64_t page : free) old[page] = false;
    older = under_way;
    wait(lock, [&] { return older == 0; });
    most = under_way;
    wait(lock, [&, end = done + reads] { return done >= end; });
    return most;
  }

 private:
  template <typename Holds>
  static void wait(std::unique_lock<std::mutex>& lock, Holds holds) {
    while (!holds()) {
      lock.unlock();
      test_system::sleep_microseconds(1000);
      lock.lock();
    }
  }
};

// As many reads in flight as asked for, also when that changes while they run.
void the_depth_can_be_changed() {
  TestFile source(1 << 20);
  for (hw::IoEngine engine : kEngines) {
    hw::DataFile file;
    check(file.open(source.path.c_str(), hw::IoMode::buffered).ok, "open");
    Counting feed;
    feed.file = &file;
    check(feed.memory.allocate(16 * hw::kPage), "memory");
    for (uint64_t page = 0; page < 16; page++) feed.free.push_back(page);
    std::unique_ptr<hw::Reader> reader(hw::Reader::open(engine, 4));
    if (engine == hw::IoEngine::threads) hw::set_read_fault(wait_a_millisecond);
    reader->add(&feed);
    int first = feed.most_in(300);
    check(first <= 4 && (engine != hw::IoEngine::threads || first == 4), "as opened", first);
    reader->set_depth(1);
    check(reader->depth() == 1, "depth", reader->depth());
    int narrow = feed.most_in(50);
    check(narrow == 1, "one at a time", narrow);
    reader->set_depth(100);
    check(reader->depth() == 8, "no more than there is room for", reader->depth());
    int wide = feed.most_in(300);
    check(wide <= 8 && wide > 4, "more than it was opened with", wide);
    reader->set_depth(0);
    int least = feed.most_in(50);
    check(reader->depth() == 1 && least == 1, "never none", least);
    reader->remove(&feed);
    reader.reset();
    hw::set_read_fault(nullptr);
    check(feed.under_way == 0, "all ended", feed.under_way);
  }
}

void changes_are_noticed() {
  TestFile source(10000);
  hw::DataFile file;
  check(file.open(source.path.c_str(), hw::IoMode::direct).ok && file.check_unchanged().ok, "unchanged");
  uint8_t some[100];
  check(file.read_small(9000, 100, some).ok && same(some, 9000, 100), "a small read");
  check(failed_with(file.read_small(9950, 100, some), "FILE_IO", "50 of 100"), "a small read beyond the end");
  test_system::sleep_microseconds(20000);  // time stamps tick in milliseconds
  check(test_system::write_byte(source.path, 5, 'x'), "write");
  check(failed_with(file.check_unchanged(), "MODEL_CHANGED", "written"), "written to");
}

void pinned_memory_is_aligned() {
  hw::PinnedMemory small, large, none;
  check(small.allocate(5000) && small.bytes() == 8192, "small", small.bytes());
  check(large.allocate((4 << 20) + 1) && reinterpret_cast<uintptr_t>(large.data()) % (2 << 20) == 0, "huge pages");
  large.data()[4 << 20] = 1;
  check(none.allocate(0) && none.bytes() == 0, "nothing");
  printf("io: locking memory is %s\n", small.lock() ? "allowed" : "refused");
}

void a_mapping_that_shrinks() {
  TestFile source(64 * 4096);
  hw::DataFile file;
  hw::Mapping mapping;
  check(file.open(source.path.c_str(), hw::IoMode::buffered).ok && mapping.open(file).ok, "map");
  check(same(mapping.data(), 0, mapping.bytes()) && !mapping.faulted(), "mapped bytes");
#if defined(_WIN32)
  check(!test_system::truncate_file(source.path, 10 * 4096), "a mapped file cannot be truncated");
  // As if its drive were gone: everything becomes zeroes, not only what lies behind.
  ULONG_PTR why[] = {0, reinterpret_cast<ULONG_PTR>(mapping.data() + 20 * 4096), 0};
  RaiseException(static_cast<DWORD>(EXCEPTION_IN_PAGE_ERROR), 0, 3, why);
  const int64_t kept = 0;
#else
  const int64_t kept = 10 * 4096;
  check(test_system::truncate_file(source.path, kept), "truncate");
#endif
  int64_t sum = 0;
  for (int64_t i = kept; i < 64 * 4096; i++) sum += mapping.data()[i];
  check(sum == 0 && mapping.faulted(), "zeroes, and a mark", sum);
  check(same(mapping.data(), 0, kept), "what is left is right");
  check(test_system::other_faults_end_the_process(), "other faults are not hidden");
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {  // the child of other_faults_end_the_process where there is no fork
    TestFile other(4096);
    hw::DataFile file;
    hw::Mapping mapping;
    if (!file.open(other.path.c_str(), hw::IoMode::buffered).ok || !mapping.open(file).ok) return 2;
    uint8_t* volatile nowhere = nullptr;
    return *nowhere;
  }
  every_way_gives_the_bytes();
  failures_are_reported();
  the_depth_can_be_changed();
  changes_are_noticed();
  pinned_memory_is_aligned();
  a_mapping_that_shrinks();
  printf(failures == 0 ? "io: all passed\n" : "io: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
