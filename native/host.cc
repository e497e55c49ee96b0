#include "host.h"

#include <new>

#include "ops/ops.h"
#include "residency.h"

namespace hw {

Pass::~Pass() {
  for (Buffer* table : tables) delete table;
}

Result<Host*> Host::open(int threads, const int32_t* cpus, int cpu_count, const Kernels* kernels) {
  Result<std::shared_ptr<Machine>> machine = Machine::lease(threads, cpus, cpu_count);
  if (!machine.ok) return Status{false};
  Host* host = new (std::nothrow) Host;
  if (host == nullptr) return fail("MEMORY_BUDGET", "no memory for a native host");
  host->kernels_ = kernels;
  host->machine_ = std::move(machine.value);
  if (cpu_count > 0) host->bound_.reset(new (std::nothrow) BoundCaller(cpus[0]));
  if (!host->grow(host->scratch_.kernel, static_cast<int64_t>(threads) * kScratchBytes).ok) {
    delete host;
    return Status{false};
  }
  return host;
}

Host::~Host() {
  delete residency_;  // its reads end here, before what they use
  for (Object* object : objects_) delete object;
}

Status Host::grow(Buffer& buffer, int64_t bytes) {
  if (bytes <= static_cast<int64_t>(buffer.bytes())) return done();
  if (named_ && sealed_) {
    return fail("INTERNAL", "a verb wants %lld bytes of working space, %zu were named", static_cast<long long>(bytes),
                buffer.bytes());
  }
  if (buffer.reserve(&counters_, Purpose::scratch, static_cast<size_t>(bytes))) return done();
  return fail("MEMORY_BUDGET", "no memory for %lld bytes of scratch", static_cast<long long>(bytes));
}

Status Host::grow_thread_scratch(int64_t bytes) {
  if (bytes <= scratch_.thread_bytes) return done();
  bytes = (bytes + 4095) & ~int64_t{4095};
  HW_TRY(grow(scratch_.thread, bytes * pool().threads()));
  scratch_.thread_bytes = bytes;
  return done();
}

Status Host::check_open() const {
  return sealed_ ? bad_argument("the host is sealed: nothing can be created any more") : done();
}

Status Host::seal() {
  HW_TRY(check_open());
  sealed_ = true;
  return done();
}

Status Host::name_space(Slice<const double> buffers, Slice<const int32_t> tables) {
  HW_TRY(check_open());
  ActBuffers &acts = scratch_.acts, &hidden = scratch_.hidden_acts;
  // Token rows, (tables), and bytes of a thread's own are no buffers by themselves; nor are experts, at the end.
  Buffer* const named[] = {
      nullptr,
      nullptr,
      nullptr,
      &acts.q[ACTS_Q8_32],
      &acts.d[ACTS_Q8_32],
      &acts.sums[ACTS_Q8_32],
      &acts.q[ACTS_Q8_256],
      &acts.d[ACTS_Q8_256],
      &acts.sums[ACTS_Q8_256],
      &hidden.q[ACTS_Q8_32],
      &hidden.d[ACTS_Q8_32],
      &hidden.sums[ACTS_Q8_32],
      &hidden.q[ACTS_Q8_256],
      &hidden.d[ACTS_Q8_256],
      &hidden.sums[ACTS_Q8_256],
      &scratch_.pieces,
      &scratch_.blocks,
      &scratch_.expert_order,
      &scratch_.products,
      &scratch_.expert_rows,
      &scratch_.sums,
      &scratch_.selection,
      nullptr,
  };
  constexpr int64_t kCount = sizeof named / sizeof named[0];
  constexpr double kMost = 1e15;
  if (buffers.length != kCount) return bad_argument("working space is %lld numbers", static_cast<long long>(kCount));
  for (int64_t i = 0; i < kCount; i++) {
    if (!(buffers.data[i] >= 0 && buffers.data[i] <= kMost)) return bad_argument("%g bytes of working space", buffers.data[i]);
  }
  HW_TRY(ops::reserve_rows(*this, static_cast<int64_t>(buffers.data[0])));
  HW_TRY(ops::reserve_tables(*this, tables));
  if (buffers.data[2] > 0) HW_TRY(grow_thread_scratch(static_cast<int64_t>(buffers.data[2])));
  for (int64_t i = 0; i < kCount; i++) {
    if (named[i] != nullptr) HW_TRY(grow(*named[i], static_cast<int64_t>(buffers.data[i])));
  }
  scratch_.wanted.reserve(static_cast<size_t>(buffers.data[kCount - 1]));
  scratch_.ready.reserve(static_cast<size_t>(buffers.data[kCount - 1]));
  named_ = true;
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
