import { pino } from 'pino'
import pretty from 'pino-pretty'

/** `log.warn({ digest, source }, 'blob is corrupt')`: fields first, then one sentence. */
export type Logger = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'>

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** One line an event on standard error, which stays free of anything else; standard output is for results. */
export function createLogger(level: LogLevel): Logger {
  const stream = pretty({
    destination: 2,
    sync: true,
    // Not on a dumb terminal, nor where NO_COLOR says so.
    colorize: process.stderr.isTTY && process.stderr.hasColors(),
    ignore: 'pid,hostname',
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    singleLine: true,
  })
  return pino({ level }, stream)
}

/** For tests and for library use: says nothing. */
export const silentLogger: Logger = pino({ level: 'silent' })
