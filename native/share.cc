#include "share.h"

namespace hw {

Status promise(Host& host, int64_t bytes, int64_t limit) {
  if (bytes < 0 || limit < 0) return bad_argument("a promise of %lld bytes", static_cast<long long>(bytes));
  Counters& counters = host.counters();
  if (bytes > 0 && bytes < counters.charged()) {
    return bad_argument("a promise of %lld bytes to a model that holds %lld", static_cast<long long>(bytes),
                        static_cast<long long>(counters.charged()));
  }
  if (counters.promise(bytes, limit)) return done();
  return fail("MEMORY_BUDGET", "the models of this process together need more than %lld MiB; %lld MiB are for this one",
              static_cast<long long>(limit >> 20), static_cast<long long>(bytes >> 20));
}

Status machine_stats(Host& host, Slice<double> out) {
  if (out.length != 5) return bad_argument("statistics of a machine are 5 numbers");
  const Account& account = Account::of_process();
  out.data[0] = host.pool().threads();
  out.data[1] = host.models_of_machine();
  out.data[2] = static_cast<double>(account.charged.load());
  out.data[3] = static_cast<double>(account.peak.load());
  out.data[4] = static_cast<double>(account.promised.load());
  return done();
}

Result<int64_t> promised_bytes() { return Account::of_process().promised.load(); }

}  // namespace hw
