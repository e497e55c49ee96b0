// The kinds of readers there are (reader.h). Null when the system refuses a thread, or has no such queue.
#pragma once
#include "reader.h"

namespace hw {

// Threads with one read each: reader_threads.cc.
Reader* open_thread_reader(int depth);
// One thread and a queue of the system's: reader_queue_linux.cc (io_uring), reader_queue_windows.cc (overlapped reads),
// reader_queue_macos.cc (none).
Reader* open_queue_reader(int depth);

}  // namespace hw
