import assert from "node:assert/strict";
import { test } from "node:test";
import { Command } from "commander";
import { commands, registerCommands } from "./index.js";

test("the list of commands says what the commands say of themselves", async () => {
  for (const { usage, summary, load } of commands) {
    const program = new Command();
    (await load()).register(program);
    const [command] = program.commands;
    assert.ok(command !== undefined && program.commands.length === 1, usage);
    assert.equal(`${command.name()} ${command.usage()}`, usage);
    assert.equal(command.description(), summary);
  }
});

test("only what is named has options; the others are there by name", async () => {
  const program = new Command();
  await registerCommands(program, ["run", "model.gguf", "a prompt"]);
  assert.deepEqual(
    program.commands.map((c) => c.name()),
    commands.map((c) => c.usage.split(" ", 1)[0]),
  );
  for (const command of program.commands) assert.equal(command.options.length > 0, command.name() === "run");
});
