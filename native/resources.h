// Creation and copying of what a model owns. Names and arguments are those of src/native/addon.types.ts.
#pragma once
#include "model.h"
#include "slice.h"

namespace hw {

Result<int32_t> file_open(Model& model, const char* path);
Result<int32_t> file_open_unmapped(Model& model, const char* path, bool direct);
Result<int64_t> file_bytes(Model& model, int32_t file);
// extents: [plane, file, offset, bytes] each; of a plane in ascending order of experts, of a plain matrix of its
// segments.
Result<int32_t> weight(Model& model, Slice<const double> layout, int64_t rows, int64_t cols, int64_t experts,
                       Slice<const double> extents);
// A weight in memory of its own, zeroes until it is filled; of layouts of blocks.
Result<int32_t> weight_held(Model& model, int32_t dtype, int64_t rows, int64_t cols, int64_t experts);
Status weight_fill(Model& model, int32_t weight, int64_t offset, Slice<const uint8_t> bytes);
// Before it is placed: products take it by heads, so rows of two of them may not be packed together.
Status weight_heads(Model& model, int32_t weight, int32_t heads);
Status weight_read(Model& model, int32_t weight, int64_t expert, int64_t row0, int64_t count, Slice<float> out);

// MODEL_INVALID when an index at `at`, of so many experts, names groups that are not there. Kernels stay in bounds
// either way.
Status check_index(const Weight& weight, const uint8_t* at, int64_t experts);

// One row as f32, from memory or from disk.
Status dequantize_row(const Kernels& kernels, const Weight& weight, int64_t expert, int64_t row, float* out);

Result<int32_t> tensor(Model& model, int32_t rows, int32_t cols);
// Memory for so many f32, and a tensor at `offset` floats in it.
Result<int32_t> arena(Model& model, int64_t floats);
Result<int32_t> tensor_at(Model& model, int32_t arena, int64_t offset, int32_t rows, int32_t cols);
Status tensor_read(Model& model, int32_t tensor, int32_t rows, Slice<float> out);
Status tensor_write(Model& model, int32_t tensor, Slice<const float> values);
Result<int32_t> vector(Model& model, Slice<const float> values);
Result<int32_t> routing(Model& model, int32_t rows, int32_t top_k);
Status routing_read(Model& model, int32_t routing, int32_t rows, Slice<int32_t> ids, Slice<float> weights);
Result<int32_t> rope_table(Model& model, Slice<const double> frequencies, double magnitude, bool interleaved,
                           int32_t max_rows, int32_t back, int32_t first);
Result<int32_t> kv_pool(Model& model, Slice<const int32_t> layers, int32_t keys, int32_t values, bool hadamard,
                        int32_t pages, int32_t frames, int32_t every);
// For a pool of fewer frames than pages: where the others lie, page after page at multiples of the disk's; `places`
// parts of pages are read at a time. Opens the file; its owner may remove its name then. FILE_IO, MEMORY_BUDGET.
Status kv_cold_file(Model& model, int32_t pool, const char* path, int32_t places);
// A page gets a frame whose bytes may be anything, or gives it back. MEMORY_BUDGET when all frames are taken.
Status kv_frame(Model& model, int32_t pool, int32_t page, bool wanted);
Result<int64_t> kv_page_bytes(Model& model, int32_t pool);
Status kv_copy_page(Model& model, int32_t pool, int32_t from, int32_t to);
// Bytes of a page or a slot of `pool`, from `offset` on.
Status unit_read(Model& model, int32_t pool, int32_t unit, int64_t offset, Slice<uint8_t> out);
Status unit_write(Model& model, int32_t pool, int32_t unit, int64_t offset, Slice<const uint8_t> bytes);
// All working space that verbs will use (model.h).
Status name_space(Model& model, Slice<const double> buffers, Slice<const int32_t> tables);
Status seal(Model& model);
Status counters(Model& model, Slice<double> out);

}  // namespace hw
