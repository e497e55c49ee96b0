#include "model.h"

#include <new>

#include "ops/ops.h"
#include "residency.h"

namespace hw {

Pass::~Pass() {
  for (Buffer* table : tables) delete table;
}

Result<Model*> Model::open(int threads, const int32_t* cpus, int cpu_count, int nodes,
                           const Kernels* kernels) {
  Result<std::shared_ptr<Machine>> machine = Machine::lease(threads, cpus, cpu_count, nodes);
  if (!machine.ok) return Status{false};
  Model* model = new (std::nothrow) Model;
  if (model == nullptr) return fail("MEMORY_BUDGET", "no memory for a native model");
  model->kernels_ = kernels;
  model->active_ = model->one_row_ = model->many_rows_ = threads;
  model->machine_ = std::move(machine.value);
  if (cpu_count > 0) model->bound_.reset(new (std::nothrow) BoundCaller(cpus[0]));
  if (!model->grow(model->scratch_.kernel, static_cast<int64_t>(threads) * kScratchBytes).ok) {
    delete model;
    return Status{false};
  }
  return model;
}

Model::~Model() {
  residency_.reset();  // its reads end here, before what they use
  for (Object* object : objects_) delete object;
}

Status Model::grow(Buffer& buffer, int64_t bytes) {
  if (bytes <= static_cast<int64_t>(buffer.bytes())) return done();
  if (named_ && sealed_) {
    return fail("INTERNAL", "a verb wants %lld bytes of working space, %zu were named", static_cast<long long>(bytes),
                buffer.bytes());
  }
  if (buffer.reserve(&counters_, Purpose::scratch, static_cast<size_t>(bytes))) return done();
  return fail("MEMORY_BUDGET", "no memory for %lld bytes of scratch", static_cast<long long>(bytes));
}

Status Model::grow_thread_scratch(int64_t bytes) {
  if (bytes <= scratch_.thread_bytes) return done();
  bytes = (bytes + 4095) & ~int64_t{4095};
  HW_TRY(grow(scratch_.thread, bytes * machine_->pool().threads()));
  scratch_.thread_bytes = bytes;
  return done();
}

Status Model::split_threads(int one_row, int many_rows) {
  const int most = machine_->pool().threads();
  if (one_row < 1 || one_row > most || many_rows < 1 || many_rows > most) {
    return bad_argument("%d and %d of %d threads", one_row, many_rows, most);
  }
  one_row_ = one_row;
  many_rows_ = many_rows;
  return done();
}

Status Model::check_open() const {
  return sealed_ ? bad_argument("the model is sealed: nothing can be created any more") : done();
}

Status Model::seal() {
  HW_TRY(check_open());
  sealed_ = true;
  return done();
}

Status Model::name_space(Slice<const double> buffers, Slice<const int32_t> tables) {
  HW_TRY(check_open());
  ActBuffers &acts = scratch_.acts, &hidden = scratch_.hidden_acts;
  // What is no buffer by itself stays null.
  Buffer* named[SPACE_NUMBERS] = {};
  named[SPACE_Q8_32_Q] = &acts.q[ACTS_Q8_32];
  named[SPACE_Q8_32_D] = &acts.d[ACTS_Q8_32];
  named[SPACE_Q8_32_SUMS] = &acts.sums[ACTS_Q8_32];
  named[SPACE_Q8_256_Q] = &acts.q[ACTS_Q8_256];
  named[SPACE_Q8_256_D] = &acts.d[ACTS_Q8_256];
  named[SPACE_Q8_256_SUMS] = &acts.sums[ACTS_Q8_256];
  named[SPACE_HIDDEN_Q8_32_Q] = &hidden.q[ACTS_Q8_32];
  named[SPACE_HIDDEN_Q8_32_D] = &hidden.d[ACTS_Q8_32];
  named[SPACE_HIDDEN_Q8_32_SUMS] = &hidden.sums[ACTS_Q8_32];
  named[SPACE_HIDDEN_Q8_256_Q] = &hidden.q[ACTS_Q8_256];
  named[SPACE_HIDDEN_Q8_256_D] = &hidden.d[ACTS_Q8_256];
  named[SPACE_HIDDEN_Q8_256_SUMS] = &hidden.sums[ACTS_Q8_256];
  named[SPACE_PIECES] = &scratch_.pieces;
  named[SPACE_BLOCKS] = &scratch_.blocks;
  named[SPACE_EXPERT_ORDER] = &scratch_.expert_order;
  named[SPACE_EXPERT_PRODUCTS] = &scratch_.products;
  named[SPACE_EXPERT_ROWS] = &scratch_.expert_rows;
  named[SPACE_SUMS] = &scratch_.sums;
  named[SPACE_SELECTION] = &scratch_.selection;
  constexpr double kMost = 1e15;
  if (buffers.length != SPACE_NUMBERS) return bad_argument("working space is %d numbers", SPACE_NUMBERS);
  for (int32_t i = 0; i < SPACE_NUMBERS; i++) {
    if (!(buffers.data[i] >= 0 && buffers.data[i] <= kMost))
      return bad_argument("%g bytes of working space", buffers.data[i]);
  }
  HW_TRY(ops::reserve_rows(*this, static_cast<int64_t>(buffers.data[SPACE_ROWS])));
  HW_TRY(ops::reserve_tables(*this, tables));
  if (buffers.data[SPACE_THREAD] > 0) HW_TRY(grow_thread_scratch(static_cast<int64_t>(buffers.data[SPACE_THREAD])));
  for (int32_t i = 0; i < SPACE_NUMBERS; i++) {
    if (named[i] != nullptr) HW_TRY(grow(*named[i], static_cast<int64_t>(buffers.data[i])));
  }
  scratch_.wanted.reserve(static_cast<size_t>(buffers.data[SPACE_EXPERTS]));
  scratch_.ready.reserve(static_cast<size_t>(buffers.data[SPACE_EXPERTS]));
  named_ = true;
  return done();
}

void Model::keep_residency(std::unique_ptr<Residency> residency) { residency_ = std::move(residency); }

Status Model::check_mappings() const {
  for (const File* file : files_) {
    if (file->mapping.faulted()) {
      return fail("MODEL_CHANGED", "%.300s shrank or could not be read while it was in use; load the model again",
                  file->data.path());
    }
  }
  return done();
}

Status Model::check_files() const {
  HW_TRY(check_mappings());
  for (const File* file : files_) HW_TRY(file->data.check_unchanged());
  return done();
}

int32_t Model::add(Object* object) {
  objects_.push_back(object);
  if (object->kind == Kind::file) files_.push_back(static_cast<File*>(object));
  return static_cast<int32_t>(objects_.size());
}

}  // namespace hw
