import { type Command, InvalidArgumentError, Option } from 'commander'
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from '../support/log.ts'

/** The options before the subcommand, as upstream (spec §4.1). */
export function addLoggingOptions(program: Command): void {
  program
    .addOption(
      new Option('--log-level <level>', 'error, warn, info or debug')
        .default('info' satisfies LogLevel)
        .argParser(parseLogLevel),
    )
    // Scripts pass it; there is no exporter yet that it could switch.
    .addOption(new Option('--otlp [enabled]').hideHelp())
}

export function loggerOf(command: Command): Logger {
  return createLogger(command.optsWithGlobals<{ logLevel: LogLevel }>().logLevel)
}

function parseLogLevel(text: string): LogLevel {
  const wanted = text.toLowerCase() === 'trace' ? 'debug' : text.toLowerCase()
  const level = LOG_LEVELS.find((known) => known === wanted)
  if (!level) throw new InvalidArgumentError(`it is one of ${LOG_LEVELS.join(', ')}.`)
  return level
}
