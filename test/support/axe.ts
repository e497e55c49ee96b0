/** Finds what axe-core holds to be wrong with a page: WCAG 2.2 A and AA, best practices. */
import axe from "axe-core";
import type { Page } from "playwright-core";

/** @param rules those alone; default all */
export async function violations(page: Page, rules?: readonly string[]): Promise<string[]> {
  await page.evaluate(axe.source);
  const options = { resultTypes: ["violations"], ...(rules !== undefined && { runOnly: rules }) };
  const { violations: found } = (await page.evaluate(`axe.run(document, ${JSON.stringify(options)})`)) as {
    violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[];
  };
  return found.flatMap(({ id, nodes }) => nodes.map((node) => `${id} ${node.target}: ${node.failureSummary}`));
}
