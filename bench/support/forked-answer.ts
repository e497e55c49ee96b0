/** Asks a program in a process of its own, by messages. */
import { fork } from "node:child_process";

/** @returns what it sends back  @throws Error when it ends before */
export function forkedAnswer<Q extends object, A>(program: string, question: Q): Promise<A> {
  return new Promise((resolve, reject) => {
    const child = fork(program, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    child.once("message", (answer) => resolve(answer as A));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${program} ended with ${code}`)));
    child.send(question);
  });
}
