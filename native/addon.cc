// The addon's export list. Argument types are checked by the binding (napi.h), their values by what is bound.
#include "addon/addon.h"
#include "ops/ops.h"
#include "ops/slots.h"
#include "addon/placement.h"
#include "share.h"

namespace hw {

namespace {

Result<int32_t> open_file(Model& model, const Text& path) { return file_open(model, path.data); }
Result<int32_t> open_unmapped(Model& model, const Text& path, bool direct) {
  return file_open_unmapped(model, path.data, direct);
}

Status cold_file(Model& model, int32_t pool, const Text& path, int32_t places) {
  return kv_cold_file(model, pool, path.data, places);
}

Status split_threads(Model& model, int32_t one_row, int32_t many_rows) {
  return model.split_threads(one_row, many_rows);
}

template <auto fn>
napi_property_descriptor bind(const char* name) {
  return napi_property_descriptor{name, nullptr, &napi::callback<fn>, nullptr, nullptr, nullptr,
                                  napi_enumerable, const_cast<char*>(name)};
}

void release(void* data) {
  Environment* environment = static_cast<Environment*>(data);
  for (OpenModel& open : environment->models) environment->close(open, true);
  delete environment;
}

napi_value init(napi_env env, napi_value exports) {
  Environment* environment = new Environment(env);
  napi_set_instance_data(env, environment, nullptr, nullptr);
  napi_add_env_cleanup_hook(env, release, environment);
  const napi_property_descriptor functions[] = {
      bind<set_error_class>("setErrorClass"),
      bind<isa>("isa"),
      bind<isas>("isas"),
      bind<boundary>("boundary"),
      bind<cpu_info>("cpuInfo"),
      bind<bound_malloc>("boundMalloc"),
      bind<trim_memory>("trimMemory"),
      bind<limit_memory>("limitMemory"),
      bind<lock_file>("lockFile"),
      bind<memory_state_of_system>("memoryState"),
      bind<tiles_finished>("tilesFinished"),
      bind<threads_reading>("threadsReading"),
      bind<dequantize>("dequantize"),
      bind<encode>("encode"),
      bind<encode_with_feedback>("encodeWithFeedback"),
      bind<encode_integers>("encodeIntegers"),
      bind<repair_columns>("repairColumns"),
      bind<add_moments>("addMoments"),
      bind<make_factor>("makeFactor"),
      bind<dot>("dot"),
      bind<best_logits>("bestLogits"),
      bind<sum_of_exp>("sumOfExp"),
      bind<keep_spans>("keepThreadSpans"),
      bind<take_spans>("takeThreadSpans"),
      bind<read_rate>("readRate"),
      bind<memory_rate>("memoryRate"),
      bind<gemm_rate>("gemmRate"),
      bind<attention_rate>("attentionRate"),
      bind<gate_rate>("gateRate"),
      bind<model_open>("modelOpen"),
      bind<split_threads>("modelThreads"),
      bind<model_close>("modelClose"),
      bind<model_set_cancel>("modelSetCancel"),
      bind<counters>("modelCounters"),
      bind<promise>("modelPromise"),
      bind<machine_counters>("machineCounters"),
      bind<promised_bytes>("promisedBytes"),
      bind<open_file>("fileOpen"),
      bind<open_unmapped>("fileOpenUnmapped"),
      bind<file_bytes>("fileBytes"),
      bind<weight>("weight"),
      bind<weight_held>("weightHeld"),
      bind<weight_fill>("weightFill"),
      bind<weight_heads>("weightHeads"),
      bind<weight_read>("weightRead"),
      bind<tensor>("tensor"),
      bind<arena>("arena"),
      bind<tensor_at>("tensorAt"),
      bind<tensor_read>("tensorRead"),
      bind<tensor_write>("tensorWrite"),
      bind<tensor_view>("tensorView"),
      bind<vector>("vector"),
      bind<routing>("routing"),
      bind<routing_read>("routingRead"),
      bind<rope_table>("ropeTable"),
      bind<kv_pool>("kvPool"),
      bind<cold_file>("kvColdFile"),
      bind<kv_frame>("kvFrame"),
      bind<kv_page_bytes>("kvPageBytes"),
      bind<kv_copy_page>("kvCopyPage"),
      bind<slot_pool>("slotPool"),
      bind<unit_read>("unitRead"),
      bind<unit_write>("unitWrite"),
      bind<place>("place"),
      bind<reader_depth>("readerDepth"),
      bind<residency_shrink>("residencyShrink"),
      bind<residency_counters>("residencyCounters"),
      bind<expert_uses>("expertUses"),
      bind<name_space>("nameSpace"),
      bind<seal>("seal"),
      bind<ops::begin>("begin"),
      bind<ops::begin_slots>("beginSlots"),
      bind<ops::embed>("embed"),
      bind<ops::rms_norm>("rmsNorm"),
      bind<ops::head_norm>("headNorm"),
      bind<ops::matmul>("matmul"),
      bind<ops::low_rank>("lowRank"),
      bind<ops::rope>("rope"),
      bind<ops::kv_store>("kvStore"),
      bind<ops::kv_turn>("kvTurn"),
      bind<ops::kv_copy_rows>("kvCopyRows"),
      bind<ops::attention>("attention"),
      bind<ops::select>("select"),
      bind<ops::glu>("glu"),
      bind<ops::route>("route"),
      bind<ops::experts>("experts"),
      bind<ops::expect_experts>("expectExperts"),
      bind<ops::add>("add"),
      bind<ops::scale>("scale"),
      bind<ops::softcap>("softcap"),
      bind<ops::layer_norm>("layerNorm"),
      bind<ops::act>("act"),
      bind<ops::multiply>("multiply"),
      bind<ops::multiply_vector>("multiplyVector"),
      bind<ops::add_vector>("addVector"),
      bind<ops::columns>("columns"),
      bind<ops::short_conv>("shortConv"),
      bind<ops::recur>("recur"),
      bind<ops::compress>("compress"),
      bind<ops::replay>("replay"),
      bind<ops::blend>("blend"),
      bind<ops::stream_scores>("streamScores"),
      bind<ops::hyper_weights>("hyperWeights"),
      bind<ops::head_dots>("headDots"),
      bind<ops::temper>("temper"),
      bind<ops::centre_heads>("centreHeads"),
      bind<ops::xielu>("xielu"),
      bind<ops::sparsify>("sparsify"),
      bind<ops::match_size>("matchSize"),
      bind<ops::pool>("pool"),
      bind<ops::gather>("gather"),
      bind<ops::copy>("copy"),
  };
  napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions);
  return exports;
}

}  // namespace

}  // namespace hw

NAPI_MODULE_INIT() {
#if defined(_WIN32)
  if (!hw::host_has_node_api()) return exports;  // refused as lacking everything (src/native/addon.ts)
#endif
  return hw::init(env, exports);
}
