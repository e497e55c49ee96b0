/** `hundredweight chat [MODEL]`: a conversation on the terminal. */
import { createInterface, type Interface } from "node:readline";
import type { Command } from "commander";
import type { ChatMessage } from "../../chat/index.js";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import type { Generation } from "../../generation.js";
import { load, type Model } from "../../model.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../model-options.js";
import { modelFile } from "../model-word.js";
import { tell } from "../output.js";
import { forTerminal, printable } from "../printable.js";
import { noProbe, probeOnFirstUse } from "../probe-first.js";
import { addSamplingOptions, generateOptions, type SamplingFlags } from "../sampling-options.js";
import { warnAboutContext } from "./run.js";

interface ChatFlags extends ModelFlags, SamplingFlags {
  raw?: boolean;
  system?: string;
  probe?: boolean;
}

const help = `/help          this list
/system TEXT   set the system message (without TEXT: remove it)
/clear         forget the conversation
/regen         answer the last message again
/exit          leave (also Ctrl-D, or Ctrl-C twice)
Ctrl-C stops an answer.
`;

export function register(program: Command): void {
  const command = program
    .command("chat")
    .description("Talk to a model: /help lists what can be typed, Ctrl-C stops an answer.")
    .argument("[model]", "a GGUF file; none = the bundled demonstration model")
    .option("--system <text>", "system message")
    .option("--raw", "no chat template: what you type is continued")
    .option(...noProbe);
  addModelOptions(addSamplingOptions(command)).action((model: string | undefined, flags: ChatFlags) => {
    if (flags.json) throw new HundredweightError("OPTION_INVALID", "--json: chat is for people; use run");
    return chat(model, flags);
  });
}

async function chat(path: string | undefined, flags: ChatFlags): Promise<void> {
  const file = modelFile(path);
  await probeOnFirstUse(file, flags);
  const model = await load(file, { ...loadOptions(flags), ...(flags.raw !== true && { text: "process" }) });
  try {
    warnAboutContext(model);
    // The demonstration model has no template: it goes on with what it is told.
    const raw = flags.raw === true || (path === undefined && model.info.chatTemplate === undefined);
    if (!raw && model.info.chatTemplate === undefined) {
      throw new HundredweightError("TEMPLATE_MISSING", `${model.info.path} has no chat template; use --raw`);
    }
    await new Conversation(model, flags, raw).run();
  } finally {
    await model.close();
  }
}

class Conversation {
  private readonly model: Model;
  private readonly flags: ChatFlags;
  private readonly raw: boolean;
  private readonly lines: Interface;
  private system: string | undefined;
  private messages: ChatMessage[] = [];
  /** Raw mode: everything so far. */
  private story = "";
  private answering: AbortController | undefined;
  private interrupted = false;

  constructor(model: Model, flags: ChatFlags, raw: boolean) {
    this.model = model;
    this.flags = flags;
    this.raw = raw;
    this.system = flags.system;
    const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
    this.lines = createInterface({ input: process.stdin, output: terminal ? process.stdout : undefined!, terminal });
    this.lines.setPrompt("> ");
  }

  async run(): Promise<void> {
    const { info } = this.model;
    tell(`${printable(info.name ?? info.path)} (${printable(info.architecture)}, ${info.ops}); /help for help`);
    const onSignal = (): void => this.interrupt();
    this.lines.on("SIGINT", onSignal);
    process.on("SIGINT", onSignal);
    try {
      this.prompt();
      for await (const line of this.lines) {
        this.interrupted = false;
        if (!(await this.handle(line.trim()))) break;
        this.prompt();
      }
    } finally {
      this.answering?.abort();
      process.off("SIGINT", onSignal);
      this.lines.close();
    }
  }

  private prompt(): void {
    if (process.stdout.isTTY) this.lines.prompt();
  }

  /** The first Ctrl-C stops an answer; with nothing to stop the first warns and the second leaves. */
  private interrupt(): void {
    if (this.answering !== undefined && !this.answering.signal.aborted) {
      this.answering.abort();
      return;
    }
    if (this.interrupted) {
      this.lines.close();
      return;
    }
    this.interrupted = true;
    process.stderr.write("\n(Ctrl-C again or /exit to leave)\n");
    this.prompt();
  }

  /** @returns false to leave */
  private async handle(line: string): Promise<boolean> {
    const [, name, rest] = /^\/(\S*)\s*(.*)$/s.exec(line) ?? [];
    switch (name) {
      case undefined:
        if (line !== "") await this.say(line);
        return true;
      case "exit":
      case "quit":
        return false;
      case "help":
        process.stdout.write(help);
        return true;
      case "clear":
        this.messages = [];
        this.story = "";
        return true;
      case "system":
        if (this.raw) process.stdout.write("without a chat template there is no system message\n");
        else this.system = rest === "" ? undefined : rest;
        return true;
      case "regen":
        await this.again();
        return true;
      default:
        process.stdout.write(`unknown command /${name}\n${help}`);
        return true;
    }
  }

  private async say(line: string): Promise<void> {
    if (this.raw) this.story = this.story === "" ? line : `${this.story}\n${line}`;
    else this.messages.push({ role: "user", content: line });
    await this.respond();
  }

  private async again(): Promise<void> {
    if (this.raw || this.messages.length === 0) {
      process.stdout.write("there is no message to answer again\n");
      return;
    }
    if (this.messages.at(-1)?.role === "assistant") this.messages.pop();
    await this.respond();
  }

  private async respond(): Promise<void> {
    this.answering = new AbortController();
    let text = "";
    try {
      for await (const piece of this.generation(this.answering.signal)) {
        process.stdout.write(forTerminal(piece));
        text += piece;
      }
    } catch (thrown) {
      const error = asHundredweightError(thrown);
      const note = error.code === "CANCELLED" ? " [stopped]" : `\nerror[${error.code}]: ${error.message}`;
      if (error.code === "ENGINE_CLOSED" || error.code === "INTERNAL") throw error;
      process.stderr.write(note);
      // What does not fit must not stay in the way of everything that follows.
      if (error.code === "CONTEXT_EXCEEDED" && !this.raw) this.messages.pop();
    } finally {
      this.answering = undefined;
    }
    process.stdout.write("\n");
    // What was said stays said, also when it was stopped: /regen replaces it.
    if (this.raw) this.story += text;
    else if (text !== "") this.messages.push({ role: "assistant", content: text });
  }

  private generation(signal: AbortSignal): Generation {
    const options = { ...generateOptions(this.flags), signal };
    if (this.raw) return this.model.generate(this.story, options);
    const system: ChatMessage[] = this.system === undefined ? [] : [{ role: "system", content: this.system }];
    return this.model.chat([...system, ...this.messages], options);
  }
}
