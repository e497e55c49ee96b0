// What the files of the addon share.
#pragma once
#include "../model.h"
#include "../napi.h"
#include "../resources.h"

namespace hw {

// A model handle's owner side: what JavaScript lends it and what it lends JavaScript.
struct OpenModel {
  Model* model;
  napi_ref cancel_flag;
  std::vector<std::pair<int32_t, napi_ref>> views;  // tensor -> the array JavaScript sees it through
};

struct Environment {
  explicit Environment(napi_env e) : env(e) {}
  const napi_env env;
  napi_ref error_class = nullptr;
  std::vector<OpenModel> models;  // handle - 1 -> model, null when closed

  // `ending`: the environment goes with it, and JavaScript will not look at anything any more.
  void close(OpenModel& open, bool ending = false);
};

// --- host_windows.cc: false when a function of Node-API that is used here is missing in this program.
bool host_has_node_api();

// --- environment.cc
Status set_error_class(Environment& environment, napi_value constructor);
Result<int32_t> model_open(Environment& environment, int32_t threads, Nullable<Slice<const int32_t>> cpus,
                           int32_t nodes,
                          Nullable<Text> isa);
Status model_close(Environment& environment, int32_t handle);
Status model_set_cancel(Environment& environment, int32_t handle, napi_value flag);
// The tensor's memory as a Float32Array, the same each time. It is empty once the model is closed.
Result<napi_value> tensor_view(Environment& environment, int32_t handle, int32_t tensor);

// --- tools.cc: no model
Result<const char*> isa();
Result<napi_value> isas(Environment& environment);
// Which tables of src/native/boundary.ts this was built from.
Result<const char*> boundary();
Result<napi_value> cpu_info(Environment& environment);
// Allocations from so many bytes are mappings of their own, and an arena's end is given back when so much of it is
// free. glibc moves both thresholds up as it goes, and holds what the largest blocks once took; these stay.
Status bound_malloc(int32_t map_from, int32_t trim_from);
Result<int32_t> limit_memory(int32_t growth);
// Gives free pages of malloc's arenas, of all threads, back to the system. 1 when there were any; 0 without glibc.
Result<int32_t> trim_memory();
// By MemoryState of the boundary.
Status memory_state_of_system(Slice<double> out);
// 1: locked until the descriptor is closed; 0: another one holds it; -1: this file system has no locks.
Result<int32_t> lock_file(int32_t descriptor);
// Of all models of the process: tiles finished, modulo 2^31; threads that wait for the disk.
Result<int32_t> tiles_finished();
Result<int32_t> threads_reading();
Status dequantize(int32_t dtype, Slice<const uint8_t> bytes, Slice<float> out, const Nullable<Text>& isa);
Status dot(int32_t dtype, Slice<const uint8_t> bytes, int64_t rows, int64_t cols, Slice<const float> x, int32_t n,
           Slice<float> out, const Nullable<Text>& isa, const Text& kernel);

// Bytes of a row of `rows` rows, all of which are within `available` bytes.
Result<int64_t> row_bytes_within(int32_t dtype, int64_t rows, int64_t cols, int64_t available);

// --- encode.cc
// Rows of type `from` as rows of type `to`, weighed by the importance of their columns where it is given. Returns the
// index of the first value that is not finite, or -1; then all of `out` is written.
Result<double> encode(int32_t from, Slice<const uint8_t> bytes, int32_t to, int64_t rows, int64_t cols,
                      const Nullable<Slice<const float>>& importance, Slice<uint8_t> out, int32_t threads,
                      const Nullable<Text>& isa);
// The same with error feedback: a factor of make_factor, of blocks of `block` columns in the order of `order`.
Result<double> encode_with_feedback(int32_t from, Slice<const uint8_t> bytes, int32_t to, int64_t rows, int64_t cols,
                                    Slice<const float> importance, Slice<const float> factor, int64_t block,
                                    Slice<const int32_t> order, Slice<uint8_t> out, int32_t threads,
                                    const Nullable<Text>& isa);

// --- integers.cc
// Rows as integers of `bits` bits under scales of groups of columns in `order`, with error feedback where a factor is
// given. Codes as the columns stand; scales and offsets group by group. Returns what encode returns.
Result<double> encode_integers(int32_t from, Slice<const uint8_t> bytes, int64_t rows, int64_t cols, int32_t bits,
                               int64_t group, bool symmetric, int32_t trials,
                               const Nullable<Slice<const float>>& multipliers, Slice<const float> weights,
                               const Nullable<Slice<const float>>& factor, int64_t block, Slice<const int32_t> order,
                               Slice<uint8_t> codes, Slice<float> scales, Slice<uint8_t> offsets,
                               Slice<double> errors, int32_t threads, const Nullable<Text>& isa);
// Rows with some columns at zero and the others changed so that the outputs change least. Returns what encode returns.
Result<double> repair_columns(int32_t from, Slice<const uint8_t> bytes, int64_t rows, int64_t cols,
                              Slice<const float> factor, int64_t block, Slice<const int32_t> order,
                              const Nullable<Slice<const uint8_t>>& dropped, Slice<float> out, Slice<double> errors,
                              int32_t threads, const Nullable<Text>& isa);

// --- moments.cc
// Adds x'x to `sums`: tiles of blocks of `block` columns (encode/feedback.h).
Status add_moments(Slice<const float> x, int64_t rows, int64_t cols, int64_t block, Slice<float> sums,
                   int32_t threads, const Nullable<Text>& isa);
// What encode_with_feedback takes, of such sums: off-diagonals times 1 - shrink, `damp` means more on the diagonal.
Status make_factor(Slice<const float> sums, int64_t block, Slice<const int32_t> order, double shrink, double damp,
                   Slice<float> factor, int32_t threads, const Nullable<Text>& isa);

// --- best.cc
// The `count` largest logits that are not marked, as a heap with the worst on top: the lower logit, of equal ones the
// higher id. Returns how many there are, or -1 - i when logit i is not a finite number.
Result<double> best_logits(Slice<const float> row, const Nullable<Slice<const uint8_t>>& marks, int32_t count,
                           Slice<int32_t> ids, Slice<double> logits);

// Sum of e^(logit - max), max the largest one: relative error about 1e-13.
Result<double> sum_of_exp(Slice<const float> row, double max);

// --- spans.cc
// Spans of threads are kept from now on, up to `most` until they are taken; 0: none any more.
Status keep_spans(int64_t most);
// out: [thread, begin, end] each, in milliseconds of a clock of its own; then that clock now and how many spans were
// lost. Returns how many are in it.
Result<double> take_spans(Slice<double> out);

// --- read_rate.cc
Status read_rate(const Text& path, bool direct, int32_t engine, int32_t depth, int64_t request_bytes,
                 Slice<const double> extents, Slice<double> out);

// --- probe.cc
// Bytes per second, all threads: loops without, with and with non-temporal prefetch over huge pages, over ordinary
// ones; then the bytes of either that were touched.
Status memory_rate(int32_t threads, int64_t bytes, double seconds, Slice<double> out);
// Null where there can be no such pool.
std::unique_ptr<Pool> open_pool(int32_t threads);

// --- compute_rates.cc: of all threads, by their processor time; three times, then for `seconds`
// Operations per second of products of `tokens` rows, two per multiply-add.
Result<double> gemm_rate(int32_t threads, int32_t dtype, int32_t tokens, double seconds);
// Operations per second of a prompt's attention, two per multiply-add.
Result<double> attention_rate(int32_t threads, double seconds);
// Values per second that gates make.
Result<double> gate_rate(int32_t threads, double seconds);

// The table of `isa`, or the selected one when there is none. OPTION_INVALID when it cannot be used here.
Result<const Kernels*> kernels_by_name(const Nullable<Text>& isa);

}  // namespace hw
