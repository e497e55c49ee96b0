#include "share.h"

namespace hw {

Status promise(Model& model, int64_t bytes, int64_t limit) {
  if (bytes < 0 || limit < 0) return bad_argument("a promise of %lld bytes", static_cast<long long>(bytes));
  Counters& counters = model.counters();
  if (bytes > 0 && bytes < counters.charged()) {
    return bad_argument("a promise of %lld bytes to a model that holds %lld", static_cast<long long>(bytes),
                        static_cast<long long>(counters.charged()));
  }
  if (counters.promise(bytes, limit)) return done();
  return fail("MEMORY_BUDGET", "the models of this process together need more than %lld MiB; %lld MiB are for this one",
              static_cast<long long>(limit >> 20), static_cast<long long>(bytes >> 20));
}

Status machine_counters(Model& model, Slice<double> out) {
  if (out.length != MACHINE_COUNTERS) return bad_argument("counters of a machine are %d numbers", MACHINE_COUNTERS);
  const Account& account = Account::of_process();
  out.data[MACHINE_THREADS] = model.machine().pool().threads();
  out.data[MACHINE_MODELS] = model.models_of_machine();
  out.data[MACHINE_CHARGED_BYTES] = static_cast<double>(account.charged.load());
  out.data[MACHINE_PEAK_BYTES] = static_cast<double>(account.peak.load());
  out.data[MACHINE_PROMISED_BYTES] = static_cast<double>(account.promised.load());
  return done();
}

Result<int64_t> promised_bytes() { return Account::of_process().promised.load(); }

}  // namespace hw
