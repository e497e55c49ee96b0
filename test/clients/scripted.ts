/** A server whose model says what a test wrote, for clients of all kinds; and the clients, as they are published. */
import type { GenerateRequest } from "../../src/link/protocol.js";
import type { RunningServer, ServerConfig } from "../../src/server/index.js";
import { FakeEngine, type FakeJob } from "../server/fake-engine.js";
import { chatModel, postJson, serveFake } from "../server/support.js";

/** Writes as models of the Hermes family do. */
const template =
  "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}" +
  "Calls stand between <tool_call> and </tool_call>.<|im_end|>\n{% endif %}" +
  "{% for m in messages %}<|im_start|>{{ m.role }}\n" +
  "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content or '' }}" +
  "{% for c in m.tool_calls or [] %}<tool_call>\n" +
  "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>{% endfor %}" +
  "<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

export const call = (name: string, args: object): string =>
  `<tool_call>\n${JSON.stringify({ name, arguments: args })}\n</tool_call>`;

/** An answer as a model writes it, or what is done with a job. */
type Line = string | ((job: FakeJob) => void);

export class Scripted {
  readonly server: RunningServer;
  readonly engine: FakeEngine;
  private script: Line[] = [];

  static async start(config: Partial<ServerConfig> = {}): Promise<Scripted> {
    const play = (job: FakeJob): void => {
      const line = made.script.shift() ?? "";
      if (typeof line === "function") line(job);
      else {
        for (const piece of line.match(/.{1,4}/gsu) ?? []) job.token(piece);
        job.finish();
      }
    };
    const engine = new FakeEngine(play, { contextTokens: 4096, chatTemplate: template });
    const made: Scripted = new Scripted(await serveFake(engine, config, await chatModel(template, "scripted")), engine);
    return made;
  }

  private constructor(server: RunningServer, engine: FakeEngine) {
    this.server = server;
    this.engine = engine;
  }

  /** The next answers, in turn. */
  says(...lines: Line[]): void {
    this.script = lines;
  }

  /** The last job that the model got. */
  get request(): GenerateRequest {
    return this.engine.jobs.at(-1)!.request;
  }

  /** The prompt it was asked with, as text. */
  async prompt(): Promise<string> {
    const { prompt } = this.request;
    if (prompt.kind !== "tokens") throw new Error("a prompt is tokens");
    const answer = await postJson(`${this.server.url}/detokenize`, { tokens: [...prompt.tokens] });
    return ((await answer.json()) as { content: string }).content;
  }
}

/** Their own types are not compiled here: a checkout may have been installed before they were added. */
// biome-ignore lint/suspicious/noExplicitAny: so they are tried as a program without types would
export type Untyped = any;

export interface Package {
  readonly module: Untyped;
  /** Why it cannot be tried. */
  readonly skip: string | false;
}

export async function load(name: string): Promise<Package> {
  try {
    return { module: await import(name), skip: false };
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    const skip = `SKIPPED: npm ${name} is not installed: npm ci`;
    console.log(skip);
    return { module: {}, skip };
  }
}
