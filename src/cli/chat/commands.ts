/** Commands that begin with a slash in a conversation. Their names are Ollama's and llama.cpp's. */
import { asHundredweightError } from "../../errors.js";
import { printText } from "../terminal/output.js";
import { printable, printableLines } from "../terminal/printable.js";
import type { Conversation } from "./conversation.js";
import { parameterNames, setParameter, shownParameters, unquoted, wordsOf } from "./settings.js";

export const help = `/help, /?                      this list
/set parameter NAME VALUE      temperature, top_k, seed ... (without NAME: the list)
/set system TEXT               the system message (without TEXT: none); also /system
/set verbose, /set quiet       figures after each answer, or none
/show info|parameters|system|template
/ctx                           how full the context is
/clear                         forget the conversation
/save FILE                     keep the conversation in a file
/load FILE                     go on with one that was kept
/regen                         answer the last message again
/bye, /exit, /quit             leave (also Ctrl-D, or Ctrl-C twice)
"""                            begins and ends a message of several lines; so does \\ at the end of a line
Ctrl-C stops an answer. A text that is pasted is one message.
`;

export interface View {
  verbose: boolean;
}

/** @returns false to leave */
export async function command(line: string, talk: Conversation, view: View): Promise<boolean> {
  const [, name = "", rest = ""] = /^\/(\S*)\s*(.*)$/s.exec(line) ?? [];
  switch (name) {
    case "bye":
    case "exit":
    case "quit":
      return false;
    case "help":
    case "?":
      printText(help);
      return true;
    case "clear":
      talk.turns.clear();
      printText("the conversation is forgotten\n");
      return true;
    case "ctx": {
      const { usedTokens, contextTokens, list, share } = talk.turns;
      const turns = list.length === 1 ? "1 turn" : `${list.length} turns`;
      printText(
        `${usedTokens} of ${contextTokens} tokens (${Math.round(100 * share)} %), ${turns}; --ctx sets the ` +
          `size at the start\n`,
      );
      return true;
    }
    case "system":
      await setSystem(talk, rest);
      return true;
    case "regen":
      if (!(await talk.again())) printText("there is no message to answer again\n");
      return true;
    case "save":
    case "load":
      await keep(talk, name, unquoted(rest.trim()));
      return true;
    case "set":
      await set(talk, view, rest);
      return true;
    case "show":
      show(talk, rest.trim());
      return true;
    default:
      printText(`unknown command /${printable(name)}; /help lists them\n`);
      return true;
  }
}

/** A path may be quoted. */
async function keep(talk: Conversation, name: "save" | "load", path: string): Promise<void> {
  if (path === "") return printText(`/${name} FILE\n`);
  try {
    if (name === "save") await talk.save(path);
    else await talk.load(path);
    const { list, usedTokens } = talk.turns;
    const turns = list.length === 1 ? "1 turn" : `${list.length} turns`;
    printText(`${turns} of ${usedTokens} tokens ${name === "save" ? "kept in" : "read from"} ${printable(path)}\n`);
  } catch (error) {
    const { code, message } = asHundredweightError(error);
    if (code === "ENGINE_CLOSED" || code === "INTERNAL") throw error;
    printText(`${printable(message)}\n`);
  }
}

async function setSystem(talk: Conversation, text: string): Promise<void> {
  if (talk.raw) printText("without a chat template there is no system message\n");
  else {
    await talk.setSystem(text.trim() === "" ? undefined : unquoted(text.trim()));
    printText(talk.system === undefined ? "no system message\n" : "the system message is set\n");
  }
}

async function set(talk: Conversation, view: View, rest: string): Promise<void> {
  const [, what = "", value = ""] = /^(\S*)\s*(.*)$/s.exec(rest) ?? [];
  switch (what) {
    case "system":
      return setSystem(talk, value);
    case "parameter": {
      const words = wordsOf(value);
      if (words.length === 0) return printText(`${parameterNames().join(" ")}\n`);
      try {
        talk.flags = setParameter(talk.flags, words);
        printText(`${printable(words.join(" "))}\n`);
      } catch (error) {
        printText(`${printable(asHundredweightError(error).message)}\n`);
      }
      return;
    }
    case "verbose":
    case "quiet":
      view.verbose = what === "verbose";
      return;
    default:
      printText("/set parameter NAME VALUE, /set system TEXT, /set verbose, /set quiet\n");
  }
}

function show(talk: Conversation, what: string): void {
  const { info } = talk.model;
  switch (what) {
    case "info":
      printText(
        `${printable(info.name ?? info.path)}\narchitecture ${printable(info.architecture)}, ${info.ops}\n` +
          `context ${info.contextTokens} of ${info.trainedContextTokens} tokens, KV ${info.kvType}\nfile ` +
          `${printable(info.path)}\n`,
      );
      return;
    case "parameters":
      printText(`${shownParameters(talk.flags)}\n`);
      return;
    case "system":
      printText(talk.system === undefined ? "no system message\n" : `${talk.system}\n`);
      return;
    case "template":
      printText(info.chatTemplate === undefined ? "no template\n" : `${printableLines(info.chatTemplate)}\n`);
      return;
    default:
      printText("/show info, /show parameters, /show system, /show template\n");
  }
}
