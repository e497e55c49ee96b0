/** `hundredweight chat [MODEL]`: a conversation on the terminal. */
import { existsSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import type { GenerationResult } from "../../library/generation.js";
import type { Model } from "../../library/model.js";
import { modelFile } from "../../store/model-word.js";
import { command as slashCommand, type View } from "../chat/commands.js";
import { Conversation } from "../chat/conversation.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { noPrefixStore, type PastFlags, pastOptions } from "../options/past-options.js";
import { noProbe, probeOnFirstUse } from "../options/probe-first.js";
import { addSamplingOptions, type SamplingFlags } from "../options/sampling-options.js";
import { sessionOption } from "../options/session-file.js";
import { readTools } from "../options/tools-file.js";
import { addWhenFullOptions } from "../options/when-full-option.js";
import { coloured, showsColour } from "../terminal/colour.js";
import { loadShown } from "../terminal/loading.js";
import { MessageLines } from "../terminal/message-lines.js";
import { tell } from "../terminal/output.js";
import { PasteFilter, pasteOff, pasteOn } from "../terminal/paste.js";
import { printable } from "../terminal/printable.js";
import { ReplyPrinter } from "../terminal/reply-printer.js";
import { footer, warnAboutContext } from "./run.js";

interface ChatFlags extends ModelFlags, SamplingFlags, PastFlags {
  raw?: boolean;
  system?: string;
  tools?: unknown[];
  session?: string;
  probe?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command("chat")
    .description("Talk to a model: /help lists what can be typed, Ctrl-C stops an answer.")
    .argument("[model]", "a GGUF file; none = the bundled demonstration model")
    .option("--system <text>", "system message")
    .option(
      "--tools <file>",
      "tools the model may call: a JSON list as OpenAI's API has it; type a call's result behind it",
      readTools,
    )
    .option(...sessionOption)
    .option("--raw", "no chat template: what you type is continued")
    .option(...noPrefixStore)
    .option(...noProbe);
  addModelOptions(addWhenFullOptions(addSamplingOptions(command))).action(
    (model: string | undefined, flags: ChatFlags) => {
      if (flags.json) throw new HundredweightError("OPTION_INVALID", "--json: chat is for people; use run");
      return chat(model, flags);
    },
  );
}

async function chat(path: string | undefined, flags: ChatFlags): Promise<void> {
  const file = modelFile(path);
  await probeOnFirstUse(file, flags);
  const options = {
    ...loadOptions(flags),
    ...pastOptions(flags),
    stays: true,
    ...(flags.raw !== true && { text: "process" as const }),
  };
  const model = await loadShown(file, options, flags.progress);
  try {
    warnAboutContext(model);
    // The demonstration model has no template: it goes on with what it is told.
    const raw = flags.raw === true || (path === undefined && model.info.chatTemplate === undefined);
    if (!raw && model.info.chatTemplate === undefined) {
      throw new HundredweightError("TEMPLATE_MISSING", `${model.info.path} has no chat template; use --raw`);
    }
    if (raw && flags.tools !== undefined) {
      throw new HundredweightError("OPTION_INVALID", "--tools needs a chat template, and none is applied");
    }
    await new Dialogue(model, flags, raw).run();
  } finally {
    await model.close();
  }
}

/** Lines in, answers out. */
class Dialogue {
  private readonly flags: ChatFlags;
  private readonly talk: Conversation;
  private readonly message = new MessageLines();
  private readonly paste: PasteFilter | undefined;
  private readonly lines: Interface;
  private readonly view: View = { verbose: false };
  private readonly printer: ReplyPrinter;
  private interrupted = false;

  constructor(model: Model, flags: ChatFlags, raw: boolean) {
    this.flags = flags;
    this.printer = new ReplyPrinter();
    this.talk = new Conversation(model, flags, raw, {
      part: (event) => this.printer.print(event),
      note: (text) => {
        this.endLine();
        tell(printable(text.replace(/\s*\n\s*/g, " ")));
      },
    });
    const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
    this.paste = terminal ? new PasteFilter(process.stdin) : undefined;
    this.lines =
      this.paste === undefined
        ? createInterface({ input: process.stdin, terminal: false })
        : createInterface({ input: process.stdin.pipe(this.paste), output: process.stdout, terminal: true });
  }

  async run(): Promise<void> {
    const { info } = this.talk.model;
    tell(`${printable(info.name ?? info.path)} (${printable(info.architecture)}, ${info.ops}); /help for help`);
    const onSignal = (): void => this.interrupt();
    this.lines.on("SIGINT", onSignal);
    process.on("SIGINT", onSignal);
    if (this.paste !== undefined) process.stdout.write(pasteOn);
    try {
      const { session } = this.flags;
      if (session !== undefined && existsSync(session)) await this.talk.load(session);
      if (this.flags.system !== undefined) await this.talk.setSystem(this.flags.system);
      this.prompt();
      let open = true;
      for await (const line of this.lines) {
        this.interrupted = false;
        const text = this.message.push(this.paste?.restore(line) ?? line);
        if (text !== undefined) open = await this.handle(text);
        if (!open) break;
        this.prompt();
      }
      const rest = this.message.end();
      if (open && rest !== undefined) await this.handle(rest);
      if (session !== undefined) await this.talk.save(session);
    } finally {
      this.talk.stop();
      process.off("SIGINT", onSignal);
      this.lines.close();
      if (this.paste !== undefined) {
        process.stdout.write(pasteOff);
        process.stdin.unpipe(this.paste);
      }
      process.stdin.pause();
    }
  }

  private prompt(): void {
    if (!process.stdout.isTTY) return;
    const wanted = this.talk.wanted;
    const usual = wanted === undefined ? "> " : `result of ${printable(wanted)}> `;
    this.lines.setPrompt(this.message.open ? "... " : usual);
    this.lines.prompt();
  }

  /**
   * The first Ctrl-C stops an answer, or takes back what was begun; with nothing to stop it warns and the second
   * leaves.
   */
  private interrupt(): void {
    if (this.talk.stop()) return;
    if (this.message.end() !== undefined) {
      process.stderr.write("\n");
      this.prompt();
      return;
    }
    if (this.interrupted) {
      this.lines.close();
      return;
    }
    this.interrupted = true;
    process.stderr.write("\n(Ctrl-C again or /bye to leave)\n");
    this.prompt();
  }

  /** A command is one line; a pasted text that begins with a slash is a message. @returns false to leave */
  private async handle(given: string): Promise<boolean> {
    const text = given.trim();
    if (text === "") return true;
    if (/^\/(\S*$|[^\n]*$|set\s+system\s|system\s)/.test(text)) {
      const open = await slashCommand(text, this.talk, this.view);
      this.endLine();
      return open;
    }
    const result = await (this.talk.wanted === undefined ? this.talk.say(text) : this.talk.give(text));
    this.endLine();
    if (result !== undefined && this.view.verbose) footer(result, this.talk.model.info.residency, true);
    else if (result !== undefined) this.tellSpeed(result);
    return true;
  }

  private tellSpeed({ tokens, timings }: GenerationResult): void {
    if (process.stderr.isTTY !== true || tokens.length < 2) return;
    const text = `[${tokens.length} tokens, ${timings.decodeTps.toFixed(1)}/s]`;
    process.stderr.write(`${coloured("dim", text, showsColour(process.stderr))}\n`);
  }

  private endLine(): void {
    this.printer.end();
  }
}
