#include "machine.h"

#include <algorithm>
#include <mutex>
#include <new>

namespace hw {

namespace {

// Of the process: environments open and close models on threads of their own.
std::mutex& machines_mutex() {
  static std::mutex* mutex = new std::mutex;  // never destroyed: environments may end after static objects
  return *mutex;
}

std::vector<std::weak_ptr<Machine>>& machines() {
  static auto* list = new std::vector<std::weak_ptr<Machine>>;
  return *list;
}

}  // namespace

Result<std::shared_ptr<Machine>> Machine::lease(int threads, const int32_t* cpus, int cpu_count, int nodes) {
  if (threads < 1 || threads > kMaxThreads)
    return bad_argument("threads must be 1 to %d, got %d", kMaxThreads, threads);
  if (nodes < 0 || (nodes > 0 && (cpu_count < nodes || threads < nodes)))
    return bad_argument("%d memory nodes with %d threads on %d CPUs", nodes, threads, cpu_count);
  std::lock_guard<std::mutex> lock(machines_mutex());
  auto& list = machines();
  list.erase(std::remove_if(list.begin(), list.end(), [](const std::weak_ptr<Machine>& m) { return m.expired(); }),
             list.end());
  for (const std::weak_ptr<Machine>& open : list) {
    std::shared_ptr<Machine> machine = open.lock();
    if (machine != nullptr && machine->pool_->threads() == threads && machine->nodes_ == nodes &&
        std::equal(machine->cpus_.begin(), machine->cpus_.end(), cpus, cpus + cpu_count)) {
      return machine;
    }
  }
  std::shared_ptr<Machine> machine(new (std::nothrow) Machine);
  if (machine == nullptr) return fail("MEMORY_BUDGET", "no memory for a native machine");
  machine->cpus_.assign(cpus, cpus + cpu_count);
  machine->nodes_ = nodes;
  machine->pool_ = Pool::open(threads, cpus, cpu_count, nodes);
  if (machine->pool_ == nullptr) return fail("INTERNAL", "the system refused to start %d threads", threads);
  list.push_back(machine);
  return machine;
}

Machine::~Machine() { delete pool_; }

std::shared_ptr<Reader> Machine::reader(IoEngine engine, int depth) {
  std::lock_guard<std::mutex> lock(machines_mutex());
  for (const OpenReader& open : readers_) {
    std::shared_ptr<Reader> reader = open.reader.lock();
    if (reader != nullptr && open.engine == engine && open.depth == depth) return reader;
  }
  std::shared_ptr<Reader> reader(Reader::open(engine, depth));
  if (reader == nullptr) return nullptr;
  readers_.erase(
      std::remove_if(readers_.begin(), readers_.end(), [](const OpenReader& o) { return o.reader.expired(); }),
      readers_.end());
  readers_.push_back(OpenReader{engine, depth, reader});
  return reader;
}

}  // namespace hw
