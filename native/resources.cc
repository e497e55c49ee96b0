#include "resources.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "kernels/packed.h"

namespace hw {

namespace {

// Far above any model, low enough that products of two fit 64 bits.
constexpr int64_t kLargestDim = int64_t{1} << 30;
constexpr int64_t kLargestAllocation = int64_t{1} << 46;

Status no_memory(const char* what, int64_t bytes) {
  return fail("MEMORY_BUDGET", "no memory for a %s of %lld bytes", what, static_cast<long long>(bytes));
}

Status allocate(Host& host, Buffer& buffer, Purpose purpose, const char* what, int64_t bytes, bool huge = false) {
  if (bytes < 0 || bytes > kLargestAllocation) return no_memory(what, bytes);
  bool ok = buffer.allocate(&host.counters(), purpose, static_cast<size_t>(bytes), huge);
  return ok ? done() : no_memory(what, bytes);
}

}  // namespace

Result<int32_t> file_open(Host& host, const char* path) {
  HW_TRY(host.check_open());
  std::unique_ptr<File> file(new File);
  HW_TRY(file->data.open(path, IoMode::buffered));
  HW_TRY(file->mapping.open(file->data));
  return host.add(file.release());
}

Result<int32_t> file_open_unmapped(Host& host, const char* path, bool direct) {
  HW_TRY(host.check_open());
  std::unique_ptr<File> file(new File);
  HW_TRY(file->data.open(path, direct ? IoMode::direct : IoMode::buffered));
  file->data.no_readahead();
  return host.add(file.release());
}

Result<int64_t> file_bytes(Host& host, int32_t handle) {
  HW_GET(File, file, host, handle);
  return file.data.bytes();
}

Result<int32_t> weight(Host& host, int32_t layout_id, int64_t rows, int64_t cols, int64_t experts,
                       Slice<const double> extents) {
  HW_TRY(host.check_open());
  const Layout* layout = layout_of(layout_id);
  if (layout == nullptr) return bad_argument("layout %d has no kernels", layout_id);
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
  if (extents.length % 4 != 0) return bad_argument("extents are [plane, file, offset, bytes] each");
  int64_t known[kMostPlanes] = {}, mapped = 0;
  for (int64_t i = 0; i < extents.length; i += 4) {
    for (int64_t k = i; k < i + 4; k++) {
      if (!(extents.data[k] >= 0 && extents.data[k] <= 9007199254740991.0)) return bad_argument("an extent that is no number");
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
    const int64_t least = experts == 1 ? w.slices.plane_bytes[plane] : one;
    if (bytes < 1 || bytes > all - known[plane] || bytes % least != 0) {
      return bad_argument("%lld bytes of plane %lld", static_cast<long long>(bytes), static_cast<long long>(plane));
    }
    HW_GET(File, file, host, static_cast<int32_t>(std::min(extents.data[i + 1], 2147483647.0)));
    if (offset < 0 || bytes > file.data.bytes() || offset > file.data.bytes() - bytes) {
      return bad_argument("the weight ends outside its file of %lld bytes", static_cast<long long>(file.data.bytes()));
    }
    // One extent for all experts, or one for each; of a plain matrix as many as there are.
    const int64_t each = bytes == all || experts == 1 ? bytes : one;
    for (int64_t from = 0; from < bytes; from += each) {
      PlaneExtent extent;
      extent.file = &file.data;
      extent.offset = offset + from;
      extent.first = experts == 1 ? known[plane] / least : 0;
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
  host.counters().bytes[static_cast<int>(Purpose::weights)] += mapped;
  return host.add(object.release());
}

Status weight_read(Host& host, int32_t handle, int64_t expert, int64_t row0, int64_t count, Slice<float> out) {
  HW_GET(WeightObject, object, host, handle);
  const Weight& w = object.weight;
  if (expert < 0 || expert >= w.experts || row0 < 0 || count < 0 || count > w.rows || row0 > w.rows - count) {
    return bad_argument("rows %lld + %lld of expert %lld are outside the weight", static_cast<long long>(row0),
                        static_cast<long long>(count), static_cast<long long>(expert));
  }
  if (out.length != count * w.cols) return bad_argument("out must hold %lld values", static_cast<long long>(count * w.cols));
  for (int64_t r = 0; r < count; r++) HW_TRY(dequantize_row(host.kernels(), w, expert, row0 + r, out.data + r * w.cols));
  return host.check_mappings();
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

Result<int32_t> tensor(Host& host, int32_t rows, int32_t cols) {
  HW_TRY(host.check_open());
  if (rows < 1 || cols < 1) return bad_argument("a tensor of %d x %d values", rows, cols);
  std::unique_ptr<Tensor> object(new Tensor);
  object->rows = rows;
  object->cols = cols;
  int64_t bytes = static_cast<int64_t>(rows) * cols * static_cast<int64_t>(sizeof(float));
  HW_TRY(allocate(host, object->memory, Purpose::activations, "tensor", bytes));
  return host.add(object.release());
}

Result<int32_t> arena(Host& host, int64_t floats) {
  HW_TRY(host.check_open());
  if (floats < 1 || floats > kLargestAllocation / 4) return bad_argument("an arena of %lld values", static_cast<long long>(floats));
  std::unique_ptr<Arena> object(new Arena);
  HW_TRY(allocate(host, object->memory, Purpose::activations, "arena", floats * static_cast<int64_t>(sizeof(float))));
  return host.add(object.release());
}

Result<int32_t> tensor_at(Host& host, int32_t arena_handle, int64_t offset, int32_t rows, int32_t cols) {
  HW_TRY(host.check_open());
  HW_GET(Arena, arena, host, arena_handle);
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
  return host.add(object.release());
}

Status tensor_read(Host& host, int32_t handle, int32_t rows, Slice<float> out) {
  HW_GET(Tensor, x, host, handle);
  if (rows < 0 || rows > x.rows) return bad_argument("%d rows of a tensor of %d", rows, x.rows);
  int64_t values = static_cast<int64_t>(rows) * x.cols;
  if (out.length != values) return bad_argument("out must hold %lld values", static_cast<long long>(values));
  if (values > 0) memcpy(out.data, x.data(), static_cast<size_t>(values) * sizeof(float));
  return done();
}

Status tensor_write(Host& host, int32_t handle, Slice<const float> values) {
  HW_GET(Tensor, x, host, handle);
  if (values.length > static_cast<int64_t>(x.rows) * x.cols || values.length % x.cols != 0) {
    return bad_argument("%lld values do not fill rows of a %d x %d tensor", static_cast<long long>(values.length), x.rows,
                        x.cols);
  }
  if (values.length > 0) memcpy(x.data(), values.data, static_cast<size_t>(values.length) * sizeof(float));
  return done();
}

Result<int32_t> vector(Host& host, Slice<const float> values) {
  HW_TRY(host.check_open());
  if (values.length < 1 || values.length > INT32_MAX) return bad_argument("a vector needs values");
  std::unique_ptr<Vector> object(new Vector);
  object->length = static_cast<int32_t>(values.length);
  HW_TRY(allocate(host, object->memory, Purpose::weights, "vector", values.length * static_cast<int64_t>(sizeof(float))));
  memcpy(object->memory.as<float>(), values.data, static_cast<size_t>(values.length) * sizeof(float));
  return host.add(object.release());
}

Result<int32_t> routing(Host& host, int32_t rows, int32_t top_k) {
  HW_TRY(host.check_open());
  if (rows < 1 || top_k < 1 || top_k > 65536) return bad_argument("a routing of %d rows and %d experts", rows, top_k);
  std::unique_ptr<Routing> object(new Routing);
  object->rows = rows;
  object->top_k = top_k;
  int64_t values = static_cast<int64_t>(rows) * top_k;
  HW_TRY(allocate(host, object->memory, Purpose::activations, "routing", values * 8));
  return host.add(object.release());
}

Status routing_read(Host& host, int32_t handle, int32_t rows, Slice<int32_t> ids, Slice<float> weights) {
  HW_GET(Routing, routing, host, handle);
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

Result<int32_t> rope_table(Host& host, Slice<const double> frequencies, double magnitude, bool interleaved,
                           int32_t max_rows) {
  HW_TRY(host.check_open());
  if (frequencies.length < 1 || frequencies.length > 65536 || max_rows < 1) {
    return bad_argument("a rope table of %lld pairs and %d rows", static_cast<long long>(frequencies.length), max_rows);
  }
  std::unique_ptr<RopeTable> object(new RopeTable);
  object->pairs = static_cast<int32_t>(frequencies.length);
  object->max_rows = max_rows;
  object->magnitude = static_cast<float>(magnitude);
  object->interleaved = interleaved;
  HW_TRY(allocate(host, object->frequencies, Purpose::weights, "rope table", frequencies.length * 8));
  memcpy(object->frequencies.as<double>(), frequencies.data, static_cast<size_t>(frequencies.length) * sizeof(double));
  HW_TRY(allocate(host, object->angles, Purpose::activations, "rope table", int64_t{8} * object->pairs * max_rows));
  return host.add(object.release());
}

Result<int32_t> kv_pool(Host& host, Slice<const int32_t> layers, int32_t type, int32_t pages) {
  HW_TRY(host.check_open());
  if (type < 0 || type >= KV_TYPES) return bad_argument("KV type %d", type);
  if (layers.length < 3 || layers.length % 3 != 0 || layers.length > 3 * 65536 || pages < 1) {
    return bad_argument("a KV pool of %lld layer values and %d pages", static_cast<long long>(layers.length), pages);
  }
  std::unique_ptr<KvPool> pool(new KvPool);
  int64_t offset = 0;
  for (int64_t i = 0; i < layers.length; i += 3) {
    KvLayer layer = {layers.data[i], layers.data[i + 1], layers.data[i + 2], 0, 0, 0, 0};
    if (layer.heads < 1 || layer.heads > 65536 || layer.dim_k < 1 || layer.dim_k > kMaxHeadDim || layer.dim_v < 0 ||
        layer.dim_v > kMaxHeadDim) {
      return bad_argument("a KV layer of %d heads of %d and %d values", layer.heads, layer.dim_k, layer.dim_v);
    }
    const DtypeInfo& stored = *dtype_info(type == KV_F16 ? F16 : type == KV_Q8_0 ? Q8_0 : Q4_0);
    layer.row_bytes_k = layer.dim_k / stored.block * stored.bytes;
    layer.row_bytes_v = layer.dim_v / stored.block * stored.bytes;
    if (layer.dim_k % stored.block != 0 || layer.dim_v % stored.block != 0) {
      return fail("OPTION_INVALID", "this model's heads of %d and %d values do not fit a quantized KV cache (multiples of 32): use f16",
                  layer.dim_k, layer.dim_v);
    }
    layer.offset_k = offset;
    layer.offset_v = offset + layer.heads * kPagePositions * layer.row_bytes_k;
    offset = layer.offset_v + layer.heads * kPagePositions * layer.row_bytes_v;
    pool->layers.push_back(layer);
  }
  pool->type = static_cast<KvType>(type);
  pool->pages = pages;
  pool->page_bytes = offset;
  if (offset > kLargestAllocation / pages) return no_memory("KV pool", offset);
  HW_TRY(allocate(host, pool->memory, Purpose::kv, "KV pool", offset * pages, true));
  pool->index = host.next_pool();
  return host.add(pool.release());
}

Result<int64_t> kv_page_bytes(Host& host, int32_t handle) {
  HW_GET(KvPool, pool, host, handle);
  return pool.page_bytes;
}

Status kv_copy_page(Host& host, int32_t handle, int32_t from, int32_t to) {
  HW_GET(KvPool, pool, host, handle);
  if (from < 0 || from >= pool.pages || to < 0 || to >= pool.pages) {
    return bad_argument("pages %d and %d of a pool of %d", from, to, pool.pages);
  }
  if (from != to) memcpy(pool.page(to), pool.page(from), static_cast<size_t>(pool.page_bytes));
  return done();
}

Status name_space(Host& host, Slice<const double> buffers, Slice<const int32_t> tables) {
  return host.name_space(buffers, tables);
}

Status seal(Host& host) { return host.seal(); }

Status counters(Host& host, Slice<double> out) {
  if (out.length != 5) return bad_argument("counters are 5 numbers");
  const Counters& c = host.counters();
  auto bytes = [&](Purpose purpose) { return static_cast<double>(c.bytes[static_cast<int>(purpose)]); };
  out.data[0] = bytes(Purpose::activations);
  out.data[1] = bytes(Purpose::kv);
  out.data[2] = bytes(Purpose::scratch);
  out.data[3] = bytes(Purpose::weights);
  out.data[4] = static_cast<double>(c.allocations);
  return done();
}

}  // namespace hw
