/** Plays strangers who harm a server: texts made to hurt, readers who do not read, connections that say nothing. */
import { connect, type Socket } from "node:net";
import { hostileTexts } from "../support/hostile-templates.js";

type Post = (path: string, body: unknown) => Promise<Response>;

/** Statuses that a text may have; 413 and 429 say that it is too large, or too much at once. */
const answered = [200, 400, 413, 429];

/** @returns "answered", or what came instead */
export async function hostileText(post: Post, random: (below: number) => number): Promise<string> {
  const content = hostileTexts[random(hostileTexts.length)]!;
  const chat = { messages: [{ role: "user", content }], max_tokens: 1 };
  const answer = random(2) === 0 ? await post("/v1/chat/completions", chat) : await post("/tokenize", { content });
  const body = (await answer.json()) as { readonly error?: unknown };
  return answered.includes(answer.status)
    ? "answered"
    : `${answer.status} ${JSON.stringify(body.error ?? body).slice(0, 200)}`;
}

/** Takes a large answer piece by piece. @returns its status when it came whole */
export async function slowReader(post: Post): Promise<string> {
  const answer = await post("/tokenize", { content: "and it came to pass ".repeat(5000), with_pieces: true });
  const decoder = new TextDecoder();
  let text = "";
  const reader = answer.body!.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += decoder.decode(part.value, { stream: true });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (answer.status !== 200) return String(answer.status);
  const { tokens, count } = JSON.parse(text) as { readonly tokens: readonly unknown[]; readonly count: number };
  return tokens.length === count ? "200" : "not whole";
}

/** Connections that are left lying about: the oldest end when there are too many, all at the end. */
export class LeftOpen {
  private readonly sockets: Socket[] = [];
  private readonly most: number;

  constructor(most: number) {
    this.most = most;
  }

  open(url: string, message: string): Promise<string> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(message, () => resolve("left"));
      });
      socket.pause();
      socket.on("error", () => resolve("refused"));
      this.sockets.push(socket);
      if (this.sockets.length > this.most) this.sockets.shift()!.destroy();
    });
  }

  end(): void {
    for (const socket of this.sockets.splice(0)) socket.destroy();
  }
}

export function halfRequest(): string {
  return "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
}

export function unreadRequest(): string {
  const body = JSON.stringify({ content: "a b ".repeat(50_000), with_pieces: true });
  const headers = `host: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  return `POST /tokenize HTTP/1.1\r\n${headers}\r\n\r\n${body}`;
}
