/** The options of llama-server, and what each becomes here: an option of ours, or a line that says why it is none. */

/** How many arguments follow the name; "on-off" = one that may be left out. */
type Takes = 0 | 1 | "on-off";

export interface LlamaOption {
  readonly names: readonly string[];
  readonly takes: Takes;
  /** Arguments of ours that mean the same. */
  readonly becomes?: (value: string) => readonly string[];
  /** Why it means nothing here: a line on stderr. */
  readonly why?: string;
  /** Why it is refused: what it changes would be missed in every answer. */
  readonly refused?: string;
}

const value = (names: string, option: string): LlamaOption => ({
  names: names.split(" "),
  takes: 1,
  becomes: (given) => [option, given],
});

const flag = (names: string, ...args: string[]): LlamaOption => ({
  names: names.split(" "),
  takes: 0,
  becomes: () => args,
});

const none = (why: string, takes: Takes, names: string): LlamaOption[] =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => ({ names: [name], takes, why }));

const refused = (why: string, takes: Takes, names: string): LlamaOption[] =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => ({ names: [name], takes, refused: why }));

const list = (names: string, option: string): LlamaOption => ({
  names: names.split(" "),
  takes: 1,
  becomes: (given) =>
    given
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "")
      .flatMap((part) => [option, part]),
});

/** `0x5` -> `0,2`, what is no mask as it is: --cpu-list says that it is no list. */
function cpusOfMask(mask: string): string {
  if (!/^(0x)?[0-9a-f]{1,256}$/i.test(mask)) return mask;
  const bits = BigInt(`0x${mask.replace(/^0x/i, "")}`);
  const cpus = Array.from({ length: bits.toString(2).length }, (_, cpu) => cpu);
  return cpus.filter((cpu) => (bits >> BigInt(cpu)) & 1n).join(",");
}

const noGpu = "everything is computed on the processor";
const batched = "answers of several requests always share passes";
const threads = "one set of threads computes everything, see --threads, --threads-batch and --cpu-list";
const ownCache = "prompts are kept by their tokens in one cache for all, see docs/server.md";
const noDraft = "tokens are guessed from the text so far, as many as pay: see --draft";
const noTools = "the server runs no tools of its own";
const ownLog = "the log is lines on stderr, see --log-requests";

/** `-c`, `-np`, `-kvu`, `-b` and `-ub` depend on each other: see llama-arguments.ts. */
export const llamaOptions: readonly LlamaOption[] = [
  value("-t", "--threads"),
  value("-md --model-draft --spec-draft-model", "--draft-model"),
  value("--draft-n --draft-max --spec-draft-n-max", "--draft"),
  value("-tb", "--threads-batch"),
  value("-Cr --cpu-range", "--cpu-list"),
  { names: ["-C", "--cpu-mask"], takes: 1, becomes: (mask) => ["--cpu-list", cpusOfMask(mask)] },
  value("-n --predict --n-predict", "--max-tokens"),
  value("-s", "--seed"),
  value("--samplers", "--samplers"),
  value("-a", "--alias"),
  value("--ssl-key-file", "--tls-key"),
  value("--ssl-cert-file", "--tls-cert"),
  value("--models-dir", "--models"),
  value("-to --timeout", "--request-timeout"),
  list("--cors-origins", "--cors"),
  flag("--context-shift", "--when-full", "shift"),
  flag("--no-context-shift", "--when-full", "stop"),
  flag("--no-mmap", "--io", "direct"),
  flag("--mmap"),
  flag("--no-slots", "--no-slots"),
  flag("--slots"),
  flag("--no-ui --no-webui", "--no-page"),
  flag("--ui --webui"),
  { names: ["-rea", "--reasoning"], takes: "on-off", becomes: (given) => ["--reasoning", given || "auto"] },
  ...none(
    noGpu,
    1,
    `-ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu -dev --device -fitt
    --fit-target -fitc --fit-ctx -ncmoe --n-cpu-moe -ncffn --n-cpu-ffn -ot --override-tensor --rpc`,
  ),
  ...none(noGpu, 0, `-kvo --kv-offload -nkvo --no-kv-offload --op-offload --no-op-offload -cmoe --cpu-moe --no-host`),
  ...none(noGpu, "on-off", "-fit --fit"),
  ...none("attention never writes the whole table of scores", "on-off", "-fa --flash-attn"),
  ...none(batched, 0, "-cb --cont-batching -nocb --no-cont-batching"),
  ...none("chat templates are Jinja", 0, "--jinja --no-jinja"),
  ...none("weights that are read into memory are locked as far as the system lets us", 0, "--mlock"),
  ...none("weights are laid out when they are read, and only where it helps", 0, "--repack -nr --no-repack"),
  ...none("see --io", 1, "-lm --load-mode -lzm --lazy-mode"),
  ...none(threads, 1, "--threads-http --prio --prio-batch --poll --poll-batch"),
  ...none(threads, 1, `-Cb --cpu-mask-batch -Crb --cpu-range-batch --cpu-strict --cpu-strict-batch`),
  ...none(
    ownCache,
    1,
    `-cram --cache-ram --cache-reuse -ctxcp --ctx-checkpoints --swa-checkpoints -cms --checkpoint-min-step
    -sps --slot-prompt-similarity -dt --defrag-thold`,
  ),
  ...none(ownCache, 0, "--cache-prompt --no-cache-prompt --cache-idle-slots --no-cache-idle-slots --swa-full"),
  ...none("slots are not kept in files", 1, "--slot-save-path"),
  ...none(
    noDraft,
    1,
    `--spec-type --spec-draft-n-min --spec-draft-ngl -ngld
    --gpu-layers-draft --n-gpu-layers-draft --draft-min --draft-n-min --draft-p-min
    --spec-draft-p-min --spec-draft-p-split --draft-p-split -hfd --hf-repo-draft -devd --device-draft
    -ctkd --cache-type-k-draft -ctvd --cache-type-v-draft -td --threads-draft -tbd --threads-batch-draft
    --spec-synth-len --spec-synth-rates -lcs --lookup-cache-static -lcd --lookup-cache-dynamic`,
  ),
  ...none(noDraft, 0, "--spec-default"),
  ...none(noTools, 1, "--tools --tools-runtime --mcp-servers-config --mcp-servers-json"),
  ...none(noTools, 0, "-ag --agent -no-ag --no-agent --ui-mcp-proxy --webui-mcp-proxy --no-ui-mcp-proxy"),
  ...none(ownLog, 0, "--log-disable --log-jsonl --no-log-jsonl --log-prefix --no-log-prefix --log-timestamps"),
  ...none(ownLog, 0, "--no-log-timestamps"),
  ...none(ownLog, 1, "-lv --verbosity --log-verbosity --log-file"),
  ...none(ownLog, "on-off", "--log-colors"),
  flag("-v --verbose --log-verbose", "--log-requests", "--verbose-answers"),
  ...none("it is always there", 0, "--metrics --embedding --embeddings --rerank --reranking"),
  ...none("settings of a running server are not changed", 0, "--props"),
  ...none("nothing is ever downloaded while it serves", 0, "--offline"),
  ...none("text of the command line is taken as it is", 0, "-e --escape --no-escape"),
  ...none("times are always told", 0, "--perf --no-perf"),
  ...none("samplers run where the engine is", 0, "-bs --backend-sampling --backend_sampling"),
  ...none("another address is a server of its own", 0, "--reuse-port"),
  ...none("see --cors", 1, "--cors-methods --cors-headers"),
  ...none("see --cors", 0, "--cors-credentials --no-cors-credentials"),
  ...none("streams are kept awake every 10 s", 1, "--sse-ping-interval"),
  ...none("the memory of an idle server is given back by itself", 1, "--sleep-idle-seconds"),
  ...none("the page has its own settings", 1, "--ui-config --webui-config --ui-config-file --webui-config-file --path"),
  ...none("one model is served at a time", 1, "--models-max --models-preset"),
  ...none("one model is served at a time", 0, "--models-autoload --no-models-autoload"),
  ...none("weights are checked when they are used", 0, "--check-tensors"),
  ...none("the template decides what stays of earlier thinking", 0, "--reasoning-preserve --no-reasoning-preserve"),
  ...none("an answer that was begun is always gone on with", 0, "--prefill-assistant"),
  ...none("images are not supported", 0, "--no-mmproj --mmproj-auto --no-mmproj-auto"),
  ...none("images are not supported", 1, "--media-path"),
  list("--lora-scaled", "--lora"),
  ...refused("control vectors are not supported", 1, "--control-vector --control-vector-scaled"),
  ...refused("images are not supported", 1, "-mm --mmproj -mmu --mmproj-url"),
  ...refused("models are not fetched by serve; give a file", 1, "-mu --model-url -hf -hfr --hf-repo -hff --hf-file"),
  ...refused("models are not fetched by serve; give a file", 1, "-dr --docker-repo"),
  ...refused(
    "positions are what the file says",
    1,
    `--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor
    --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast --override-kv -gan --grp-attn-n -gaw --grp-attn-w`,
  ),
  ...refused("give it in the request", 1, "--grammar --grammar-file -j --json-schema -jf --json-schema-file"),
  ...refused("not supported", 1, "--api-prefix --adaptive-target --adaptive-decay --reasoning-budget-message"),
];
