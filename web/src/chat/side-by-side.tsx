/** The answers to one message beside each other, each with what it was made by. */
import type { JSX } from "preact";
import { splitThinking } from "../../../src/chat/thinking-text.js";
import type { Message } from "../../../src/server/ui/wire.js";
import { figures } from "../format.js";
import { answerRate } from "./answer-rate.js";
import { MarkdownView } from "./markdown-view.js";
import { showBranch } from "./open.js";

export interface SideBySideProps {
  readonly answers: readonly Message[];
  /** The one that is shown. */
  readonly current: string;
  readonly onClose: () => void;
}

export function SideBySide({ answers, current, onClose }: SideBySideProps): JSX.Element {
  const take = async (id: string) => {
    if (id !== current) await showBranch(id);
    onClose();
  };
  return (
    <div class="side-by-side">
      {answers.map((answer, i) => (
        <section key={answer.id} class="column" data-current={answer.id === current} aria-label={`Answer ${i + 1}`}>
          <p class="faint">{madeBy(answer)}</p>
          <MarkdownView text={splitThinking(answer.content).answer} />
          <button type="button" class="button small" onClick={() => void take(answer.id)}>
            {answer.id === current ? "Keep this one" : "Take this one"}
          </button>
        </section>
      ))}
    </div>
  );
}

function madeBy({ model, sampling = {}, stats }: Message): string {
  const { seed, maxTokens: _, ...chosen } = sampling;
  const parts = [model];
  for (const [name, value] of Object.entries(chosen)) parts.push(`${words(name)} ${value}`);
  if (seed !== undefined) parts.push(`seed ${seed}`);
  const rate = stats && answerRate(stats);
  if (rate !== undefined) parts.push(`${figures(rate)} tokens/s`);
  return parts.filter((part) => part !== undefined).join(" · ");
}

/** topP -> top p */
const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
