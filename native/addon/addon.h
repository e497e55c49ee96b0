// What the files of the addon share.
#pragma once
#include "../host.h"
#include "../napi.h"
#include "../resources.h"

namespace hw {

// A host handle's owner side: the flag that can cancel it is kept alive here.
struct OpenHost {
  Host* host;
  napi_ref cancel_flag;
};

struct Environment {
  explicit Environment(napi_env e) : env(e) {}
  const napi_env env;
  napi_ref error_class = nullptr;
  std::vector<OpenHost> hosts;  // handle - 1 -> host, null when closed

  void close(OpenHost& open);
};

// --- environment.cc
Status set_error_class(Environment& environment, napi_value constructor);
Result<int32_t> host_open(Environment& environment, int32_t threads, Nullable<Slice<const int32_t>> cpus,
                          Nullable<Text> isa);
Status host_close(Environment& environment, int32_t handle);
Status host_set_cancel(Environment& environment, int32_t handle, napi_value flag);

// --- tools.cc: no host
Result<const char*> isa();
Result<napi_value> isas(Environment& environment);
Result<napi_value> cpu_info(Environment& environment);
Status dequantize(int32_t dtype, Slice<const uint8_t> bytes, Slice<float> out, const Nullable<Text>& isa);
Status dot(int32_t dtype, Slice<const uint8_t> bytes, int64_t rows, int64_t cols, Slice<const float> x, int32_t n,
           Slice<float> out, const Nullable<Text>& isa, const Text& kernel);

// --- read_rate.cc
Status read_rate(const Text& path, bool direct, int32_t engine, int32_t depth, int64_t request_bytes,
                 Slice<const double> extents, Slice<double> out);

// --- probe.cc
// Bytes per second, all threads: loops without, with and with non-temporal prefetch over huge pages, over ordinary ones;
// then the bytes of either that were touched.
Status memory_rate(int32_t threads, int64_t bytes, double seconds, Slice<double> out);
// Operations per second of products of many rows, two per multiply-add. Runs once, then for `seconds`.
Result<double> gemm_rate(int32_t threads, int32_t dtype, double seconds);

// The table of `isa`, or the selected one when there is none. OPTION_INVALID when it cannot be used here.
Result<const Kernels*> kernels_by_name(const Nullable<Text>& isa);

}  // namespace hw
