#include "error.h"

#include <stdarg.h>
#include <stdio.h>

namespace hw {

Error& last_error() {
  static thread_local Error error = {"INTERNAL", ""};
  return error;
}

static Status record(const char* code, const char* format, va_list arguments) {
  Error& error = last_error();
  error.code = code;
  vsnprintf(error.message, sizeof error.message, format, arguments);
  return Status{false};
}

Status fail(const char* code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Status status = record(code, format, arguments);
  va_end(arguments);
  return status;
}

Status bad_argument(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Status status = record("NATIVE_ARGUMENT", format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace hw
