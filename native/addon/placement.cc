#include "placement.h"

namespace hw {

namespace {

template <typename T>
Status read_field(napi_env env, napi_value object, int index, const char* name, T* out) {
  napi_value value = nullptr;
  const bool there = napi_get_named_property(env, object, name, &value) == napi_ok;
  if (there && napi::read(env, value, index, out).ok) return done();
  return bad_argument("field '%s' of argument %d is missing or of another type", name, index + 1);
}

}  // namespace

Status read(napi_env env, napi_value value, int index, Placement* out) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object) return napi::wrong(index, "an object");
  HW_TRY(read_field(env, value, index, "engine", &out->engine));
  HW_TRY(read_field(env, value, index, "depth", &out->depth));
  HW_TRY(read_field(env, value, index, "pinned", &out->pinned));
  HW_TRY(read_field(env, value, index, "packed", &out->packed));
  HW_TRY(read_field(env, value, index, "ringBytes", &out->ring_bytes));
  HW_TRY(read_field(env, value, index, "tiles", &out->tiles));
  HW_TRY(read_field(env, value, index, "groups", &out->groups));
  HW_TRY(read_field(env, value, index, "classes", &out->classes));
  HW_TRY(read_field(env, value, index, "stagingBytes", &out->staging_bytes));
  HW_TRY(read_field(env, value, index, "policy", &out->policy));
  HW_TRY(read_field(env, value, index, "uses", &out->uses));
  return read_field(env, value, index, "lock", &out->lock);
}

}  // namespace hw
