// The Node-API functions of the program that loaded this library, whatever its file is called: node.exe, an Electron
// application, a single executable. An import table would name one file. The headers declare these functions as
// imported, so each call goes through a pointer of the name __imp_...; here are those pointers. A function that is
// used and missing in this list does not link.
#include <stdint.h>

#include "../system/windows.h"

namespace {

void* find(const char* name) {
  HMODULE places[] = {GetModuleHandleW(nullptr), GetModuleHandleW(L"libnode.dll"), GetModuleHandleW(L"node.dll")};
  for (HMODULE place : places) {
    if (place == nullptr) continue;
    FARPROC found = GetProcAddress(place, name);
    if (found != nullptr) return reinterpret_cast<void*>(found);
  }
  return nullptr;
}

}  // namespace

#define HW_NODE_API(X) \
  X(napi_add_env_cleanup_hook) \
  X(napi_create_array) \
  X(napi_create_double) \
  X(napi_create_external_arraybuffer) \
  X(napi_create_int32) \
  X(napi_create_object) \
  X(napi_create_reference) \
  X(napi_create_string_utf8) \
  X(napi_create_typedarray) \
  X(napi_define_properties) \
  X(napi_delete_reference) \
  X(napi_detach_arraybuffer) \
  X(napi_get_array_length) \
  X(napi_get_cb_info) \
  X(napi_get_element) \
  X(napi_get_instance_data) \
  X(napi_get_named_property) \
  X(napi_get_reference_value) \
  X(napi_get_typedarray_info) \
  X(napi_get_value_bool) \
  X(napi_get_value_double) \
  X(napi_get_value_string_utf8) \
  X(napi_is_array) \
  X(napi_is_arraybuffer) \
  X(napi_is_typedarray) \
  X(napi_new_instance) \
  X(napi_set_element) \
  X(napi_set_instance_data) \
  X(napi_set_named_property) \
  X(napi_throw) \
  X(napi_throw_error) \
  X(napi_typeof)

#define HW_POINTER(name) void* __imp_##name = find(#name);
#define HW_FOUND(name) __imp_##name != nullptr &&

extern "C" {
HW_NODE_API(HW_POINTER)
}

namespace hw {

bool host_has_node_api() { return HW_NODE_API(HW_FOUND) true; }

}  // namespace hw
