/** The report of `quality`: a table for each text, a document, and a drawing of size against divergence. */
import { basename } from "node:path";
import type { DomainQuality, ModelQuality, Quality } from "../../quality/quality.js";
import { formatBytes, standardOutput } from "../terminal/output.js";
import { table } from "../terminal/table.js";

export interface Subject {
  readonly path: string;
  /** The size of its files, and bits of a value of its tensors; absent where only logits are there. */
  readonly bytes?: number;
  readonly bitsPerValue?: number;
  /** The type of its KV cache, where it was chosen. */
  readonly kv?: string;
}

const nameOf = ({ path, kv }: Subject): string => (kv === undefined ? basename(path) : `${basename(path)}, KV ${kv}`);

export interface About {
  readonly reference: Subject;
  readonly models: readonly Subject[];
  readonly chunkTokens: number;
  /** Logits a token that were stored, and the mean mass of the others. */
  readonly top?: number;
  readonly meanTail?: number;
  /** Tokens drawn of each row of the reference, where those are known. */
  readonly draws?: number;
}

export function qualityDocument({ models, ...about }: About, { domains, all }: Quality) {
  const of = ({ models: found, ...rest }: DomainQuality) => ({
    ...rest,
    models: found.map((quality, i) => {
      const { path, kv } = models[i]!;
      return { path, ...(kv !== undefined && { kv }), ...quality };
    }),
  });
  return { ...about, models, domains: domains.map(of), all: of(all) };
}

export function qualityText(about: About, { domains, all }: Quality): string {
  const { reference, chunkTokens, top, meanTail, draws } = about;
  const parts = [`reference ${reference.path}, chunks of ${chunkTokens} tokens, KL in nats a token [95 % of means]\n`];
  if (top !== undefined && meanTail !== undefined)
    parts.push(
      `of stored logits, ${top} a token: the others, ${(100 * meanTail).toFixed(3)} % of the mass, count as one ` +
        "token, so KL is at most the exact one\n",
    );
  if (draws !== undefined)
    parts.push(`of ${draws} draws a token: means of KL are unbiased, its median and 99 % say nothing\n`);
  for (const domain of domains.length > 1 ? [...domains, all] : domains) parts.push("\n", domainText(about, domain));
  return parts.join("");
}

function domainText({ models, reference }: About, domain: DomainQuality): string {
  const { name, tokens, chunks, reference: own } = domain;
  const title = `${name}: ${tokens} tokens scored in ${chunks} chunks\n`;
  const size = ({ bytes, bitsPerValue }: Subject) => [
    bytes === undefined ? "" : formatBytes(bytes),
    bitsPerValue === undefined ? "" : bitsPerValue.toFixed(2),
  ];
  const first = [basename(reference.path), ...size(reference), "", "", "", "", "", own.perplexity.toFixed(4)];
  const rows = domain.models.map((found, i) => [nameOf(models[i]!), ...size(models[i]!), ...cellsOf(found, i)]);
  const right = (label: string) => ({ title: label, align: "right" as const });
  const columns = [
    { title: "model", cut: "start" as const },
    ...["size", "bits", "mean KL", "median", "99 %", "same top", "beside first", "perplexity"].map(right),
  ];
  return title + table(columns, [first, ...rows], standardOutput());
}

function cellsOf({ kl, sameTop, ratio, perplexity, error }: ModelQuality, i: number): string[] {
  const besides = Number.isFinite(ratio.mean)
    ? `${ratio.mean.toFixed(3)} [${ratio.low.toFixed(3)}-${ratio.high.toFixed(3)}]`
    : "";
  return [
    `${kl.mean.toFixed(6)} [${kl.low.toFixed(6)}-${kl.high.toFixed(6)}]`,
    kl.median.toFixed(6),
    kl.p99.toFixed(5),
    `${(100 * sameTop).toFixed(2)} %`,
    i === 0 ? "" : besides,
    `${perplexity.toFixed(4)} +/- ${error.toFixed(3)}`,
  ];
}

const width = 720;
const height = 440;
const margin = { left: 80, right: 150, top: 30, bottom: 50 };

/** Divergence on a logarithmic scale over size, a mark with its interval for each model. */
export function qualitySvg({ models }: About, { all }: Quality): string {
  const points = all.models.flatMap(({ kl }, i) => {
    const { bytes, path } = models[i]!;
    return bytes === undefined || !(kl.mean > 0) ? [] : [{ name: basename(path, ".gguf"), bytes, kl }];
  });
  const sizes = points.map(({ bytes }) => bytes);
  const x = scale(Math.min(...sizes), Math.max(...sizes), margin.left, width - margin.right);
  const logs = points.flatMap(({ kl }) => [Math.log10(kl.mean)]);
  const [low, high] = [Math.floor(Math.min(...logs, 0)), Math.ceil(Math.max(...logs, -9))];
  const y = scale(low, Math.max(low + 1, high), height - margin.bottom, margin.top);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    text(width / 2, height - 10, "size of the file", "middle"),
    text(10, 18, "mean KL divergence, nats a token", "start"),
  ];
  for (let power = low; power <= Math.max(low + 1, high); power++) {
    const at = y(power).toFixed(1);
    lines.push(`<path d="M${margin.left} ${at}H${width - margin.right}" stroke="#ddd"/>`);
    lines.push(text(margin.left - 8, y(power) + 4, `1e${power}`, "end"));
  }
  for (const bytes of points.length > 0 ? [Math.min(...sizes), Math.max(...sizes)] : [])
    lines.push(text(x(bytes), height - margin.bottom + 18, formatBytes(bytes), "middle"));
  for (const { name, bytes, kl } of points) {
    const [cx, cy] = [x(bytes).toFixed(1), y(Math.log10(kl.mean)).toFixed(1)];
    const [from, to] = [kl.low, kl.high].map((value) => y(Math.log10(Math.max(value, 10 ** low))).toFixed(1));
    lines.push(`<path d="M${cx} ${from}V${to}" stroke="#36c"/><circle cx="${cx}" cy="${cy}" r="4" fill="#36c"/>`);
    lines.push(text(x(bytes) + 8, y(Math.log10(kl.mean)) + 4, name, "start"));
  }
  return `${lines.join("\n")}\n</svg>\n`;
}

const scale = (from: number, to: number, low: number, high: number) => (value: number) =>
  to > from ? low + ((value - from) / (to - from)) * (high - low) : (low + high) / 2;

const escaped: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

const plain = (content: string): string => content.replace(/[&<>"]/g, (c) => escaped[c]!);

const text = (x: number, y: number, content: string, anchor: string): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${plain(content)}</text>`;
