// What belongs to one JavaScript environment (the main thread or a worker): its models and its error class. Everything
// is released when the environment ends, also when a worker is terminated.
#include <new>

#include "addon.h"

namespace hw {

void Environment::close(OpenModel& open, bool ending) {
  for (const auto& [tensor, view] : open.views) {
    napi_value array = nullptr, buffer = nullptr;
    if (!ending && napi_get_reference_value(env, view, &array) == napi_ok &&
        napi_get_typedarray_info(env, array, nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok) {
      napi_detach_arraybuffer(env, buffer);
    }
    napi_delete_reference(env, view);
  }
  delete open.model;
  if (open.cancel_flag != nullptr) napi_delete_reference(env, open.cancel_flag);
  open = OpenModel{nullptr, nullptr, {}};
}

Environment& environment_of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

static Result<OpenModel*> find(Environment& environment, int32_t handle) {
  if (handle < 1 || handle > static_cast<int64_t>(environment.models.size()) ||
      environment.models[handle - 1].model == nullptr) {
    return fail("ENGINE_CLOSED", "no native model has handle %d: it is closed or belongs to another thread", handle);
  }
  return &environment.models[handle - 1];
}

Result<Model*> find_model(Environment& environment, int32_t handle) {
  Result<OpenModel*> found = find(environment, handle);
  if (!found.ok) return Status{false};
  return found.value->model;
}

void throw_last_error(napi_env env, const char* function) {
  Error& error = last_error();
  char message[640];
  // Users never see which native function it was, unless the call itself is wrong.
  bool ours = strcmp(error.code, "NATIVE_ARGUMENT") == 0;
  snprintf(message, sizeof message, "%s%s%s", ours ? function : "", ours ? ": " : "", error.message);
  Environment& environment = environment_of(env);
  napi_value constructor = nullptr, instance = nullptr;
  if (environment.error_class != nullptr) napi_get_reference_value(env, environment.error_class, &constructor);
  if (constructor != nullptr) {
    napi_value arguments[2];
    napi_create_string_utf8(env, error.code, NAPI_AUTO_LENGTH, &arguments[0]);
    napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &arguments[1]);
    if (napi_new_instance(env, constructor, 2, arguments, &instance) == napi_ok) {
      napi_throw(env, instance);
      return;
    }
  }
  napi_throw_error(env, error.code, message);
}

Status set_error_class(Environment& environment, napi_value constructor) {
  napi_valuetype type;
  if (napi_typeof(environment.env, constructor, &type) != napi_ok || type != napi_function) {
    return bad_argument("argument 1 must be a class");
  }
  if (environment.error_class != nullptr) napi_delete_reference(environment.env, environment.error_class);
  environment.error_class = nullptr;
  napi_create_reference(environment.env, constructor, 1, &environment.error_class);
  return done();
}

Result<int32_t> model_open(Environment& environment, int32_t threads, Nullable<Slice<const int32_t>> cpus,
                           int32_t nodes, Nullable<Text> isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  const int32_t* list = cpus.present ? cpus.value.data : nullptr;
  int count = cpus.present ? static_cast<int>(cpus.value.length) : 0;
  Result<Model*> model = Model::open(threads, list, count, nodes, kernels.value);
  if (!model.ok) return Status{false};
  environment.models.push_back(OpenModel{model.value, nullptr, {}});
  return static_cast<int32_t>(environment.models.size());
}

Status model_close(Environment& environment, int32_t handle) {
  Result<OpenModel*> found = find(environment, handle);
  if (!found.ok) return Status{false};
  environment.close(*found.value);
  return done();
}

Result<napi_value> tensor_view(Environment& environment, int32_t handle, int32_t tensor_handle) {
  Result<OpenModel*> found = find(environment, handle);
  if (!found.ok) return Status{false};
  OpenModel& open = *found.value;
  HW_GET(Tensor, x, *open.model, tensor_handle);
  napi_env env = environment.env;
  napi_value array = nullptr, buffer = nullptr;
  for (const auto& [tensor, view] : open.views) {
    if (tensor == tensor_handle && napi_get_reference_value(env, view, &array) == napi_ok) return array;
  }
  const size_t values = static_cast<size_t>(x.rows) * static_cast<size_t>(x.cols);
  napi_ref reference = nullptr;
  // Nothing to do when it is collected: the model owns the memory, and holds the array as long as it lives.
  auto nothing = [](napi_env, void*, void*) {};
  if (napi_create_external_arraybuffer(env, x.data(), values * sizeof(float), nothing, nullptr, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_float32_array, values, buffer, 0, &array) != napi_ok ||
      napi_create_reference(env, array, 1, &reference) != napi_ok) {
    return fail("NATIVE_UNAVAILABLE", "this runtime cannot look at memory of the addon");
  }
  open.views.emplace_back(tensor_handle, reference);
  return array;
}

// The flag is read while JavaScript runs elsewhere, so it must be shared memory: an ordinary buffer could be detached
// under us, and nobody could raise it during a call anyway.
Status model_set_cancel(Environment& environment, int32_t handle, napi_value flag) {
  Result<OpenModel*> found = find(environment, handle);
  if (!found.ok) return Status{false};
  napi_env env = environment.env;
  napi_valuetype type;
  napi_typeof(env, flag, &type);
  const int32_t* data = nullptr;
  napi_ref reference = nullptr;
  if (type != napi_null && type != napi_undefined) {
    bool is_array = false, is_plain = true;
    napi_typedarray_type kind = napi_uint8_array;
    size_t length = 0;
    void* memory = nullptr;
    napi_value buffer;
    if (napi_is_typedarray(env, flag, &is_array) != napi_ok || !is_array ||
        napi_get_typedarray_info(env, flag, &kind, &length, &memory, &buffer, nullptr) != napi_ok ||
        kind != napi_int32_array || length < 1 || memory == nullptr ||
        napi_is_arraybuffer(env, buffer, &is_plain) != napi_ok || is_plain) {
      return bad_argument("argument 2 must be an Int32Array over a SharedArrayBuffer");
    }
    if (napi_create_reference(env, flag, 1, &reference) != napi_ok) return fail("INTERNAL", "the flag cannot be kept");
    data = static_cast<const int32_t*>(memory);
  }
  found.value->model->set_cancel(data);
  if (found.value->cancel_flag != nullptr) napi_delete_reference(env, found.value->cancel_flag);
  found.value->cancel_flag = reference;
  return done();
}

}  // namespace hw
