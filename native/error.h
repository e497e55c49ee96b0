// Failures without C++ exceptions: an operation returns a Status (or a Result), the reason waits in a per-thread slot
// until the addon turns it into a HundredweightError.
#pragma once

namespace hw {

struct Error {
  const char* code;  // an ErrorCode of src/errors.ts
  char message[512];
};

Error& last_error();  // of the calling thread

struct [[nodiscard]] Status {
  bool ok;
};

inline Status done() { return Status{true}; }

// Records the reason and returns a failed Status.
__attribute__((format(printf, 2, 3))) Status fail(const char* code, const char* format, ...);
// fail("NATIVE_ARGUMENT", ...): a call that breaks the contract of addon.types.ts.
__attribute__((format(printf, 1, 2))) Status bad_argument(const char* format, ...);

template <typename T>
struct [[nodiscard]] Result {
  Result(T v) : value(v), ok(true) {}
  Result(Status status) : value(), ok(status.ok) {}
  T value;
  bool ok;
};

}  // namespace hw

#define HW_TRY(expression)                    \
  do {                                        \
    ::hw::Status hw_status = (expression);    \
    if (!hw_status.ok) return hw_status;      \
  } while (0)
