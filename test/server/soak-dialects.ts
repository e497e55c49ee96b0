/**
 * Asks a soaked server by its other APIs: Anthropic's, Responses, Ollama's, llama-server's. Those that it does not have
 * are left out.
 */

type Post = (path: string, body: unknown, signal?: AbortSignal) => Promise<Response>;
type Random = (below: number) => number;

interface Dialect {
  readonly path: string;
  body(text: string, tokens: number, stream: boolean): object;
  /** Whether an answer in one piece is one. */
  whole(body: Readonly<Record<string, unknown>>): boolean;
  /** How a stream ends; absent: there is none. */
  readonly end?: RegExp;
  /** A body that is refused with 400. */
  readonly wrong: object;
}

const said = (text: string) => [{ role: "user", content: text }];
const model = "any";

const dialects: readonly Dialect[] = [
  {
    path: "/v1/messages",
    body: (text, max_tokens, stream) => ({ model, max_tokens, messages: said(text), stream }),
    whole: ({ type, content }) => type === "message" && Array.isArray(content),
    end: /event: message_stop\ndata: \{[^\n]*\}\n\n$/,
    wrong: { model, max_tokens: 4, messages: "no" },
  },
  {
    path: "/v1/messages/count_tokens",
    body: (text) => ({ model, messages: said(text) }),
    whole: ({ input_tokens: tokens }) => Number.isInteger(tokens),
    wrong: { model, messages: [{ role: 7 }] },
  },
  {
    path: "/v1/responses",
    body: (text, max_output_tokens, stream) => ({ model, input: text, max_output_tokens, stream }),
    whole: ({ object, status }) => object === "response" && (status === "completed" || status === "incomplete"),
    end: /event: response\.(completed|incomplete)\ndata: \{[^\n]*\}\n\n$/,
    wrong: { model, input: [{ type: "message", role: [], content: 3 }] },
  },
  {
    path: "/api/chat",
    body: (text, num_predict, stream) => ({ model, messages: said(text), stream, options: { num_predict } }),
    whole: ({ done, message }) => done === true && typeof message === "object",
    end: /"done":true[^\n]*\}\n$/,
    wrong: { model, messages: "no" },
  },
  {
    path: "/api/generate",
    body: (prompt, num_predict, stream) => ({ model, prompt, stream, options: { num_predict } }),
    whole: ({ done, response }) => done === true && typeof response === "string",
    end: /"done":true[^\n]*\}\n$/,
    wrong: { model, prompt: 7 },
  },
  {
    path: "/completion",
    body: (prompt, n_predict, stream) => ({ prompt, n_predict, stream }),
    whole: ({ content, stop }) => typeof content === "string" && stop === true,
    end: /"stop":true[^\n]*\}\n\n$/,
    wrong: { prompt: {}, n_predict: "many" },
  },
];

const reads = ["/v1/models", "/props", "/slots", "/api/tags", "/api/version", "/api/ps", "/openapi.json", "/"];

export class OtherDialects {
  private readonly post: Post;
  private readonly random: Random;
  private there: Promise<readonly Dialect[]> | undefined;

  constructor(post: Post, random: Random) {
    this.post = post;
    this.random = random;
  }

  /** @returns "200", or what came instead */
  async valid(text: string): Promise<string> {
    const { path, body, whole, end } = await this.one();
    const stream = end !== undefined && this.random(2) === 0;
    const answer = await this.post(path, body(text, 1 + this.random(8), stream));
    const given = await answer.text();
    if (answer.status !== 200) return `${path} ${answer.status} ${given.slice(0, 100)}`;
    const right = stream ? end.test(given) : whole(JSON.parse(given) as Record<string, unknown>);
    return right ? "200" : `${path}${stream ? " (stream)" : ""} ${given.slice(-200)}`;
  }

  /** A wrong field, no JSON, too deep. @returns "400" when it was refused in JSON */
  async wrong(): Promise<string> {
    const { path, wrong } = await this.one();
    const bodies = [wrong, "{", `{"messages":${"[".repeat(1000)}${"]".repeat(1000)}}`, "[]"];
    const answer = await this.post(path, bodies[this.random(bodies.length)]);
    const body = (await answer.json()) as { readonly error?: unknown };
    return answer.status === 400 && body.error !== undefined ? "400" : `${path} ${answer.status}`;
  }

  async aborted(text: string): Promise<string> {
    const { path, body, end } = await this.one();
    const controller = new AbortController();
    const answer = this.post(path, body(text, 400, end !== undefined), controller.signal);
    setTimeout(() => controller.abort(), this.random(30));
    await (await answer).text();
    return "whole";
  }

  /** Looks at what clients look at before they ask. */
  async read(get: (path: string) => Promise<Response>): Promise<string> {
    const path = reads[this.random(reads.length)]!;
    const answer = await get(path);
    await answer.arrayBuffer();
    return [200, 404].includes(answer.status) ? "answered" : `${path} ${answer.status}`;
  }

  private async one(): Promise<Dialect> {
    this.there ??= this.look();
    const there = await this.there;
    return there[this.random(there.length)]!;
  }

  private async look(): Promise<readonly Dialect[]> {
    const found: Dialect[] = [];
    for (const dialect of dialects) {
      const answer = await this.post(dialect.path, dialect.wrong);
      await answer.text();
      if (answer.status !== 404) found.push(dialect);
    }
    return found;
  }
}
