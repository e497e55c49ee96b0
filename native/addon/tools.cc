// What tests and `doctor` ask for without a model.
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "addon.h"
#include "cpu.h"
#include "../io/liveness.h"
#include "../system/limits.h"

namespace hw {

Result<const Kernels*> kernels_by_name(const Nullable<Text>& isa) {
  if (!isa.present) {
    const Kernels* selected = &kernels();
    if (kernels_error() != nullptr) return fail("OPTION_INVALID", "%s", kernels_error());
    return selected;
  }
  const Kernels* found = kernels_for(isa.value.data);
  if (found == nullptr)
    return fail("OPTION_INVALID", "instruction set '%.40s' cannot be used on this CPU", isa.value.data);
  return found;
}

Status bound_malloc(int32_t map_from, int32_t trim_from) {
  // Were every small block a mapping of its own, the process would soon have as many as the system allows.
  constexpr int32_t kLeast = 16 * 1024;
  if (map_from < kLeast || trim_from < kLeast) return bad_argument("malloc's thresholds are at least %d bytes", kLeast);
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, map_from);
  mallopt(M_TRIM_THRESHOLD, trim_from);
#else
  (void)map_from, (void)trim_from;
#endif
  return done();
}

Result<int32_t> trim_memory() {
#if defined(__GLIBC__)
  return static_cast<int32_t>(malloc_trim(0));
#else
  return int32_t{0};
#endif
}

Result<int32_t> limit_memory(int32_t growth) { return limit_own_memory(growth); }

Result<int32_t> tiles_finished() {
  return static_cast<int32_t>(finished_tiles() & 0x7fffffff);
}

Result<int32_t> threads_reading() { return disk_waits.load(std::memory_order_relaxed); }

Result<int32_t> lock_file(int32_t descriptor) { return lock_descriptor(descriptor); }

Status memory_state_of_system(Slice<double> out) {
  if (out.length != MEMORY_STATES) return bad_argument("a memory state is %d numbers", MEMORY_STATES);
  const MemoryState state = memory_state();
  out.data[MEMORY_TOTAL_BYTES] = state.total;
  out.data[MEMORY_AVAILABLE_BYTES] = state.available;
  out.data[MEMORY_COMMIT_LIMIT_BYTES] = state.commit_limit;
  out.data[MEMORY_COMMIT_LEFT_BYTES] = state.commit_left;
  out.data[MEMORY_JOB_LIMIT_BYTES] = state.job_limit;
  out.data[MEMORY_JOB_LEFT_BYTES] = state.job_left;
  out.data[MEMORY_OWN_BYTES] = state.own;
  out.data[MEMORY_PRESSURE] = state.pressure;
  return done();
}

Result<const char*> isa() {
  Nullable<Text> none;
  none.present = false;
  Result<const Kernels*> selected = kernels_by_name(none);
  if (!selected.ok) return Status{false};
  return selected.value->isa;
}

Result<const char*> boundary() { return kBoundaryVersion; }

static napi_value strings(napi_env env, const char* const* items, int count) {
  napi_value list = nullptr;
  napi_create_array(env, &list);
  for (int i = 0; i < count; i++) napi_set_element(env, list, static_cast<uint32_t>(i), napi::to_value(env, items[i]));
  return list;
}

Result<napi_value> isas(Environment& environment) {
  int count;
  const char* const* names = isa_names(&count);
  const char* usable[16];
  int found = 0;
  for (int i = 0; i < count && found < 16; i++) {
    if (kernels_for(names[i]) != nullptr) usable[found++] = names[i];
  }
  return strings(environment.env, usable, found);
}

Result<napi_value> cpu_info(Environment& environment) {
  napi_env env = environment.env;
  CpuInfo info;
  read_cpu_info(&info);
  napi_value result = nullptr;
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "model", napi::to_value(env, static_cast<const char*>(info.model)));
  napi_set_named_property(env, result, "features", strings(env, info.features, info.feature_count));
  napi_set_named_property(env, result, "physicalCores", napi::to_value(env, static_cast<int32_t>(info.cores.physical)));
  napi_set_named_property(env, result, "fastestCores", napi::to_value(env, static_cast<int32_t>(info.cores.fastest)));
  const char* note = kernels_note();
  if (note != nullptr) napi_set_named_property(env, result, "note", napi::to_value(env, note));
  return result;
}

Result<int64_t> row_bytes_within(int32_t dtype, int64_t rows, int64_t cols, int64_t available) {
  const DtypeInfo* info = dtype_info(dtype);
  if (info == nullptr) return bad_argument("tensor type %d has no kernels", dtype);
  if (rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX || cols % info->block != 0) {
    return bad_argument("%lld x %lld values of %s", static_cast<long long>(rows), static_cast<long long>(cols),
                        info->name);
  }
  int64_t row_bytes = cols / info->block * info->bytes;
  if (row_bytes > available / rows) return bad_argument("the bytes are fewer than the shape needs");
  return row_bytes;
}

Status dequantize(int32_t dtype, Slice<const uint8_t> bytes, Slice<float> out, const Nullable<Text>& isa) {
  Result<const Kernels*> found = kernels_by_name(isa);
  if (!found.ok) return Status{false};
  Result<int64_t> row_bytes = row_bytes_within(dtype, 1, out.length, bytes.length);
  if (!row_bytes.ok) return Status{false};
  found.value->dequantize[dtype](bytes.data, out.data, out.length);
  return done();
}

Status dot(int32_t dtype, Slice<const uint8_t> bytes, int64_t rows, int64_t cols, Slice<const float> x, int32_t n,
           Slice<float> out, const Nullable<Text>& isa, const Text& kernel) {
  Result<const Kernels*> found = kernels_by_name(isa);
  if (!found.ok) return Status{false};
  Result<int64_t> row_bytes = row_bytes_within(dtype, rows, cols, bytes.length);
  if (!row_bytes.ok) return Status{false};
  if (n < 1 || x.length != cols * n || out.length != rows * n)
    return bad_argument("x must hold n x cols, out n x rows values");
  bool gemm = strcmp(kernel.data, "gemm") == 0;
  if (!gemm && strcmp(kernel.data, "matvec") != 0) return bad_argument("the kernel must be matvec or gemm");

  const Kernels& k = *found.value;
  ActKind kind = dtype_info(dtype)->acts;
  Counters counters;
  Buffer q, d, sums, scratch;
  int64_t stride = (cols + 63) / 64 * 64, values = stride * n;
  bool ok = scratch.allocate(&counters, Purpose::scratch, kScratchBytes);
  if (kind != ACTS_F32) {
    ok = ok && q.allocate(&counters, Purpose::scratch, static_cast<size_t>(values)) &&
         d.allocate(&counters, Purpose::scratch, static_cast<size_t>(values) / 32 * sizeof(float)) &&
         sums.allocate(&counters, Purpose::scratch, static_cast<size_t>(values) / 16 * sizeof(int16_t));
  }
  if (!ok) return fail("MEMORY_BUDGET", "no memory for the activations of a dot");
  Acts acts = {kind, n, static_cast<int32_t>(cols), x.data, q.as<int8_t>(), d.as<float>(), sums.as<int16_t>(),
               cols, stride, stride / (kind == ACTS_Q8_256 ? 256 : 32), stride / 16};
  for (int32_t t = 0; t < n && kind != ACTS_F32; t++) {
    auto quantize = kind == ACTS_Q8_256 ? k.quantize_q8_256 : k.quantize_q8_32;
    quantize(x.data + t * cols, q.as<int8_t>() + t * stride, d.as<float>() + t * acts.d_stride,
             sums.as<int16_t>() + t * acts.sums_stride, cols);
  }
  MatmulFn fn = gemm ? k.gemm[dtype] : k.matvec[dtype];
  fn(bytes.data, row_bytes.value, static_cast<int32_t>(rows), static_cast<int32_t>(cols), &acts, nullptr, n, out.data,
     rows, scratch.as<void>());
  return done();
}

}  // namespace hw
