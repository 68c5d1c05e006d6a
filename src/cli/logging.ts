import { type Command, InvalidArgumentError, Option } from 'commander'
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from '../support/log.ts'

interface LoggingOptions {
  readonly logLevel: LogLevel
  readonly verbose: number
  readonly quiet: number
  readonly tracer?: readonly string[]
}

/** The options before the subcommand, as upstream (spec §4.1 and §4.5), where RUST_LOG comes before the flags. */
export function addLoggingOptions(program: Command): void {
  const count = (_: string, before: number) => before + 1
  program
    .addOption(
      new Option('--log-level <level>', 'error, warn, info or debug')
        .default('info' satisfies LogLevel)
        .argParser(parseLogLevel),
    )
    .addOption(new Option('-v, --verbose', 'log more').default(0, '').argParser(count))
    .addOption(new Option('-q, --quiet', 'log less; twice for errors only').default(0, '').argParser(count))
    // As --otlp: scripts pass it.
    .addOption(new Option('--tracer <kind>').env('TRACER').argParser(collect).hideHelp())
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
  const { logLevel, verbose, quiet } = command.optsWithGlobals<LoggingOptions>()
  const level = Math.max(0, LOG_LEVELS.indexOf(logLevel) + verbose - quiet)
  return createLogger(levelOfDirectives(process.env['RUST_LOG'] ?? '') ?? LOG_LEVELS[level] ?? 'debug')
}

/** What was asked for in the hope of traces, and is not here. */
export function warnOfTracers(command: Command): void {
  const { tracer: kinds = [] } = command.optsWithGlobals<LoggingOptions>()
  const missing = kinds.filter((kind) => kind !== 'otlp')
  if (missing.length > 0)
    loggerOf(command).warn(
      { tracer: missing.join(', ') },
      'there is no such tracer here; going on without traces',
    )
}

/** Of a flag that is repeated, or a list in the environment. */
function collect(kinds: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...kinds.split(',')]
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
