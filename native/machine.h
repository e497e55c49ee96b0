// What models of a process share: compute threads and readers. Models lease a machine; with the last one its threads
// end. Models of different JavaScript environments (engine threads) share it too. What they hold is charged to one
// account of the process (memory.h).
#pragma once
#include <memory>
#include <vector>

#include "error.h"
#include "io/reader.h"
#include "threads/pool.h"

namespace hw {

class Machine {
 public:
  // The machine with these threads: the one that others lease, or a new one. Another number of threads, other CPUs
  // or nodes are another machine, since all were asked for.
  static Result<std::shared_ptr<Machine>> lease(int threads, const int32_t* cpus, int cpu_count, int nodes);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Pool& pool() { return *pool_; }
  // CPU i is of memory node i % nodes; 0: memory is where it happens to be (threads/nodes.h).
  int nodes() const { return nodes_; }
  const std::vector<int32_t>& cpus() const { return cpus_; }
  // The reader of this kind and depth that others use, or a new one. Null when the system refuses a thread.
  std::shared_ptr<Reader> reader(IoEngine engine, int depth);

 private:
  struct OpenReader {
    IoEngine engine;
    int depth;
    std::weak_ptr<Reader> reader;
  };
  Machine() = default;
  Pool* pool_ = nullptr;
  std::vector<int32_t> cpus_;
  int nodes_ = 0;
  std::vector<OpenReader> readers_;
};

}  // namespace hw
