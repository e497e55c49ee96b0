// One model natively: mapped files, weights, tensors, KV pages, scratch, and the row table of the current pass. Threads
// and readers are the machine's, which it leases (machine.h). Handles are small positive integers; a handle of the
// wrong kind is NATIVE_ARGUMENT, never a crash.
#pragma once
#include <atomic>
#include <vector>

#include "cold_pages.h"
#include "io/liveness.h"
#include "error.h"
#include "io/mapping.h"
#include "io/slots.h"
#include "kernels/kernels.h"
#include "machine.h"
#include "memory.h"
#include "slice.h"
#include "tensor.h"
#include "threads/nodes.h"
#include "threads/pool.h"

namespace hw {

enum class Kind : uint8_t { tensor, vector, weight, file, routing, rope_table, kv_pool, arena, slot_pool };

struct Object {
  explicit Object(Kind k) : kind(k) {}
  virtual ~Object() {}
  const Kind kind;
};

// Memory that tensors lie in which do not live at the same time.
struct Arena : Object {
  static constexpr Kind kKind = Kind::arena;
  Arena() : Object(kKind) {}
  Buffer memory;
};

// f32 [rows, cols], rows following each other without gaps.
struct Tensor : Object {
  static constexpr Kind kKind = Kind::tensor;
  Tensor() : Object(kKind) {}
  int32_t rows = 0, cols = 0;
  Buffer memory;           // of its own, or
  float* place = nullptr;  // a place in an arena
  float* data() const { return place != nullptr ? place : memory.as<float>(); }
  float* row(int64_t t) const { return data() + t * cols; }
};

struct Vector : Object {
  static constexpr Kind kKind = Kind::vector;
  Vector() : Object(kKind) {}
  int32_t length = 0;
  Buffer memory;
  const float* data() const { return memory.as<float>(); }
};

struct File : Object {
  static constexpr Kind kKind = Kind::file;
  File() : Object(kKind) {}
  DataFile data;
  Mapping mapping;  // of zero bytes when the file is read, not mapped
};

struct WeightObject : Object {
  static constexpr Kind kKind = Kind::weight;
  WeightObject() : Object(kKind), layout(), weight() {}
  Layout layout;  // of several planes
  Weight weight;
  MappedSegments segments;
  Buffer held;  // its bytes, where they lie in no file as they are needed
};

struct Routing : Object {
  static constexpr Kind kKind = Kind::routing;
  Routing() : Object(kKind) {}
  int32_t rows = 0, top_k = 0;
  Buffer memory;  // weights f32 [rows, topK], then ids i32 [rows, topK]
  int32_t filled_rows = 0;  // rows that route() wrote last
  int32_t experts = 0;      // ids are below this
  float* weights() const { return memory.as<float>(); }
  int32_t* ids() const { return memory.as<int32_t>() + static_cast<int64_t>(rows) * top_k; }
};

struct RopeTable : Object {
  static constexpr Kind kKind = Kind::rope_table;
  RopeTable() : Object(kKind) {}
  int32_t pairs = 0, max_rows = 0;
  int32_t back = 0;   // angles of positions so far before the rows' own, 0 at least
  int32_t first = 0;  // values of a head before those that turn
  float magnitude = 1;
  bool interleaved = false;
  uint64_t pass = 0;   // the pass whose positions `angles` holds
  Buffer frequencies;  // f64 [pairs]
  Buffer angles;       // f32 [maxRows][2][pairs]: cos, then sin
  float* cos(int64_t t) const { return angles.as<float>() + t * 2 * pairs; }
  float* sin(int64_t t) const { return cos(t) + pairs; }
};

struct KvLayer {
  int32_t heads, dim_k, dim_v;
  bool latent;    // values are the first dim_v of the keys
  bool hadamard;  // keys, values and queries go through kernels/hadamard.h
  int64_t row_bytes_k, row_bytes_v;
  int64_t offset_k, offset_v;  // of [heads][256][dim] in a page
  // Values lie behind keys: all of the layer's in a page.
  int64_t bytes() const { return offset_v - offset_k + heads * int64_t{kPagePositions} * row_bytes_v; }
};

constexpr int32_t kMostEvery = 65536;

struct KvPool : Object {
  static constexpr Kind kKind = Kind::kv_pool;
  KvPool() : Object(kKind) {}
  int32_t index = 0;  // creation order: which block tables of begin() are its
  KvType keys = KV_F16, values = KV_F16;  // of a latent layer the values are of the keys' type
  int32_t pages = 0;
  int32_t every = 1;  // so many positions make one row, at the last of them
  int64_t page_bytes = 0;
  std::vector<KvLayer> layers;
  Buffer memory;
  std::unique_ptr<ColdPages> cold;  // null: every page has its place in memory
  bool in_memory(int32_t id) const { return cold == nullptr || cold->has_frame(id); }
  // It must be in memory.
  uint8_t* page(int32_t id) const {
    const int64_t frame = cold == nullptr ? id : cold->frame_of[static_cast<size_t>(id)];
    return memory.as<uint8_t>() + frame * page_bytes;
  }
  // Rows that are there once a position is, and the block of pages that this position is in.
  int32_t rows_at(int32_t position) const { return every == 1 ? position + 1 : (position + 1) / every; }
  int32_t block_of(int32_t position) const { return position / every / kPagePositions; }
};

// The row table of a pass, copied from begin().
struct Pass {
  uint64_t number = 0;
  int32_t count = 0, sequence_count = 0, pool_count = 0;
  Buffer rows;  // i32 ids [n], positions [n], sequences [n], n = capacity
  int64_t row_capacity = 0;
  std::vector<Buffer*> tables;           // per pool: i32 [sequences][blocks]
  std::vector<int32_t> blocks_of_table;  // per pool: blocks per sequence
  const int32_t* ids() const { return rows.as<int32_t>(); }
  const int32_t* positions() const { return rows.as<int32_t>() + row_capacity; }
  const int32_t* sequences() const { return rows.as<int32_t>() + 2 * row_capacity; }
  ~Pass();
};

// Quantized copies of activation rows, one per kind in use.
struct ActBuffers {
  Buffer q[3], d[3], sums[3];  // indexed by ActKind
};

struct Scratch {
  Buffer kernel;           // kScratchBytes per thread: the kernels' own
  Buffer thread;           // thread_bytes per thread: results before bias and add, attention pieces
  int64_t thread_bytes = 0;
  ActBuffers acts, hidden_acts;  // of a matmul's x; of the experts' hidden rows
  Buffer pieces;           // attention pieces of many pages
  Buffer expert_rows;      // hidden rows and outputs of experts
  Buffer expert_order;     // (row, rank) pairs by expert
  Buffer products;         // their matrix products
  Buffer sums;             // of products with weights that come by inputs; rows within a pair and what it adds
  Buffer blocks;           // attention blocks of a pass
  Buffer selection;        // scores of positions, and their order
  std::vector<Segment> segments;  // of a region of products
  std::vector<ExpertSlots::Wanted> wanted, ready;  // experts of a layer, those of them that are in memory
};

struct Residency;

class Model {
 public:
  static Result<Model*> open(int threads, const int32_t* cpus, int cpu_count, int nodes, const Kernels* kernels);
  ~Model();

  Machine& machine() { return *machine_; }
  // Models that share the machine.
  int models_of_machine() const { return static_cast<int>(machine_.use_count()); }
  // The threads that compute now.
  Team pool() { return Team(machine_->pool(), active_); }
  // From the next pass on so many compute passes of one row, and of more; all of them until then.
  Status split_threads(int one_row, int many_rows);
  void choose_threads(int64_t rows) { active_ = rows == 1 ? one_row_ : many_rows_; }
  const Kernels& kernels() const { return *kernels_; }
  Counters& counters() { return counters_; }
  Scratch& scratch() { return scratch_; }
  Pass& pass() { return pass_; }
  void* kernel_scratch(int thread) { return scratch_.kernel.as<uint8_t>() + thread * kScratchBytes; }
  int64_t thread_scratch_bytes() const { return scratch_.thread_bytes; }
  void* thread_scratch(int thread) { return scratch_.thread.as<uint8_t>() + thread * scratch_.thread_bytes; }

  // Working space for a verb: what was named before seal(), or, when nothing was, as much as it takes (counted).
  Status grow(Buffer& buffer, int64_t bytes);
  Status grow_thread_scratch(int64_t bytes);  // per thread
  // Names all of it, by SpaceBuffer; `tables`: entries of each pool's block table. From seal() on
  // nothing more is allocated.
  Status name_space(Slice<const double> buffers, Slice<const int32_t> tables);

  // What holds weights that are not mapped (residency.h); null until they are placed.
  Residency* residency() const { return residency_.get(); }
  void keep_residency(std::unique_ptr<Residency> residency);
  // Weight bytes that products found in memory: mapped, pinned or in expert slots.
  void count_memory_bytes(int64_t bytes) { memory_bytes_ += bytes; }
  int64_t memory_bytes() const { return memory_bytes_; }

  // MODEL_CHANGED when a file is not what it was when it was opened; the first looks at mapped pages that are gone
  // only.
  Status check_mappings() const;
  Status check_files() const;

  // Creation is over once sealed.
  bool sealed() const { return sealed_; }
  Status seal();
  Status check_open() const;

  int32_t add(Object* object);  // takes ownership, returns the handle
  template <typename T>
  Result<T*> get(int32_t handle) const {
    static const char* const names[] = {"tensor", "vector", "weight", "file", "routing", "rope table", "KV pool",
                                        "arena", "slot pool"};
    if (handle < 1 || handle > static_cast<int64_t>(objects_.size())) {
      return bad_argument("no %s has handle %d", names[static_cast<int>(T::kKind)], handle);
    }
    Object* object = objects_[handle - 1];
    if (object->kind != T::kKind) {
      return bad_argument("handle %d is a %s, not a %s", handle, names[static_cast<int>(object->kind)],
                          names[static_cast<int>(T::kKind)]);
    }
    return static_cast<T*>(object);
  }
  const std::vector<Object*>& objects() const { return objects_; }
  int32_t pool_count() const { return pool_count_; }
  int32_t next_pool() { return pool_count_++; }

  // Non-zero = stop. Null: nobody can cancel. The memory must outlive the model or the next call.
  void set_cancel(const int32_t* flag) { cancel_ = flag; }
  const int32_t* const* cancel_flag() const { return &cancel_; }
  bool cancelled() const {
    count_tile();
    return cancel_ != nullptr && __atomic_load_n(cancel_, __ATOMIC_RELAXED) != 0;
  }

 private:
  Model() = default;
  std::shared_ptr<Machine> machine_;
  std::unique_ptr<BoundCaller> bound_;  // with a CPU list
  const Kernels* kernels_ = nullptr;
  Counters counters_;  // before all that is charged to it
  Scratch scratch_;
  Pass pass_;
  std::vector<Object*> objects_;
  std::vector<const File*> files_;
  std::unique_ptr<Residency> residency_;
  int64_t memory_bytes_ = 0;
  int32_t pool_count_ = 0;
  bool sealed_ = false, named_ = false;
  int active_ = 1, one_row_ = 1, many_rows_ = 1;
  const int32_t* cancel_ = nullptr;
};

}  // namespace hw

#define HW_GET(type, name, model, handle)                 \
  ::hw::Result<type*> name##_found = (model).get<type>(handle); \
  if (!name##_found.ok) return ::hw::Status{false};      \
  type& name = *name##_found.value
