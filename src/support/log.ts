import { writeSync } from 'node:fs'
import { printable, utf8 } from './bytes.ts'
import { systemCode } from './errors.ts'
import { isNoTerminal } from './terminal.ts'

/** `log.warn({ digest, source }, 'blob is corrupt')`: fields first, then one sentence. */
type Write = (fields: object, message: string) => void

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export type Logger = Readonly<Record<LogLevel, Write>>

/** An event that is worth being told: what `level` or anything worse says. */
export interface LogEvent {
  readonly level: LogLevel
  readonly fields: object
  readonly message: string
}

/** Tells `tell` of whatever is as important as `level`. */
export function loggerTo(level: LogLevel, tell: (event: LogEvent) => void): Logger {
  const writer = (own: LogLevel): Write =>
    LOG_LEVELS.indexOf(own) > LOG_LEVELS.indexOf(level)
      ? () => {}
      : (fields, message) => tell({ level: own, fields, message })
  return { error: writer('error'), warn: writer('warn'), info: writer('info'), debug: writer('debug') }
}

/** One line an event on standard error, which stays free of anything else; standard output is for results. */
export function createLogger(level: LogLevel): Logger {
  return loggerTo(level, (event) => writeLine(`${lineOf(event, new Date(), colours())}\n`))
}

/**
 * As `process.stderr.write`, which waits for who reads as well: but making that stream takes longer than a mount has until somebody
 * looks at it.
 */
function writeLine(line: string): void {
  const bytes = utf8(line)
  let at = 0
  try {
    while (at < bytes.length) at += writeSync(2, bytes, at)
  } catch (error) {
    // Somebody else made it non-blocking. Nobody could be told of anything else.
    if (systemCode(error) === 'EAGAIN') process.stderr.write(bytes.subarray(at))
  }
}

/** For tests and for library use: says nothing. */
export const silentLogger: Logger = loggerTo('error', () => {})

/** Not on a dumb terminal, nor where NO_COLOR says so. */
function colours(): boolean {
  return !isNoTerminal(2) && process.stderr.isTTY && process.stderr.hasColors()
}

const COLOUR: Readonly<Record<LogLevel, number>> = { error: 31, warn: 33, info: 32, debug: 34 }

/** `[2026-11-21 21:14:56.329] INFO: mounted {"target":"/nix/store"}`, in the time of this place. */
export function lineOf({ level, fields, message }: LogEvent, now: Date, isColoured: boolean): string {
  const name = level.toUpperCase()
  const label = isColoured ? `\u001b[${COLOUR[level]}m${name}\u001b[39m` : name
  const shown = Object.keys(fields).length === 0 ? '' : ` ${jsonOf(fields)}`
  return `[${localTime(now)}] ${label}: ${printable(utf8(message))}${shown}`
}

function localTime(now: Date): string {
  const two = (value: number) => String(value).padStart(2, '0')
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`
  const time = `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`
  return `${day} ${time}.${String(now.getMilliseconds()).padStart(3, '0')}`
}

/** Whatever it is: who tells of a failure must not fail. */
export function jsonOf(fields: object): string {
  try {
    return JSON.stringify(fields, inJson)
  } catch (error) {
    return JSON.stringify({ unprintable: (error as Error).message })
  }
}

/** What JSON has no word for. */
function inJson(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  const { name, message, stack, cause } = value
  return {
    type: name,
    message,
    ...('code' in value && { code: value.code }),
    stack,
    ...(cause !== undefined && { cause }),
  }
}
