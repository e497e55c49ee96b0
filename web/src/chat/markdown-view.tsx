/** Text as markdown; as plain text until the code for it has come. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { memo } from "../memo.js";

type Renderer = typeof import("./markdown.js");

let loaded: Renderer | undefined;
let loading: Promise<Renderer> | undefined;

export function loadMarkdown(): Promise<Renderer> {
  loading ??= import("./markdown.js").then((module) => {
    loaded = module;
    return module;
  });
  return loading;
}

export const MarkdownView = memo(function MarkdownView({ text }: { readonly text: string }): JSX.Element {
  const [, render] = useState(0);
  const isPlain = loaded === undefined;
  // It may come between this rendering and the effect: what was rendered counts.
  useEffect(() => {
    if (isPlain) void loadMarkdown().then(() => render(1));
  }, []);
  if (loaded === undefined) return <div class="prose plain">{text}</div>;
  return (
    <div class="prose">
      {loaded.blocksOf(text).map(({ key, html }) => (
        // Sanitized, see markdown.ts.
        <div key={key} class="block" dangerouslySetInnerHTML={{ __html: html as string }} />
      ))}
    </div>
  );
});
