/** The page in a real browser, against a real server with the bundled model. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { packageRoot } from "../../src/package-root.js";
import { type RunningServer, type StartOptions, startServer } from "../../src/server/index.js";
import { until as patiently } from "./wait.js";

export const demoModel = join(packageRoot(), "models", "demo.gguf");

const executable = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);
const built = existsSync(join(packageRoot(), "dist", "page", "index.html"));

/** Why the page cannot be driven here; said aloud. */
export const skipPage =
  executable === undefined
    ? "no Chromium (set CHROMIUM): the page is NOT tested in a browser"
    : built
      ? false
      : "the page is not built (npm run build): it is NOT tested in a browser";
if (skipPage) console.error(`SKIPPED: ${skipPage}`);

export function launch(): Promise<Browser> {
  // Chromium's sandbox does not work for root, as which containers run.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: executable!, args });
}

/** A browser beside servers that run: a server that does not start leaves no browser open. */
export async function launchBeside<T extends readonly Promise<Served>[]>(
  ...starts: T
): Promise<[Browser, ...{ [K in keyof T]: Served }]> {
  const started = await Promise.allSettled(starts);
  const failed = started.find((one) => one.status === "rejected");
  try {
    if (failed !== undefined) throw failed.reason;
    return [await launch(), ...(await Promise.all(starts))] as [Browser, ...{ [K in keyof T]: Served }];
  } catch (error) {
    for (const one of started) if (one.status === "fulfilled") await one.value.stop();
    throw error;
  }
}

export interface Served {
  readonly url: string;
  readonly data: string;
  readonly server: RunningServer;
  stop(): Promise<void>;
}

/** @param slow the plain TypeScript implementation: an answer takes seconds, so that there is time to do something */
export async function serve(options: Partial<StartOptions> & { readonly slow?: boolean } = {}): Promise<Served> {
  const data = mkdtempSync(join(tmpdir(), "hundredweight-page-"));
  const { slow, config, ...others } = options;
  const server = await startServer({
    modelPath: demoModel,
    config: { port: 0, dataFolder: data, ...config },
    engine: slow === true ? { ops: "reference", contextTokens: 512 } : { threads: 1, sequences: 2 },
    ...others,
  });
  await server.loaded;
  const stop = async () => {
    await server.stop(0);
    rmSync(data, { recursive: true, force: true });
  };
  return { url: server.url, data, server, stop };
}

export interface Opened {
  readonly page: Page;
  /** Errors of the page and what its policy refused. */
  readonly faults: string[];
}

/** How pages are looked at unless a test says so: light or dark, wide or as narrow as a phone. */
const [colorScheme, width] = (process.env.HUNDREDWEIGHT_PAGE ?? "light 1100").split(" ") as ["light" | "dark", string];
const usual = { colorScheme, viewport: { width: Number(width), height: 720 } };

export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({ ...usual, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") faults.push(message.text());
  });
  await page.goto(url);
  return { page, faults };
}

/** The page's policy forbids what playwright's own waitForFunction does with a string. */
export function until(holds: () => Promise<boolean>, timeoutMs = 180_000): Promise<void> {
  return patiently(holds, String(holds), { ms: timeoutMs, everyMs: 30 });
}

/** A request to the server, without the page. */
export async function api<T>(url: string, method: string, path: string, body?: unknown): Promise<T> {
  const ask = () =>
    fetch(url + path, {
      method,
      ...(body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
  // A connection that was idle for long may be closed in the moment it is used again.
  const response = await ask().catch((error: Error & { cause?: { code?: string } }) => {
    if (error.cause?.code !== "UND_ERR_SOCKET" && error.cause?.code !== "ECONNRESET") throw error;
    return ask();
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** The field in which a person writes. */
export const composer = ".composer textarea";

/** Opens the side where it lies behind a button, as on a phone. */
export async function showSide(page: Page): Promise<void> {
  if (!(await page.locator(".side").isVisible())) await page.click(".side-toggle");
}

/** Writes a message and sends it. */
export async function say(page: Page, text: string): Promise<void> {
  await page.fill(composer, text);
  await page.press(composer, "Enter");
}

/** A browser and a server for the tests of the `describe` in which it is called; there once they run. */
export function inBrowser(start: () => Promise<Served> = serve): {
  readonly browser: Browser;
  readonly served: Served;
} {
  const there: { browser?: Browser; served?: Served } = {};
  before(async () => {
    [there.browser, there.served] = await launchBeside(start());
  });
  after(async () => {
    await there.browser?.close();
    await there.served?.stop();
  });
  return there as { browser: Browser; served: Served };
}
