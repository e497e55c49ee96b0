/** Paths that have several names. */

/** A base URL without `/v1` is the commonest slip in setting up a client, and means the same. */
export function bothPaths(path: string): string[] {
  return [`/v1${path}`, path];
}

export const rerankPaths = ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking", "/v2/rerank"];
