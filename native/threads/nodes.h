// Memory nodes: processors with memory of their own. Rows of a matrix are dealt to nodes as the pool deals its parts to
// their threads, and memory comes from the node whose thread touches it first (Linux's default policy).
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <functional>

namespace hw {

// Rows of a matrix that are of the nodes before `node`; whole strips of packed rows.
inline int64_t node_rows(int64_t rows, int node, int nodes) {
  return node >= nodes ? rows : rows * node / nodes / 64 * 64;
}

// The part of a region that runs from a row of a task on.
struct Segment {
  int32_t task;
  int64_t row, end, first_part;
};

// Bytes that one node reads.
struct NodeBytes {
  uint8_t* data;
  int64_t bytes;
  int node;
};

// Touches every page of `ranges` by a thread bound to CPUs [node], one for each node, and returns when all are done or
// `stop` says so. Where the system binds no threads, or refuses one, memory stays where the next who touches it is.
void touch_on_nodes(const NodeBytes* ranges, size_t count, const int32_t* cpus, int nodes,
                    const std::function<bool()>& stop);

}  // namespace hw
