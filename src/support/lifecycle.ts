import { endProcess } from './end-process.ts'
import { isNoTerminal } from './terminal.ts'

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

export function onStopSignal(signals: readonly NodeJS.Signals[] = STOP_SIGNALS): StopRequest {
  const controller = new AbortController()
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) endProcess(130)
    controller.abort()
    resolve(name)
  }
  for (const name of signals) process.on(name, stop)
  return { signal: controller.signal, requested: promise }
}

/**
 * For commands that can look at their settings again: SIGHUP asks for it, as it does of daemons, unless there is a terminal, where
 * it tells that the terminal is gone. `reload` must not reject. A signal that comes meanwhile is heeded after that.
 */
export function onStopOrReload(reload: () => Promise<void>): StopRequest {
  if (!isNoTerminal(0) && process.stdin.isTTY) return onStopSignal()
  let running = Promise.resolve()
  process.on('SIGHUP', () => {
    running = running.then(reload)
  })
  return onStopSignal(STOP_SIGNALS.filter((name) => name !== 'SIGHUP'))
}
