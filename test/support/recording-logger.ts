import { pino } from 'pino'
import type { Logger } from '../../src/support/log.ts'

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

/** A logger that keeps what it is told, warnings and worse. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const logger = pino({ level: 'warn', base: null }, { write: (line) => void lines.push(JSON.parse(line)) })
  return { logger, lines }
}
