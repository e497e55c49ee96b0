/** `/api/pull`: fetches a model into the store of this computer, a line of JSON for each step. */
import type { Hono } from "hono";
import { asHundredweightError } from "../../errors.js";
import { parseOllamaName } from "../../store/pull/ollama-registry.js";
import type { PullOptions } from "../../store/pull/pull.js";
import { readJson } from "../http/body.js";
import { asHttpError, wrongField } from "../http/http-error.js";
import { validate } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { checkPuller, type Pulls } from "../service/pulls.js";
import { pullSchema } from "./request.js";

const tellEveryMs = 500;

export function ollamaPullRoutes(app: Hono, context: ServerContext): void {
  app.post("/api/pull", async (c) => {
    checkPuller(c, context.config);
    const { value } = validate(pullSchema, await readJson(c, context.config));
    const word = sourceOf(value.model ?? value.name);
    context.pulls.checkRoom();
    const signal = AbortSignal.any([c.req.raw.signal, context.draining]);
    const work = (tell: (line: object) => void) => pullTelling(context.pulls, word, signal, tell);
    if (value.stream === false) {
      await work(() => {});
      return c.json({ status: "success" });
    }
    return c.body(linesOf(work), 200, { "content-type": "application/x-ndjson" });
  });
}

/** As Ollama's clients name models: its own, or Hugging Face's behind the hub's name. Addresses are not for them. */
function sourceOf(name: string | undefined): string {
  if (name === undefined || name === "") throw wrongField("model", "model: is missing");
  if (/^(hf\.co|huggingface\.co)\/[^/]+\/[^/]+$/i.test(name)) return name;
  try {
    parseOllamaName(name);
    return `ollama:${name}`;
  } catch {
    throw wrongField("model", "model: a name like llama3.2:1b or hf.co/org/name:Q4_K_M");
  }
}

async function pullTelling(
  pulls: Pulls,
  word: string,
  signal: AbortSignal,
  tell: (line: object) => void,
): Promise<void> {
  tell({ status: "pulling manifest" });
  let told = 0;
  const onProgress: PullOptions["onProgress"] = ({ file, doneBytes, totalBytes }) => {
    const now = performance.now();
    if (now - told < tellEveryMs && doneBytes < totalBytes) return;
    told = now;
    const digest = `sha256:${file.sha256 ?? ""}`;
    tell({
      status: `pulling ${file.sha256?.slice(0, 12) ?? file.file}`,
      digest,
      total: totalBytes,
      completed: doneBytes,
    });
  };
  await pulls.run(word, { signal, onProgress, onNote: (note) => tell({ status: note }) });
  tell({ status: "verifying sha256 digest" });
  tell({ status: "writing manifest" });
  tell({ status: "success" });
}

/** Lines as they are told. After the first one a failure is a line, too. */
function linesOf(work: (tell: (line: object) => void) => Promise<void>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    async start(controller) {
      const tell = (line: object): void => {
        try {
          controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
        } catch {
          // The client is gone; its signal ends the work.
        }
      };
      try {
        await work(tell);
      } catch (error) {
        tell({ error: asHttpError(asHundredweightError(error)).message });
      }
      try {
        controller.close();
      } catch {
        // Closed by the client.
      }
    },
  });
}
