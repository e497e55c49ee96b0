/** The environment of the processes that this program starts. */

/**
 * Certificates named by NODE_EXTRA_CA_CERTS are read and parsed before a process's first line, 40 to 70 ms for those of
 * a system. Ours speak to nobody but the process that started them.
 */
export function childEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: _, ...rest } = env;
  return rest;
}
