// Writes test/golden/sampling.json: what llama.cpp's samplers do with random rows. Run by hand, from the repository's
// root:
//   D=.peer/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64; L=<a checkout of llama.cpp of the same version>
//   g++ -std=c++17 -I$L/include -I$L/ggml/include test/peer/sampler-golden.cc -o build/sampler-golden $D/libllama.*.so
//     -Wl,-rpath,$PWD/$D -Wl,-rpath-link,$D && build/sampler-golden models/demo.gguf > test/golden/sampling.json
// A row is a seed and a size: logit i = float(x_i / 2^32 * 16 - 8) with x_0 = seed, x_(i+1) = x_i * 1664525 +
// 1013904223.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "llama.h"

// Exported for llama.cpp's own tests, not declared in its header.
llama_sampler* llama_sampler_init_dry_testing(float multiplier, float base, int32_t allowed, int32_t last_n,
                                              const std::vector<std::vector<llama_token>>& breakers);

namespace {

uint32_t state = 12345;
uint32_t next_bits() {
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}
int below(int n) { return static_cast<int>(next_bits() % static_cast<uint32_t>(n)); }
float pick(std::vector<float> values) { return values[static_cast<size_t>(below(static_cast<int>(values.size())))]; }

struct Row {
  uint32_t seed;
  std::vector<llama_token_data> data;
  llama_token_data_array array;

  explicit Row(int size) : seed(next_bits()), data(static_cast<size_t>(size)) {
    uint32_t x = seed;
    for (int i = 0; i < size; i++, x = x * 1664525u + 1013904223u) {
      data[static_cast<size_t>(i)] = {i, static_cast<float>(x / 4294967296.0 * 16.0 - 8.0), 0.0f};
    }
    array = {data.data(), data.size(), -1, false};
  }
};

bool first = true;
void begin(const char* name) {
  printf("%s\n{\"sampler\":\"%s\"", first ? "" : ",", name);
  first = false;
}
void field(const char* name, double value) { printf(",\"%s\":%.9g", name, value); }
void list(const char* name, const std::vector<int>& values) {
  printf(",\"%s\":[", name);
  for (size_t i = 0; i < values.size(); i++) printf("%s%d", i ? "," : "", values[i]);
  printf("]");
}

// Probabilities of what is left, the likeliest first.
void result(llama_token_data_array& array) {
  std::vector<llama_token_data> left(array.data, array.data + array.size);
  std::sort(left.begin(), left.end(), [](const auto& a, const auto& b) { return a.logit > b.logit; });
  double sum = 0;
  for (const auto& c : left) sum += std::exp(double(c.logit) - left[0].logit);
  printf(",\"kept\":{");
  bool comma = false;
  for (const auto& c : left) {
    if (std::isinf(c.logit)) continue;
    printf("%s\"%d\":%.7g", comma ? "," : "", c.id, std::exp(double(c.logit) - left[0].logit) / sum);
    comma = true;
  }
  printf("}}");
}

void run(Row& row, std::vector<llama_sampler*> samplers, const std::vector<int>& history = {}) {
  field("seed", row.seed);
  field("size", static_cast<double>(row.data.size()));
  for (llama_sampler* s : samplers) {
    for (int id : history) llama_sampler_accept(s, id);
    llama_sampler_apply(s, &row.array);
    llama_sampler_free(s);
  }
  result(row.array);
}

std::vector<int> tokens(int count, int alphabet) {
  std::vector<int> out(static_cast<size_t>(count));
  for (int& id : out) id = below(alphabet);
  return out;
}

void mirostat(int version) {
  const int size = version == 1 ? 300 : 60;
  const float tau = pick({1.0f, 2.0f, 3.0f});
  const float eta = pick({0.1f, 0.4f});
  llama_sampler* s = version == 1 ? llama_sampler_init_mirostat(size, 7, tau, eta, 100)
                                  : llama_sampler_init_mirostat_v2(7, tau, eta);
  begin(version == 1 ? "mirostat" : "mirostat_v2");
  field("size", size);
  field("tau", tau);
  field("eta", eta);
  std::vector<int> seeds, kept, chosen;
  for (int i = 0; i < 12; i++) {
    Row row(size);
    llama_sampler_apply(s, &row.array);
    seeds.push_back(static_cast<int>(row.seed));
    kept.push_back(static_cast<int>(row.array.size));
    chosen.push_back(row.array.data[row.array.selected].id);
  }
  llama_sampler_free(s);
  list("seeds", seeds);
  list("counts", kept);
  list("chosen", chosen);
  printf("}");
}

struct DryCase {
  float multiplier, base;
  int allowed, last;
};

DryCase dry_fields() {
  const DryCase c{pick({0.5f, 0.8f, 2.0f}), pick({1.0f, 1.5f, 1.75f}), below(5), pick({0, 1, 1}) != 0 ? 64 : 12};
  field("multiplier", c.multiplier);
  field("base", c.base);
  field("allowed", c.allowed);
  field("last", c.last);
  return c;
}

void dry() {
  begin("dry");
  const DryCase c = dry_fields();
  const int alphabet = 2 + below(4);
  const std::vector<int> history = tokens(5 + below(40), alphabet);
  std::vector<std::vector<llama_token>> breakers;
  for (int b = below(3); b > 0; b--) breakers.push_back(tokens(1 + below(3), alphabet));
  list("history", history);
  printf(",\"breakers\":[");
  for (size_t b = 0; b < breakers.size(); b++) {
    printf("%s[", b ? "," : "");
    for (size_t i = 0; i < breakers[b].size(); i++) printf("%s%d", i ? "," : "", breakers[b][i]);
    printf("]");
  }
  printf("]");
  Row row(8);
  run(row, {llama_sampler_init_dry_testing(c.multiplier, c.base, c.allowed, c.last, breakers)}, history);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) out += c == '\n' ? std::string("\\n") : c == '"' ? "\\\"" : std::string(1, c);
  return out + "\"";
}

void dry_texts(const llama_vocab* vocab) {
  static const std::vector<std::string> texts = {
      "In the beginning God created the heaven: and the beginning God created the",
      "and it came to pass; and it came to pass, and it came to pass; and it came",
      "Thou shalt not\nkill. Thou shalt not\nsteal. Thou shalt not",
      "the son of the son of the son of the son",
      "he said \"come\" and he said \"go\" and he said \"come\" and he said",
  };
  static const std::vector<std::vector<std::string>> breakers = {
      {"\n", ":", "\"", "*"}, {}, {"shalt"}, {" of"}, {"to pa"}, {"said \"c", "n"}, {"e b", "ing G"}, {"h"},
  };
  begin("dry_texts");
  const std::string& text = texts[static_cast<size_t>(below(static_cast<int>(texts.size())))];
  const std::vector<std::string>& chosen = breakers[static_cast<size_t>(below(static_cast<int>(breakers.size())))];
  const DryCase c = dry_fields();
  std::vector<int> history(200);
  history.resize(static_cast<size_t>(
      llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), history.data(), 200, false, false)));
  list("history", history);
  printf(",\"breakers\":[");
  std::vector<const char*> c_breakers;
  for (size_t b = 0; b < chosen.size(); b++) {
    printf("%s%s", b ? "," : "", quoted(chosen[b]).c_str());
    c_breakers.push_back(chosen[b].c_str());
  }
  printf("]");
  // Only tokens of the history can change, so the row is those: [token, what was subtracted].
  std::vector<llama_token_data> data;
  for (int id : history) {
    if (std::none_of(data.begin(), data.end(), [&](const auto& d) { return d.id == id; }))
      data.push_back({id, 0.0f, 0.0f});
  }
  llama_token_data_array array = {data.data(), data.size(), -1, false};
  llama_sampler* s =
      llama_sampler_init_dry(vocab, c.multiplier, c.base, c.allowed, c.last, c_breakers.data(), chosen.size());
  for (int id : history) llama_sampler_accept(s, id);
  llama_sampler_apply(s, &array);
  llama_sampler_free(s);
  printf(",\"penalties\":{");
  bool comma = false;
  for (const auto& d : data) {
    if (d.logit == 0.0f) continue;
    printf("%s\"%d\":%.7g", comma ? "," : "", d.id, -d.logit);
    comma = true;
  }
  printf("}}");
}

void chain() {
  begin("chain");
  const int size = 30;
  const std::vector<int> history = tokens(20, 6);
  list("history", history);
  const float repeat = pick({1.0f, 1.2f}), frequency = pick({0.0f, 0.3f}), presence = pick({0.0f, 0.5f});
  field("repeat", repeat);
  field("frequency", frequency);
  field("presence", presence);
  const float multiplier = pick({0.0f, 0.8f});
  field("multiplier", multiplier);
  const float sigma = pick({-1.0f, 1.0f, 1.5f});
  field("sigma", sigma);
  const int k = below(2) != 0 ? 0 : 5 + below(20);
  field("k", k);
  // Typical after a mask divides zero by zero in llama.cpp.
  const float typical = sigma > 0 ? 1.0f : pick({1.0f, 0.7f});
  field("typical", typical);
  const float p = pick({1.0f, 0.95f, 0.8f}), m = pick({0.0f, 0.02f, 0.1f});
  field("p", p);
  field("m", m);
  const float xtc_p = pick({0.0f, 1.0f}), xtc_t = pick({0.05f, 0.15f});
  field("xtcProbability", xtc_p);
  field("xtcThreshold", xtc_t);
  const float t = pick({0.5f, 0.8f, 1.0f, 1.5f}), range = pick({0.0f, 0.0f, 0.4f}), exponent = pick({1.0f, 2.0f});
  field("t", t);
  field("range", range);
  field("exponent", exponent);
  const int keep = below(2) != 0 ? 0 : 1 + below(4);
  field("minKeep", keep);
  const size_t min_keep = static_cast<size_t>(keep);
  Row row(size);
  run(row,
      {llama_sampler_init_penalties(size, 64, repeat, frequency, presence),
       llama_sampler_init_dry(nullptr, multiplier, 1.75f, 2, 64, nullptr, 0), llama_sampler_init_top_n_sigma(sigma),
       llama_sampler_init_top_k(k), llama_sampler_init_typical(typical, min_keep),
       llama_sampler_init_top_p(p, min_keep), llama_sampler_init_min_p(m, min_keep),
       llama_sampler_init_xtc(xtc_p, xtc_t, min_keep, 1), llama_sampler_init_temp_ext(t, range, exponent)},
      history);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  printf("[");
  for (int i = 0; i < 15; i++) {
    begin("top_n_sigma");
    const float n = pick({0.5f, 1.0f, 1.5f, 2.5f});
    field("n", n);
    Row row(4 + below(20));
    run(row, {llama_sampler_init_top_n_sigma(n)});
  }
  for (int i = 0; i < 25; i++) {
    begin("xtc");
    const float threshold = pick({0.02f, 0.05f, 0.1f, 0.3f});
    const int keep = below(4);
    field("threshold", threshold);
    field("minKeep", keep);
    Row row(2 + below(10));
    run(row, {llama_sampler_init_xtc(1.0f, threshold, static_cast<size_t>(keep), 1)});
  }
  for (int i = 0; i < 25; i++) {
    begin("temp_ext");
    const float t = pick({0.0f, 0.5f, 1.0f, 1.5f}), range = pick({0.0f, 0.5f, 1.0f}),
                exponent = pick({0.5f, 1.0f, 2.0f});
    field("t", t);
    field("range", range);
    field("exponent", exponent);
    Row row(1 + below(12));
    run(row, {llama_sampler_init_temp_ext(t, range, exponent)});
  }
  for (int i = 0; i < 45; i++) {
    begin(i % 3 == 0 ? "top_p" : i % 3 == 1 ? "min_p" : "typical");
    const float p = i % 3 == 1 ? pick({0.01f, 0.1f, 0.5f, 1.0f}) : pick({0.0f, 0.3f, 0.7f, 0.9f});
    const int keep = below(8);
    field("p", p);
    field("minKeep", keep);
    const size_t min_keep = static_cast<size_t>(keep);
    Row row(1 + below(16));
    run(row, {i % 3 == 0   ? llama_sampler_init_top_p(p, min_keep)
              : i % 3 == 1 ? llama_sampler_init_min_p(p, min_keep)
                           : llama_sampler_init_typical(p, min_keep)});
  }
  for (int i = 0; i < 6; i++) mirostat(1 + i % 2);
  for (int i = 0; i < 60; i++) dry();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) return 1;
  for (int i = 0; i < 40; i++) dry_texts(llama_model_get_vocab(model));
  for (int i = 0; i < 40; i++) chain();
  printf("\n]\n");
  return 0;
}
