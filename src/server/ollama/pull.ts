/** `/api/pull`: fetches a model into the store of this computer, a line of JSON for each step. */
import { isIP } from "node:net";
import type { HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";
import { asHundredweightError } from "../../errors.js";
import { parseOllamaName } from "../../store/pull/ollama-registry.js";
import { type PullOptions, pull } from "../../store/pull/pull.js";
import { readJson } from "../http/body.js";
import { asHttpError, HttpError, wrongField } from "../http/http-error.js";
import { validate } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { pullSchema } from "./request.js";

/** More at once would only share the line. */
const mostPulls = 3;
const tellEveryMs = 500;

export function ollamaPullRoutes(app: Hono, context: ServerContext): void {
  let running = 0;
  app.post("/api/pull", async (c) => {
    checkPuller(c, context);
    const { value } = validate(pullSchema, await readJson(c, context.config));
    const word = sourceOf(value.model ?? value.name);
    if (running >= mostPulls) throw new HttpError(503, `${mostPulls} models are being fetched already`);
    running++;
    const signal = AbortSignal.any([c.req.raw.signal, context.draining]);
    const work = (tell: (line: object) => void) =>
      pullTelling(word, signal, tell).finally(() => {
        running--;
      });
    if (value.stream === false) {
      await work(() => {});
      return c.json({ status: "success" });
    }
    return c.body(linesOf(work), 200, { "content-type": "application/x-ndjson" });
  });
}

/** Lets in those who have a key, or sit at this computer: a fetched model takes its disk. @throws HttpError 403 */
function checkPuller(c: Context, { config }: ServerContext): void {
  if (config.apiKeys.length > 0) return; // it has been asked for
  const { incoming } = (c.env ?? {}) as Partial<HttpBindings>;
  const address = incoming?.socket.remoteAddress?.replace(/^::ffff:/, "");
  const own = address === undefined || address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
  if (!own) throw new HttpError(403, "models are fetched for this computer itself, or with a key (--api-key)");
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

async function pullTelling(word: string, signal: AbortSignal, tell: (line: object) => void): Promise<void> {
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
  await pull(word, { signal, noPlan: true, onProgress, onNote: (note) => tell({ status: note }) });
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
