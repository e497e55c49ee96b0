#include "resources.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "kernels/hadamard.h"
#include "kernels/packed.h"
#include "kernels/units.h"
#include "ops/slots.h"

namespace hw {

namespace {

// Far above any model, low enough that products of two fit 64 bits.
constexpr int64_t kLargestDim = int64_t{1} << 30;
constexpr int64_t kLargestAllocation = int64_t{1} << 46;

Status no_memory(const char* what, int64_t bytes) {
  return fail("MEMORY_BUDGET", "no memory for a %s of %lld bytes", what, static_cast<long long>(bytes));
}

Status allocate(Model& model, Buffer& buffer, Purpose purpose, const char* what, int64_t bytes, bool huge = false) {
  if (bytes < 0 || bytes > kLargestAllocation) return no_memory(what, bytes);
  bool ok = buffer.allocate(&model.counters(), purpose, static_cast<size_t>(bytes), huge);
  return ok ? done() : no_memory(what, bytes);
}

}  // namespace

Result<int32_t> file_open(Model& model, const char* path) {
  HW_TRY(model.check_open());
  std::unique_ptr<File> file(new File);
  HW_TRY(file->data.open(path, IoMode::buffered));
  HW_TRY(file->mapping.open(file->data));
  return model.add(file.release());
}

Result<int32_t> file_open_unmapped(Model& model, const char* path, bool direct) {
  HW_TRY(model.check_open());
  std::unique_ptr<File> file(new File);
  HW_TRY(file->data.open(path, direct ? IoMode::direct : IoMode::buffered));
  file->data.no_readahead();
  return model.add(file.release());
}

Result<int64_t> file_bytes(Model& model, int32_t handle) {
  HW_GET(File, file, model, handle);
  return file.data.bytes();
}

Result<int32_t> weight(Model& model, Slice<const double> layout_numbers, int64_t rows, int64_t cols, int64_t experts,
                       Slice<const double> extents) {
  HW_TRY(model.check_open());
  std::unique_ptr<WeightObject> object(new WeightObject);
  const Layout* layout = &object->layout;
  if (layout_numbers.length == 1) {
    layout = layout_of(static_cast<int32_t>(std::max(-1.0, std::min(layout_numbers.data[0], 1e9))));
    if (layout == nullptr) return bad_argument("type %g has no kernels", layout_numbers.data[0]);
  } else if (!describe_layout(layout_numbers.data, layout_numbers.length, &object->layout)) {
    return bad_argument("%lld numbers describe no layout", static_cast<long long>(layout_numbers.length));
  }
  if (rows < 1 || cols < 1 || experts < 1 || rows > kLargestDim || cols > kLargestDim || experts > kLargestDim) {
    return bad_argument("a weight of %lld x %lld x %lld values", static_cast<long long>(experts),
                        static_cast<long long>(rows), static_cast<long long>(cols));
  }
  Weight& w = object->weight;
  if (!w.shape(layout, rows, cols, experts)) {
    return bad_argument("%lld x %lld values are not whole slices of %s", static_cast<long long>(rows),
                        static_cast<long long>(cols), layout->name);
  }
  if (extents.length % 4 != 0) return bad_argument("extents are [plane, file, offset, bytes] each");
  int64_t known[kMostPlanes] = {}, mapped = 0;
  for (int64_t i = 0; i < extents.length; i += 4) {
    for (int64_t k = i; k < i + 4; k++) {
      if (!(extents.data[k] >= 0 && extents.data[k] <= 9007199254740991.0))
        return bad_argument("an extent that is no number");
    }
    const int64_t plane = static_cast<int64_t>(extents.data[i]), offset = static_cast<int64_t>(extents.data[i + 2]);
    const int64_t bytes = static_cast<int64_t>(extents.data[i + 3]);
    if (plane < 0 || plane >= layout->planes) return bad_argument("no plane %lld", static_cast<long long>(plane));
    // Whole experts; of a plain matrix also whole slices of it.
    const int64_t one = w.plane_bytes(static_cast<int32_t>(plane));
    int64_t all = 0;
    if (__builtin_mul_overflow(experts, one, &all)) {
      return bad_argument("%lld experts", static_cast<long long>(experts));
    }
    const int64_t least = experts == 1 && w.slices.whole == 0 ? w.slices.plane_bytes[plane] : one;
    if (bytes < 1 || bytes > all - known[plane] || bytes % least != 0) {
      return bad_argument("%lld bytes of plane %lld", static_cast<long long>(bytes), static_cast<long long>(plane));
    }
    HW_GET(File, file, model, static_cast<int32_t>(std::min(extents.data[i + 1], 2147483647.0)));
    if (offset < 0 || bytes > file.data.bytes() || offset > file.data.bytes() - bytes) {
      return bad_argument("the weight ends outside its file of %lld bytes", static_cast<long long>(file.data.bytes()));
    }
    // One extent for all experts, or one for each; of a plain matrix as many as there are.
    const int64_t each = bytes == all || experts == 1 ? bytes : one;
    for (int64_t from = 0; from < bytes; from += each) {
      PlaneExtent extent;
      extent.file = &file.data;
      extent.offset = offset + from;
      extent.first = known[plane] > 0 && experts == 1 ? known[plane] / least : 0;
      if (file.mapping.data() != nullptr) extent.base = file.mapping.data() + extent.offset;
      w.planes[plane].extents.push_back(extent);
    }
    if (file.mapping.data() != nullptr) mapped += bytes;
    known[plane] += bytes;
  }
  for (int32_t p = 0; p < layout->planes; p++) {
    if (known[p] != experts * w.plane_bytes(p)) return bad_argument("plane %d of the weight lacks bytes", p);
    const std::vector<PlaneExtent>&own = w.planes[p].extents, &others = w.planes[0].extents;
    bool alike = experts > 1 || own.size() == others.size();
    for (size_t i = 0; experts == 1 && alike && i < own.size(); i++) alike = own[i].first == others[i].first;
    if (!alike) return bad_argument("plane %d of the weight is cut otherwise than the first", p);
  }
  if (mapped > 0 && mapped != w.bytes()) return bad_argument("planes in mapped files and in others");
  if (mapped > 0) w.resident = w.segment_end(0);
  if (w.resident > 0 && w.resident < w.slices.count) {
    object->segments.weight = &w;
    w.source = &object->segments;
    w.streamed_from = w.resident;
  }
  const int32_t index = index_plane(*layout);
  if (mapped > 0 && index >= 0) {
    const std::vector<PlaneExtent>& planes = w.planes[index].extents;
    for (const PlaneExtent& extent : planes) {
      HW_TRY(check_index(w, extent.base, experts / static_cast<int64_t>(planes.size())));
    }
  }
  model.counters().bytes[static_cast<int>(Purpose::weights)] += mapped;
  return model.add(object.release());
}

Result<int32_t> weight_held(Model& model, int32_t dtype, int64_t rows, int64_t cols, int64_t experts) {
  HW_TRY(model.check_open());
  const Layout* layout = layout_of(dtype);
  if (layout == nullptr) return bad_argument("type %d has no kernels", dtype);
  if (rows < 1 || cols < 1 || experts < 1 || rows > kLargestDim || cols > kLargestDim || experts > kLargestDim) {
    return bad_argument("a weight of %lld x %lld x %lld values", static_cast<long long>(experts),
                        static_cast<long long>(rows), static_cast<long long>(cols));
  }
  std::unique_ptr<WeightObject> object(new WeightObject);
  Weight& w = object->weight;
  if (!w.shape(layout, rows, cols, experts)) {
    return bad_argument("%lld x %lld values are not whole slices of %s", static_cast<long long>(rows),
                        static_cast<long long>(cols), layout->name);
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(experts, w.expert_bytes(), &bytes)) {
    return bad_argument("%lld experts", static_cast<long long>(experts));
  }
  if (!object->held.allocate(&model.counters(), Purpose::weights, static_cast<size_t>(bytes))) {
    return fail("MEMORY_BUDGET", "no memory for a weight of %lld bytes", static_cast<long long>(bytes));
  }
  PlaneExtent extent;
  extent.base = object->held.as<uint8_t>();
  w.planes[0].extents.push_back(extent);
  w.resident = w.slices.count;
  return model.add(object.release());
}

Status weight_fill(Model& model, int32_t handle, int64_t offset, Slice<const uint8_t> bytes) {
  HW_TRY(model.check_open());
  HW_GET(WeightObject, object, model, handle);
  const int64_t held = object.held.bytes() == 0 ? 0 : object.weight.bytes();
  if (offset < 0 || offset > held || bytes.length > held - offset) {
    return bad_argument("bytes %lld + %lld of a weight that holds %lld", static_cast<long long>(offset),
                        static_cast<long long>(bytes.length), static_cast<long long>(held));
  }
  if (bytes.length > 0) memcpy(object.held.as<uint8_t>() + offset, bytes.data, static_cast<size_t>(bytes.length));
  return done();
}

Status weight_heads(Model& model, int32_t handle, int32_t heads) {
  HW_TRY(model.check_open());
  HW_GET(WeightObject, object, model, handle);
  Weight& w = object.weight;
  if (heads < 1 || w.experts > 1 || w.rows % heads != 0 || model.residency() != nullptr) {
    return bad_argument("%d heads of %lld rows", heads, static_cast<long long>(w.rows));
  }
  w.heads = heads;
  return done();
}

Status check_index(const Weight& w, const uint8_t* at, int64_t experts) {
  const int64_t one = w.plane_bytes(index_plane(*w.layout));
  for (int64_t e = 0; e < experts; e++) {
    const int64_t wrong = wrong_index(*w.layout, w.cols, at + e * one);
    if (wrong < 0) continue;
    return fail("MODEL_INVALID", "the index of a weight is damaged: input %lld is of a group that is not there",
                static_cast<long long>(wrong));
  }
  return done();
}

Status weight_read(Model& model, int32_t handle, int64_t expert, int64_t row0, int64_t count, Slice<float> out) {
  HW_GET(WeightObject, object, model, handle);
  const Weight& w = object.weight;
  if (expert < 0 || expert >= w.experts || row0 < 0 || count < 0 || count > w.rows || row0 > w.rows - count) {
    return bad_argument("rows %lld + %lld of expert %lld are outside the weight", static_cast<long long>(row0),
                        static_cast<long long>(count), static_cast<long long>(expert));
  }
  if (out.length != count * w.cols)
    return bad_argument("out must hold %lld values", static_cast<long long>(count * w.cols));
  for (int64_t r = 0; r < count; r++) {
    HW_TRY(dequantize_row(model.kernels(), w, expert, row0 + r, out.data + r * w.cols));
  }
  return model.check_mappings();
}

Status dequantize_row(const Kernels& kernels, const Weight& w, int64_t expert, int64_t row, float* out) {
  if (w.layout->blocks == nullptr) return bad_argument("single rows of %s cannot be read", w.layout->name);
  const DtypeInfo& info = *w.layout->blocks;
  const Dtype dtype = info.dtype;
  // In pieces of whole blocks where it is not ready to be read: any row fits the stack that way.
  uint8_t piece[16 * 1024];
  const int64_t blocks = static_cast<int64_t>(sizeof piece) / info.bytes;
  const uint8_t* const base = w.resident == 0 ? nullptr : w.resident_piece(expert).plane[0];
  if (w.packed && row < w.resident / kStripRows * kStripRows) {
    const uint8_t* const strip = base + (row - row % kStripRows) * w.slices.bytes;
    for (int64_t first = 0; first < w.cols / info.block; first += blocks) {
      const int64_t count = std::min(w.cols / info.block - first, blocks);
      unpack_row(info, strip, w.cols, static_cast<int>(row % kStripRows), first, count, piece);
      kernels.dequantize[dtype](piece, out + first * info.block, count * info.block);
    }
    return done();
  }
  if (row < w.resident) {
    kernels.dequantize[dtype](base + row * w.slices.bytes, out, w.cols);
    return done();
  }
  const DataFile& file = *w.extent(0, expert, row).file;
  const int64_t at = w.file_offset(0, expert, row);
  for (int64_t first = 0; first < w.cols; first += blocks * info.block) {
    int64_t cols = std::min<int64_t>(w.cols - first, blocks * info.block);
    HW_TRY(file.read_small(at + first / info.block * info.bytes, cols / info.block * info.bytes, piece));
    kernels.dequantize[dtype](piece, out + first, cols);
  }
  return done();
}

Result<int32_t> tensor(Model& model, int32_t rows, int32_t cols) {
  HW_TRY(model.check_open());
  if (rows < 1 || cols < 1) return bad_argument("a tensor of %d x %d values", rows, cols);
  std::unique_ptr<Tensor> object(new Tensor);
  object->rows = rows;
  object->cols = cols;
  int64_t bytes = static_cast<int64_t>(rows) * cols * static_cast<int64_t>(sizeof(float));
  HW_TRY(allocate(model, object->memory, Purpose::activations, "tensor", bytes));
  return model.add(object.release());
}

Result<int32_t> arena(Model& model, int64_t floats) {
  HW_TRY(model.check_open());
  if (floats < 1 || floats > kLargestAllocation / 4)
    return bad_argument("an arena of %lld values", static_cast<long long>(floats));
  std::unique_ptr<Arena> object(new Arena);
  HW_TRY(allocate(model, object->memory, Purpose::activations, "arena", floats * static_cast<int64_t>(sizeof(float))));
  return model.add(object.release());
}

Result<int32_t> tensor_at(Model& model, int32_t arena_handle, int64_t offset, int32_t rows, int32_t cols) {
  HW_TRY(model.check_open());
  HW_GET(Arena, arena, model, arena_handle);
  int64_t room = static_cast<int64_t>(arena.memory.bytes() / sizeof(float));
  if (rows < 1 || cols < 1 || offset < 0 || offset > room || offset % 16 != 0 ||
      static_cast<int64_t>(rows) * cols > room - offset) {
    return bad_argument("a tensor of %d x %d values at %lld of an arena of %lld", rows, cols,
                        static_cast<long long>(offset), static_cast<long long>(room));
  }
  std::unique_ptr<Tensor> object(new Tensor);
  object->rows = rows;
  object->cols = cols;
  object->place = arena.memory.as<float>() + offset;
  return model.add(object.release());
}

Status tensor_read(Model& model, int32_t handle, int32_t rows, Slice<float> out) {
  HW_GET(Tensor, x, model, handle);
  if (rows < 0 || rows > x.rows) return bad_argument("%d rows of a tensor of %d", rows, x.rows);
  int64_t values = static_cast<int64_t>(rows) * x.cols;
  if (out.length != values) return bad_argument("out must hold %lld values", static_cast<long long>(values));
  if (values > 0) memcpy(out.data, x.data(), static_cast<size_t>(values) * sizeof(float));
  return done();
}

Status tensor_write(Model& model, int32_t handle, Slice<const float> values) {
  HW_GET(Tensor, x, model, handle);
  if (values.length > static_cast<int64_t>(x.rows) * x.cols || values.length % x.cols != 0) {
    return bad_argument("%lld values do not fill rows of a %d x %d tensor", static_cast<long long>(values.length),
                        x.rows, x.cols);
  }
  if (values.length > 0) memcpy(x.data(), values.data, static_cast<size_t>(values.length) * sizeof(float));
  return done();
}

Result<int32_t> vector(Model& model, Slice<const float> values) {
  HW_TRY(model.check_open());
  if (values.length < 1 || values.length > INT32_MAX) return bad_argument("a vector needs values");
  std::unique_ptr<Vector> object(new Vector);
  object->length = static_cast<int32_t>(values.length);
  const int64_t bytes = values.length * static_cast<int64_t>(sizeof(float));
  HW_TRY(allocate(model, object->memory, Purpose::weights, "vector", bytes));
  memcpy(object->memory.as<float>(), values.data, static_cast<size_t>(values.length) * sizeof(float));
  return model.add(object.release());
}

Result<int32_t> routing(Model& model, int32_t rows, int32_t top_k) {
  HW_TRY(model.check_open());
  if (rows < 1 || top_k < 1 || top_k > 65536) return bad_argument("a routing of %d rows and %d experts", rows, top_k);
  std::unique_ptr<Routing> object(new Routing);
  object->rows = rows;
  object->top_k = top_k;
  int64_t values = static_cast<int64_t>(rows) * top_k;
  HW_TRY(allocate(model, object->memory, Purpose::activations, "routing", values * 8));
  return model.add(object.release());
}

Status routing_read(Model& model, int32_t handle, int32_t rows, Slice<int32_t> ids, Slice<float> weights) {
  HW_GET(Routing, routing, model, handle);
  if (rows < 0 || rows > routing.rows) return bad_argument("%d rows of a routing of %d", rows, routing.rows);
  int64_t values = static_cast<int64_t>(rows) * routing.top_k;
  if (ids.length != values || weights.length != values) {
    return bad_argument("ids and weights must hold %lld values", static_cast<long long>(values));
  }
  if (values > 0) {
    memcpy(ids.data, routing.ids(), static_cast<size_t>(values) * sizeof(int32_t));
    memcpy(weights.data, routing.weights(), static_cast<size_t>(values) * sizeof(float));
  }
  return done();
}

Result<int32_t> rope_table(Model& model, Slice<const double> frequencies, double magnitude, bool interleaved,
                           int32_t max_rows, int32_t back, int32_t first) {
  HW_TRY(model.check_open());
  if (frequencies.length < 1 || frequencies.length > 65536 || max_rows < 1 || back < 0 || first < 0) {
    return bad_argument("a rope table of %lld pairs and %d rows", static_cast<long long>(frequencies.length), max_rows);
  }
  std::unique_ptr<RopeTable> object(new RopeTable);
  object->pairs = static_cast<int32_t>(frequencies.length);
  object->max_rows = max_rows;
  object->back = back;
  object->first = first;
  object->magnitude = static_cast<float>(magnitude);
  object->interleaved = interleaved;
  HW_TRY(allocate(model, object->frequencies, Purpose::weights, "rope table", frequencies.length * 8));
  memcpy(object->frequencies.as<double>(), frequencies.data, static_cast<size_t>(frequencies.length) * sizeof(double));
  HW_TRY(allocate(model, object->angles, Purpose::activations, "rope table", int64_t{8} * object->pairs * max_rows));
  return model.add(object.release());
}

Result<int32_t> kv_pool(Model& model, Slice<const int32_t> layers, int32_t keys, int32_t values, bool hadamard,
                        int32_t pages, int32_t frames, int32_t every) {
  HW_TRY(model.check_open());
  if (keys < 0 || keys >= KV_TYPES || values < 0 || values >= KV_TYPES) {
    return bad_argument("KV types %d and %d", keys, values);
  }
  if (every < 1 || every > kMostEvery) return bad_argument("a row for every %d positions", every);
  constexpr int64_t kNumbers = KV_LAYER_NUMBERS;
  if (layers.length < kNumbers || layers.length % kNumbers != 0 || layers.length > kNumbers * 65536 || pages < 1 ||
      frames < 1 || frames > pages) {
    return bad_argument("a KV pool of %lld layer values and %d pages", static_cast<long long>(layers.length), pages);
  }
  std::unique_ptr<KvPool> pool(new KvPool);
  int64_t offset = 0;
  for (int64_t i = 0; i < layers.length; i += kNumbers) {
    const int32_t* numbers = layers.data + i;
    KvLayer layer = {numbers[KV_LAYER_HEADS],       numbers[KV_LAYER_KEYS], numbers[KV_LAYER_VALUES],
                     numbers[KV_LAYER_LATENT] != 0, false, 0, 0, 0, 0};
    if (layer.latent && layer.dim_v > layer.dim_k) {
      return bad_argument("%d values of keys of %d", layer.dim_v, layer.dim_k);
    }
    if (layer.heads < 1 || layer.heads > 65536 || layer.dim_k < 1 || layer.dim_k > kMaxHeadDim ||
        layer.dim_v < (layer.latent ? 0 : 1) ||
        layer.dim_v > kMaxHeadDim) {
      return bad_argument("a KV layer of %d heads of %d and %d values", layer.heads, layer.dim_k, layer.dim_v);
    }
    auto stored = [](int32_t type) { return *dtype_info(type == KV_F16 ? F16 : type == KV_Q8_0 ? Q8_0 : Q4_0); };
    const DtypeInfo of_keys = stored(keys), of_values = stored(layer.latent ? keys : values);
    layer.row_bytes_k = layer.dim_k / of_keys.block * of_keys.bytes;
    layer.row_bytes_v = layer.latent ? 0 : layer.dim_v / of_values.block * of_values.bytes;
    // Rows that attention does not read stay as they are.
    layer.hadamard = hadamard && layer.dim_v > 0;
    const int32_t rest = layer.latent ? layer.dim_k - layer.dim_v : layer.dim_k;
    if (layer.hadamard && !(fits_hadamard(layer.dim_v) && (rest == 0 || fits_hadamard(rest)))) {
      return fail("OPTION_INVALID",
                  "this model's heads of %d and %d values have no Hadamard matrix (powers of two): leave out '+h'",
                  layer.dim_k, layer.dim_v);
    }
    if (layer.dim_k % of_keys.block != 0 || layer.dim_v % of_values.block != 0) {
      return fail("OPTION_INVALID",
                  "this model's heads of %d and %d values do not fit a quantized KV cache (multiples of 32): use f16",
                  layer.dim_k, layer.dim_v);
    }
    layer.offset_k = offset;
    layer.offset_v = offset + layer.heads * kPagePositions * layer.row_bytes_k;
    offset = layer.offset_v + layer.heads * kPagePositions * layer.row_bytes_v;
    pool->layers.push_back(layer);
  }
  pool->keys = static_cast<KvType>(keys);
  pool->values = static_cast<KvType>(values);
  pool->pages = pages;
  pool->every = every;
  pool->page_bytes = offset;
  if (offset > kLargestAllocation / pages) return no_memory("KV pool", offset);
  HW_TRY(allocate(model, pool->memory, Purpose::kv, "KV pool", offset * frames, true));
  if (frames < pages) {
    pool->cold.reset(new ColdPages);
    pool->cold->frame_of.assign(static_cast<size_t>(pages), ColdPages::kNone);
    pool->cold->serial.assign(static_cast<size_t>(pages), 0);
    for (int32_t frame = frames - 1; frame >= 0; frame--) pool->cold->free.push_back(frame);
    for (const KvLayer& layer : pool->layers) pool->cold->add_layer(layer.bytes(), pages);
  }
  pool->index = model.next_pool();
  return model.add(pool.release());
}

Result<int64_t> kv_page_bytes(Model& model, int32_t handle) {
  HW_GET(KvPool, pool, model, handle);
  return pool.page_bytes;
}

Status kv_cold_file(Model& model, int32_t handle, const char* path, int32_t places) {
  HW_TRY(model.check_open());
  HW_GET(KvPool, pool, model, handle);
  if (pool.cold == nullptr || pool.cold->staging != nullptr || places < 1) {
    return bad_argument("a file and %d places for pages that are all in memory", places);
  }
  ColdPages& cold = *pool.cold;
  HW_TRY(cold.file.open(path, IoMode::direct));
  cold.file.no_readahead();
  if (cold.file.bytes() < cold.file_bytes) {
    return bad_argument("%lld bytes for pages of %lld", static_cast<long long>(cold.file.bytes()),
                        static_cast<long long>(cold.file_bytes));
  }
  cold.reader = model.machine().reader(IoEngine::automatic, Reader::kDefaultDepth);
  if (cold.reader == nullptr) return fail("INTERNAL", "the system refused a thread that reads");
  int64_t largest = 0;
  for (const KvLayer& layer : pool.layers) largest = std::max(largest, layer.bytes());
  cold.staging.reset(new Staging(*cold.reader, cold.file, model.cancel_flag()));
  if (cold.staging->open(&model.counters(), places, largest)) return done();
  cold.staging.reset();
  return no_memory("parts of KV pages", places * Staging::place_bytes(largest));
}

Status kv_frame(Model& model, int32_t handle, int32_t page, bool wanted) {
  HW_GET(KvPool, pool, model, handle);
  if (pool.cold == nullptr || page < 0 || page >= pool.pages || pool.cold->has_frame(page) == wanted) {
    return bad_argument("a frame for page %d", page);
  }
  ColdPages& cold = *pool.cold;
  int32_t& frame = cold.frame_of[static_cast<size_t>(page)];
  if (!wanted) {
    cold.free.push_back(frame);
    frame = ColdPages::kNone;
    cold.serial[static_cast<size_t>(page)] = ++cold.last_serial;
    return done();
  }
  if (cold.free.empty()) return fail("MEMORY_BUDGET", "all frames of the KV cache are taken");
  frame = cold.free.back();
  cold.free.pop_back();
  return done();
}

Status kv_copy_page(Model& model, int32_t handle, int32_t from, int32_t to) {
  HW_GET(KvPool, pool, model, handle);
  if (from < 0 || from >= pool.pages || to < 0 || to >= pool.pages) {
    return bad_argument("pages %d and %d of a pool of %d", from, to, pool.pages);
  }
  if (!pool.in_memory(from) || !pool.in_memory(to)) return bad_argument("pages %d and %d are on the disk", from, to);
  if (from != to) memcpy(pool.page(to), pool.page(from), static_cast<size_t>(pool.page_bytes));
  return done();
}

namespace {

// The bytes of a page or of a slot: `pool` is a pool of either.
Result<Slice<uint8_t>> unit_bytes(Model& model, int32_t pool, int32_t unit) {
  const int64_t handles = static_cast<int64_t>(model.objects().size());
  if (pool >= 1 && pool <= handles && model.objects()[pool - 1]->kind == Kind::slot_pool) {
    HW_GET(SlotPool, slots, model, pool);
    if (unit < 0 || unit >= slots.slots) return bad_argument("slot %d of a pool of %d", unit, slots.slots);
    const int64_t bytes = slots.slot_values * static_cast<int64_t>(sizeof(float));
    return Slice<uint8_t>{slots.memory.as<uint8_t>() + unit * bytes, bytes};
  }
  HW_GET(KvPool, pages, model, pool);
  if (unit < 0 || unit >= pages.pages) return bad_argument("page %d of a pool of %d", unit, pages.pages);
  if (!pages.in_memory(unit)) return bad_argument("page %d is on the disk", unit);
  return Slice<uint8_t>{pages.page(unit), pages.page_bytes};
}

Result<uint8_t*> unit_range(Model& model, int32_t pool, int32_t unit, int64_t offset, int64_t length) {
  const Result<Slice<uint8_t>> found = unit_bytes(model, pool, unit);
  if (!found.ok) return Status{false};
  if (offset < 0 || offset > found.value.length || length > found.value.length - offset) {
    return bad_argument("bytes %lld to %lld of %lld", static_cast<long long>(offset),
                        static_cast<long long>(offset + length), static_cast<long long>(found.value.length));
  }
  return found.value.data + offset;
}

}  // namespace

Status unit_read(Model& model, int32_t pool, int32_t unit, int64_t offset, Slice<uint8_t> out) {
  const Result<uint8_t*> from = unit_range(model, pool, unit, offset, out.length);
  if (!from.ok) return Status{false};
  if (out.length > 0) memcpy(out.data, from.value, static_cast<size_t>(out.length));
  return done();
}

Status unit_write(Model& model, int32_t pool, int32_t unit, int64_t offset, Slice<const uint8_t> bytes) {
  const Result<uint8_t*> to = unit_range(model, pool, unit, offset, bytes.length);
  if (!to.ok) return Status{false};
  if (bytes.length > 0) memcpy(to.value, bytes.data, static_cast<size_t>(bytes.length));
  return done();
}

Status name_space(Model& model, Slice<const double> buffers, Slice<const int32_t> tables) {
  return model.name_space(buffers, tables);
}

Status seal(Model& model) { return model.seal(); }

Status counters(Model& model, Slice<double> out) {
  if (out.length != MODEL_COUNTERS) return bad_argument("counters are %d numbers", MODEL_COUNTERS);
  const Counters& c = model.counters();
  auto bytes = [&](Purpose purpose) { return static_cast<double>(c.bytes[static_cast<int>(purpose)]); };
  out.data[MODEL_ACTIVATION_BYTES] = bytes(Purpose::activations);
  out.data[MODEL_KV_BYTES] = bytes(Purpose::kv);
  out.data[MODEL_SCRATCH_BYTES] = bytes(Purpose::scratch);
  out.data[MODEL_WEIGHT_BYTES] = bytes(Purpose::weights);
  out.data[MODEL_ALLOCATIONS] = static_cast<double>(c.allocations);
  return done();
}

}  // namespace hw
