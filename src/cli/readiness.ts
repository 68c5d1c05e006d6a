import { spawn } from 'node:child_process'
import { closeSync, fstatSync, readlinkSync, writeSync } from 'node:fs'
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
  try {
    tellReady(readyFd)
  } catch (error) {
    // It serves all the same; ending now would leave a mount behind that nobody answers.
    logger.warn({ err: error }, `nobody can be told on --ready-fd ${readyFd}`)
  }
}

function tellReady(fd: number | undefined): void {
  if (fd === undefined) return
  writeSync(fd, '\n')
  closeSync(fd)
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
 * code when it ends before. Messages of both go to the same standard error. Whoever waits at `readyFd` is told by this process:
 * the other has none of its descriptors.
 */
export async function runInBackground({ readyFd }: ReadinessOptions): Promise<never> {
  const child = spawn(process.execPath, [...process.execArgv, ...foreground(process.argv.slice(1))], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  })
  const ready = child.stdio[CHILD_READY_FD]!
  const failure = await new Promise<{ code: number; reason?: string } | undefined>((resolve) => {
    ready.once('data', () => resolve(undefined))
    child.once('exit', (code, signal) => {
      if (code === null) resolve({ code: 70, reason: `it was ended by ${signal} before it served` })
      else resolve({ code })
    })
    child.once('error', ({ message }) => resolve({ code: 71, reason: `it cannot be started: ${message}` }))
  })
  if (failure?.reason) process.stderr.write(`tvix-store: --daemonize: ${failure.reason}\n`)
  if (!failure) tellReady(readyFd)
  endProcess(failure?.code ?? 0)
}

/** The arguments of the process that goes on in the background: it tells this one when it serves, and nobody else. */
function foreground(args: readonly string[]): string[] {
  return args
    .filter((arg, i) => !arg.startsWith('--ready-fd=') && ![arg, args[i - 1]].includes('--ready-fd'))
    .map((arg) => (arg === '--daemonize' ? `--ready-fd=${CHILD_READY_FD}` : arg))
}

function parseFd(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('it is the number of an open descriptor.')
  try {
    fstatSync(Number(text))
    if (isOfNode(text)) throw new Error('it was not passed on: this number is a descriptor of our own')
  } catch (error) {
    const { message } = error as Error
    throw new StoreError('invalid-argument', `--ready-fd ${text}: ${message}`, { cause: error })
  }
  return Number(text)
}

/** What Node polls with. To write to it and close it would be the end of everything that waits. */
function isOfNode(fd: string): boolean {
  return readlinkSync(`/proc/self/fd/${fd}`).startsWith('anon_inode:')
}
