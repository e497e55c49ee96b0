#include <errno.h>
#include <sys/file.h>

#include "limits.h"

namespace hw {

int32_t lock_descriptor(int32_t descriptor) {
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return 1;
  return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

}  // namespace hw
