import { spawn } from 'node:child_process'
import { closeSync, fstatSync, writeSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { nativeAddon } from '../mount/fuse/native-addon.ts'
import { endProcess } from '../support/end-process.ts'
import { StoreError } from '../support/errors.ts'
import type { Logger } from '../support/log.ts'

/** How a command that serves tells that it does, to whoever started it. */
export interface ReadinessOptions {
  readonly readyFd?: number
  readonly daemonize: boolean
}

/** Where the child of `--daemonize` tells its parent. */
const CHILD_READY_FD = 3

export function addReadinessOptions(command: Command): void {
  command
    .option('--ready-fd <fd>', 'write a line feed to this descriptor and close it, when it serves', parseFd)
    .option('--daemonize', 'go on in the background and return when it serves', false)
    .option('--foreground', 'stay (the default)')
}

/** Tells the service manager (sd_notify(3), `Type=notify`) and the descriptor of `--ready-fd`. */
export function announceReady({ readyFd }: ReadinessOptions, logger: Logger): void {
  notifyManager('READY=1', logger)
  if (readyFd === undefined) return
  try {
    writeSync(readyFd, '\n')
    closeSync(readyFd)
  } catch (error) {
    // It serves all the same; ending now would leave a mount behind that nobody answers.
    logger.warn({ err: error }, `nobody can be told on --ready-fd ${readyFd}`)
  }
}

/** `Type=notify-reload` waits for this, and for READY=1 behind it (systemd.service(5)). */
export function announceReloading(logger: Logger): void {
  notifyManager(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, logger)
}

export function announceReloaded(logger: Logger): void {
  notifyManager('READY=1', logger)
}

export function announceStopping(logger: Logger): void {
  notifyManager('STOPPING=1', logger)
}

function notifyManager(state: string, logger: Logger): void {
  const socket = process.env['NOTIFY_SOCKET']
  if (!socket) return
  try {
    const sent = nativeAddon().sendDatagram(socket, state)
    if (sent < 0) logger.warn({ socket, errno: -sent }, `cannot tell the service manager ${state}`)
  } catch (error) {
    logger.warn({ socket, err: error }, `cannot tell the service manager ${state}`)
  }
}

/**
 * Starts the same command again in a session of its own and ends this process when that one serves, or with its exit
 * code when it ends before. Messages of both go to the same standard error.
 */
export async function runInBackground(): Promise<never> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1).map(foreground)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  })
  const ready = child.stdio[CHILD_READY_FD]!
  const exitCode = await new Promise<number>((resolve) => {
    ready.once('data', () => resolve(0))
    child.once('exit', (code) => resolve(code ?? 1))
    child.once('error', () => resolve(1))
  })
  endProcess(exitCode)
}

function foreground(argument: string): string {
  return argument === '--daemonize' ? `--ready-fd=${CHILD_READY_FD}` : argument
}

function parseFd(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('it is the number of an open descriptor.')
  try {
    fstatSync(Number(text))
  } catch (error) {
    const { message } = error as Error
    throw new StoreError('invalid-argument', `--ready-fd ${text}: ${message}`, { cause: error })
  }
  return Number(text)
}
