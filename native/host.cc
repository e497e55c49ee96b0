#include "host.h"

#include <new>

#include "ops/ops.h"
#include "residency.h"

namespace hw {

Pass::~Pass() {
  for (Buffer* table : tables) delete table;
}

Result<Host*> Host::open(int threads, const int32_t* cpus, int cpu_count, const Kernels* kernels) {
  if (threads < 1 || threads > kMaxThreads) return bad_argument("threads must be 1 to %d, got %d", kMaxThreads, threads);
  Host* host = new (std::nothrow) Host;
  if (host == nullptr) return fail("MEMORY_BUDGET", "no memory for a native host");
  host->kernels_ = kernels;
  host->pool_ = Pool::open(threads, cpus, cpu_count);
  if (host->pool_ == nullptr) {
    delete host;
    return fail("INTERNAL", "the system refused to start %d threads", threads);
  }
  if (!host->grow(host->scratch_.kernel, static_cast<int64_t>(threads) * kScratchBytes).ok) {
    delete host;
    return Status{false};
  }
  return host;
}

Host::~Host() {
  delete residency_;  // its reads end here, before what they use
  delete pool_;
  for (Object* object : objects_) delete object;
}

Status Host::grow(Buffer& buffer, int64_t bytes) {
  if (buffer.reserve(&counters_, Purpose::scratch, static_cast<size_t>(bytes))) return done();
  return fail("MEMORY_BUDGET", "no memory for %lld bytes of scratch", static_cast<long long>(bytes));
}

Status Host::grow_thread_scratch(int64_t bytes) {
  if (bytes <= scratch_.thread_bytes) return done();
  bytes = (bytes + 4095) & ~int64_t{4095};
  HW_TRY(grow(scratch_.thread, bytes * pool_->threads()));
  scratch_.thread_bytes = bytes;
  return done();
}

Status Host::check_open() const {
  return sealed_ ? bad_argument("the host is sealed: nothing can be created any more") : done();
}

Status Host::seal() {
  HW_TRY(check_open());
  HW_TRY(ops::reserve_pass(*this));
  HW_TRY(ops::reserve_matmul(*this));
  HW_TRY(ops::reserve_attention(*this));
  HW_TRY(ops::reserve_experts(*this));
  sealed_ = true;
  return done();
}

Residency& Host::residency() {
  if (residency_ == nullptr) residency_ = new Residency;
  return *residency_;
}

Status Host::check_mappings() const {
  for (const File* file : files_) {
    if (file->mapping.faulted()) {
      return fail("MODEL_CHANGED", "%.300s shrank or could not be read while it was in use; load the model again",
                  file->data.path());
    }
  }
  return done();
}

Status Host::check_files() const {
  HW_TRY(check_mappings());
  for (const File* file : files_) HW_TRY(file->data.check_unchanged());
  return done();
}

int32_t Host::add(Object* object) {
  objects_.push_back(object);
  if (object->kind == Kind::file) files_.push_back(static_cast<File*>(object));
  return static_cast<int32_t>(objects_.size());
}

}  // namespace hw
