#include "reader_queue.h"
#include "uring.h"

namespace hw {

#if HW_HAS_URING
Reader* open_queue_reader(int depth) { return open_queue<Uring>(depth); }
#else
Reader* open_queue_reader(int) { return nullptr; }
#endif

}  // namespace hw
