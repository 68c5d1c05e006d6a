/**
 * How a long-running command ends. The first SIGINT, SIGTERM or SIGHUP asks it to stop; it then has its own
 * deadline for finishing. A second signal ends the process at once: whoever presses Ctrl-C twice means it.
 */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export interface StopRequest {
  /** Aborts on the first signal. */
  readonly signal: AbortSignal
  /** Resolves with the name of the first signal. */
  readonly requested: Promise<NodeJS.Signals>
}

export function onStopSignal(): StopRequest {
  const controller = new AbortController()
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
    resolve(name)
  }
  for (const name of STOP_SIGNALS) process.on(name, stop)
  return { signal: controller.signal, requested: promise }
}
