// Creation and copying of what a host owns. Names and arguments are those of src/native/addon.types.ts.
#pragma once
#include "host.h"
#include "slice.h"

namespace hw {

Result<int32_t> file_open(Host& host, const char* path);
Result<int32_t> file_open_unmapped(Host& host, const char* path, bool direct);
Result<int64_t> file_bytes(Host& host, int32_t file);
// extents: [plane, file, offset, bytes] each; of a plane in ascending order of experts, of a plain matrix of its
// segments.
Result<int32_t> weight(Host& host, int32_t layout, int64_t rows, int64_t cols, int64_t experts,
                       Slice<const double> extents);
Status weight_read(Host& host, int32_t weight, int64_t expert, int64_t row0, int64_t count, Slice<float> out);

// One row as f32, from memory or from disk.
Status dequantize_row(const Kernels& kernels, const Weight& weight, int64_t expert, int64_t row, float* out);

Result<int32_t> tensor(Host& host, int32_t rows, int32_t cols);
// Memory for so many f32, and a tensor at `offset` floats in it.
Result<int32_t> arena(Host& host, int64_t floats);
Result<int32_t> tensor_at(Host& host, int32_t arena, int64_t offset, int32_t rows, int32_t cols);
Status tensor_read(Host& host, int32_t tensor, int32_t rows, Slice<float> out);
Status tensor_write(Host& host, int32_t tensor, Slice<const float> values);
Result<int32_t> vector(Host& host, Slice<const float> values);
Result<int32_t> routing(Host& host, int32_t rows, int32_t top_k);
Status routing_read(Host& host, int32_t routing, int32_t rows, Slice<int32_t> ids, Slice<float> weights);
Result<int32_t> rope_table(Host& host, Slice<const double> frequencies, double magnitude, bool interleaved,
                           int32_t max_rows);
Result<int32_t> kv_pool(Host& host, Slice<const int32_t> layers, int32_t type, int32_t pages);
Result<int64_t> kv_page_bytes(Host& host, int32_t pool);
Status kv_copy_page(Host& host, int32_t pool, int32_t from, int32_t to);
// All working space that verbs will use (host.h).
Status name_space(Host& host, Slice<const double> buffers, Slice<const int32_t> tables);
Status seal(Host& host);
Status counters(Host& host, Slice<double> out);

}  // namespace hw
