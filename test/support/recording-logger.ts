import { jsonOf, type Logger, type LogLevel, loggerTo } from '../../src/support/log.ts'

export interface LogLine {
  readonly level: LogLevel
  readonly msg: string
  readonly [field: string]: unknown
}

/** A logger that keeps what it is told, warnings and worse. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const logger = loggerTo('warn', ({ level, fields, message }) => {
    lines.push({ level, ...JSON.parse(jsonOf(fields)), msg: message })
  })
  return { logger, lines }
}
