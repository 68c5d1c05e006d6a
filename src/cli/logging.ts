import { type Command, InvalidArgumentError, Option } from 'commander'
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from '../support/log.ts'

/** The options before the subcommand, as upstream (spec §4.1), where RUST_LOG comes before the flag. */
export function addLoggingOptions(program: Command): void {
  program.addOption(
    new Option('--log-level <level>', 'error, warn, info or debug')
      .default('info' satisfies LogLevel)
      .argParser(parseLogLevel),
  )
}

/**
 * Arguments without `--otlp` and `--otlp=…`, which scripts pass; there is no exporter yet that it could switch. Its value is
 * only ever attached, and commander would take the subcommand for it.
 */
export function withoutOtlp(args: readonly string[]): string[] {
  const operands = args.indexOf('--')
  return args.filter((arg, i) => (operands >= 0 && i > operands) || !/^--otlp(=.*)?$/s.test(arg))
}

export function loggerOf(command: Command): Logger {
  const { logLevel } = command.optsWithGlobals<{ logLevel: LogLevel }>()
  return createLogger(levelOfDirectives(process.env['RUST_LOG'] ?? '') ?? logLevel)
}

/**
 * The level that directives such as `info,tvix_store=debug,h2=off` have for all of us: our parts are other ones than those
 * that they may name, so a level for one program is that of all. `undefined` where they say nothing of us.
 */
export function levelOfDirectives(directives: string): LogLevel | undefined {
  const levels = directives.split(',').map((each) => {
    const [, target = '', level = ''] = /^\s*(?:([\w:-]+)=)?(\w+)\s*$/.exec(each) ?? []
    return /^$|^(?:tvix|snix|nar_bridge)/.test(target) ? knownLevel(level) : undefined
  })
  return levels.findLast((level) => level !== undefined)
}

function parseLogLevel(text: string): LogLevel {
  const level = knownLevel(text)
  if (!level) throw new InvalidArgumentError(`it is one of ${LOG_LEVELS.join(', ')}.`)
  return level
}

/** In any case, and with the words that other loggers have at both ends. */
function knownLevel(text: string): LogLevel | undefined {
  const word = text.toLowerCase()
  const wanted = word === 'trace' ? 'debug' : word === 'off' ? 'error' : word
  return LOG_LEVELS.find((known) => known === wanted)
}
