/** `hundredweight work --queue URL MODEL`: one machine of those that answer batches behind a queue. */
import type { Command } from "commander";
import { answerLine } from "../../batch/line-answer.js";
import type { LineEngine } from "../../fleet/bundle-worker.js";
import { parseQueueUrl } from "../../fleet/queue-url.js";
import { connectQueue } from "../../fleet/redis.js";
import { type EngineNeeds, FleetWorker } from "../../fleet/work.js";
import { endingSignals } from "../../process/signals.js";
import { modelFile } from "../../store/model-word.js";
import { type EngineFlags, openBatchEngine } from "../batch/local-queue.js";
import { modelMark } from "../batch/model-mark.js";
import { batchShape } from "../batch/shape.js";
import { addModelOptions, loadOptions } from "../options/model-options.js";
import { parseInteger, parseNumber } from "../options/options.js";
import { noProbe, probeOnFirstUse } from "../options/probe-first.js";
import { addWhenFullOptions } from "../options/when-full-option.js";
import { note, printJson, tell } from "../terminal/output.js";

interface WorkFlags extends EngineFlags {
  queue?: string | true;
  probe?: boolean;
  lease: number;
  drainTimeout: number;
  idle?: number;
}

const secondSignalMs = 3000;

export function register(program: Command): void {
  const command = program
    .command("work")
    .description("Answer lines of batches that others submit to a queue (`batch --queue`), for as long as it runs.")
    .argument("[model]", "the model that the batches want; none = the bundled demonstration model")
    .option(
      "--queue [url]",
      "redis://user:password@host:port/database, rediss:// with TLS; default HUNDREDWEIGHT_QUEUE",
    )
    .option("--parallel <n>", "answers made at the same time (default: what the plan allows)", (t) =>
      parseInteger(t, "--parallel", 1, 1024),
    )
    .option(
      "--lease <s>",
      "silent for so long, this machine is taken for dead and its lines go to others",
      (t) => parseNumber(t, "--lease", 1, 3600),
      30,
    )
    .option(
      "--drain-timeout <s>",
      "seconds that lines have to end when this machine is to stop; what is left then goes to others",
      (t) => parseNumber(t, "--drain-timeout", 0, 86_400),
      25,
    )
    .option("--idle <s>", "end after so long without work (default: never)", (t) => parseNumber(t, "--idle", 0, 1e9))
    .option(...noProbe);
  addModelOptions(addWhenFullOptions(command)).action((model: string | undefined, flags: WorkFlags) =>
    work(modelFile(model), flags),
  );
}

async function work(path: string, flags: WorkFlags): Promise<void> {
  const address = parseQueueUrl(flags.queue ?? true);
  const mark = await modelMark(path, loadOptions(flags));
  const [stopping, ending] = [new AbortController(), new AbortController()];
  const onSignal = (): void => {
    if (!stopping.signal.aborted) {
      note("takes no more lines; those that run may end (once more: they go to others now)");
      stopping.abort();
      return;
    }
    ending.abort();
    // The queue may be away, and then nothing can be given back: it is taken back by others.
    setTimeout(() => process.exit(130), secondSignalMs).unref();
  };
  for (const signal of endingSignals) process.on(signal, onSignal);
  const connection = await connectQueue(address, { note });
  try {
    const worker = new FleetWorker({
      connection,
      mark,
      contextTokens: flags.ctx,
      open: (needs) => openEngine(path, flags, needs),
      leaseMs: 1000 * flags.lease,
      drainMs: 1000 * flags.drainTimeout,
      ...(flags.idle !== undefined && { idleMs: 1000 * flags.idle }),
      note,
    });
    const done = await worker.work(stopping.signal, ending.signal);
    if (flags.json) printJson(done);
    else tell(`${done.lines} lines answered, ${done.tokens} tokens`);
  } finally {
    for (const signal of endingSignals) process.off(signal, onSignal);
    connection.close();
  }
}

async function openEngine(path: string, flags: WorkFlags, needs: EngineNeeds): Promise<LineEngine> {
  await probeOnFirstUse(path, flags);
  const options = { ...loadOptions(flags), contextTokens: needs.contextTokens };
  const shape = await batchShape(path, options, needs, flags.parallel);
  const { app, context, close } = await openBatchEngine(path, flags, shape);
  return {
    lanes: shape.sequences,
    get tokens() {
      return context.status.latest?.generatedTokens ?? 0;
    },
    answer: (request, defaults, signal) => answerLine(app, request, defaults, { signal }),
    close,
  };
}
