// A small typed layer over the Node-API C interface: `bind<&fn>` turns
//   Status fn(Model&, int32_t, Slice<const float>, ...)      or      Result<T> fn(...)
// into a JavaScript function that checks the number and type of its arguments and throws when the result is not ok.
#pragma once
#define NAPI_VERSION 8
#include <math.h>
#include <node_api.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <utility>
#include <vector>

#include "error.h"
#include "slice.h"

namespace hw {

class Model;
struct Environment;  // what one JavaScript environment (main thread or worker) owns: addon/addon.h

// An absolute or relative path as UTF-8.
struct Text {
  char data[4096];
};

Environment& environment_of(napi_env env);
Result<Model*> find_model(Environment& environment, int32_t handle);
// Throws last_error() as a HundredweightError (once setErrorClass was called) or a plain Error with that code.
void throw_last_error(napi_env env, const char* function);

namespace napi {

inline Status wrong(int index, const char* expected) {
  return bad_argument("argument %d must be %s", index + 1, expected);
}

inline Status read(napi_env env, napi_value value, int index, double* out) {
  return napi_get_value_double(env, value, out) == napi_ok ? done() : wrong(index, "a number");
}
inline Status read(napi_env env, napi_value value, int index, float* out) {
  double number = 0;
  HW_TRY(read(env, value, index, &number));
  *out = static_cast<float>(number);
  return done();
}
inline Status read(napi_env env, napi_value value, int index, int32_t* out) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= -2147483648.0 && number <= 2147483647.0) ||
      number != trunc(number)) {
    return wrong(index, "a 32-bit integer");
  }
  *out = static_cast<int32_t>(number);
  return done();
}
inline Status read(napi_env env, napi_value value, int index, int64_t* out) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(fabs(number) <= 9007199254740991.0) ||
      number != trunc(number)) {
    return wrong(index, "a safe integer");
  }
  *out = static_cast<int64_t>(number);
  return done();
}
inline Status read(napi_env, napi_value value, int, napi_value* out) {
  *out = value;
  return done();
}
inline Status read(napi_env env, napi_value value, int index, bool* out) {
  return napi_get_value_bool(env, value, out) == napi_ok ? done() : wrong(index, "a boolean");
}
inline Status read(napi_env env, napi_value value, int index, Text* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return wrong(index, "a string");
  if (length >= sizeof out->data) return wrong(index, "a string of at most 4095 bytes");
  napi_get_value_string_utf8(env, value, out->data, sizeof out->data, &length);
  if (strlen(out->data) != length) return wrong(index, "a string without a zero byte");
  return done();
}

template <typename T>
struct ArrayType;
template <>
struct ArrayType<float> {
  static constexpr napi_typedarray_type type = napi_float32_array;
  static constexpr const char* name = "a Float32Array";
};
template <>
struct ArrayType<double> {
  static constexpr napi_typedarray_type type = napi_float64_array;
  static constexpr const char* name = "a Float64Array";
};
template <>
struct ArrayType<int32_t> {
  static constexpr napi_typedarray_type type = napi_int32_array;
  static constexpr const char* name = "an Int32Array";
};
template <>
struct ArrayType<uint8_t> {
  static constexpr napi_typedarray_type type = napi_uint8_array;
  static constexpr const char* name = "a Uint8Array";
};

template <typename T>
Status read(napi_env env, napi_value value, int index, Slice<T>* out) {
  typedef ArrayType<typename std::remove_const<T>::type> Expected;
  bool is_array = false;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != Expected::type) {
    return wrong(index, Expected::name);
  }
  out->data = static_cast<T*>(data);
  out->length = data == nullptr ? 0 : static_cast<int64_t>(length);
  return done();
}

template <typename T>
Status read(napi_env env, napi_value value, int index, SliceList<T>* out) {
  bool is_array = false;
  uint32_t count = 0;
  if (napi_is_array(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, value, &count) != napi_ok || count > kMostSlices) {
    return wrong(index, "an array of at most 64 typed arrays");
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    if (napi_get_element(env, value, i, &element) != napi_ok) return wrong(index, "an array of typed arrays");
    HW_TRY(read(env, element, index, &out->items[i]));
  }
  out->count = static_cast<int32_t>(count);
  return done();
}

template <typename T>
Status read(napi_env env, napi_value value, int index, Nullable<T>* out) {
  napi_valuetype type;
  out->present = !(napi_typeof(env, value, &type) == napi_ok && (type == napi_null || type == napi_undefined));
  return out->present ? read(env, value, index, &out->value) : done();
}

// The first parameter may be the environment, a model (by its handle) or both.
inline Status read(napi_env env, napi_value value, int index, Model** out) {
  int32_t handle = 0;
  HW_TRY(read(env, value, index, &handle));
  Result<Model*> found = find_model(environment_of(env), handle);
  *out = found.value;
  return Status{found.ok};
}

inline napi_value to_value(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}
inline napi_value to_value(napi_env env, int32_t number) {
  napi_value value = nullptr;
  napi_create_int32(env, number, &value);
  return value;
}
inline napi_value to_value(napi_env env, int64_t number) { return to_value(env, static_cast<double>(number)); }
inline napi_value to_value(napi_env env, const char* text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}
inline napi_value to_value(napi_env, napi_value value) { return value; }

template <typename T>
struct Stored {
  typedef T type;
  static T& pass(T& stored) { return stored; }
};
template <typename T>
struct Stored<const T&> : Stored<T> {};
template <>
struct Stored<Model&> {
  typedef Model* type;
  static Model& pass(Model*& stored) { return *stored; }
};

inline napi_value finish(napi_env env, const char* name, Status status) {
  if (!status.ok) throw_last_error(env, name);
  return nullptr;
}
template <typename T>
napi_value finish(napi_env env, const char* name, const Result<T>& result) {
  if (result.ok) return to_value(env, result.value);
  throw_last_error(env, name);
  return nullptr;
}

// The arguments of a call. With std::tuple and std::apply the list of exports takes twice as long to compile.
template <size_t I, typename T>
struct Argument {
  T value;
};
template <size_t I, typename T>
T& at(Argument<I, T>& argument) {
  return argument.value;
}
template <typename Indices, typename... A>
struct Arguments;
template <size_t... I, typename... A>
struct Arguments<std::index_sequence<I...>, A...> : Argument<I, typename Stored<A>::type>... {
  // Reads them left to right; the first wrong one is reported.
  bool read_all(napi_env env, napi_value* values) {
    (void)env, (void)values;
    return (read(env, values[I], static_cast<int>(I), &at<I, typename Stored<A>::type>(*this)).ok && ...);
  }
  template <auto fn, typename... First>
  auto pass_to(First&... first) {
    return fn(first..., Stored<A>::pass(at<I, typename Stored<A>::type>(*this))...);
  }
};

inline bool get_arguments(napi_env env, napi_callback_info info, size_t expected, napi_value* values,
                          const char** name) {
  size_t count = expected;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  *name = static_cast<const char*>(data);
  if (count == expected) return true;
  return bad_argument("%zu arguments expected, %zu given", expected, count).ok;
}

template <auto fn, typename... A, typename... First>
napi_value call(napi_env env, napi_callback_info info, First&... first) {
  napi_value values[sizeof...(A) + 1];
  const char* name;
  Arguments<std::index_sequence_for<A...>, A...> arguments = {};
  if (!get_arguments(env, info, sizeof...(A), values, &name) || !arguments.read_all(env, values)) {
    throw_last_error(env, name);
    return nullptr;
  }
  return finish(env, name, arguments.template pass_to<fn>(first...));
}

template <auto fn, typename R, typename... A>
napi_value dispatch(napi_env env, napi_callback_info info, R (*)(A...)) {
  return call<fn, A...>(env, info);
}
// A function of the environment does not see it among its JavaScript arguments.
template <auto fn, typename R, typename... A>
napi_value dispatch(napi_env env, napi_callback_info info, R (*)(Environment&, A...)) {
  return call<fn, A...>(env, info, environment_of(env));
}

template <auto fn>
napi_value callback(napi_env env, napi_callback_info info) {
  return dispatch<fn>(env, info, fn);
}

}  // namespace napi
}  // namespace hw
