/**
 * The programs of the Rust implementation that this one stands for when it is called by their names (spec §4.3-4.5): npm puts
 * them all on the PATH, and scripts go on to call them.
 */
import { basename } from 'node:path'
import { StoreError } from '../support/errors.ts'

export interface Calling {
  /** What the person called, for messages and help. */
  readonly name: string
  /** What stands for it among the commands of ours; nothing for all of them. */
  readonly command: string | undefined
  /** Whose places on the disk are the defaults. */
  readonly family: 'tvix' | 'snix'
  readonly args: readonly string[]
}

type Program = Pick<Calling, 'command' | 'family'>

const PROGRAMS: ReadonlyMap<string, Program> = new Map<string, Program>([
  ['tvix-store', { command: undefined, family: 'tvix' }],
  ['nar-bridge', { command: 'nar-bridge', family: 'tvix' }],
  ['snix-store', { command: undefined, family: 'snix' }],
  ['snix-castore', { command: 'castore', family: 'snix' }],
  ['snix-castore-http', { command: 'castore http', family: 'snix' }],
  ['snix-nar-bridge', { command: 'nar-bridge', family: 'snix' }],
])

/** `snix store …` is `snix-store …`. */
const DISPATCHER = 'snix'
const OURS = 'tvix-store'

/** What a process was called as, from its `process.argv`. Under any other name (a checkout, a copy) it is tvix-store. */
export function callingOf(argv: readonly string[]): Calling {
  const name = basename(argv[1] ?? '')
  const args = argv.slice(2)
  if (name === DISPATCHER) return dispatched(args)
  const program = PROGRAMS.get(name)
  return program ? { name, ...program, args } : { name: OURS, ...PROGRAMS.get(OURS)!, args }
}

/** Options in front of the command (`snix -v store`) are those of the program. */
function dispatched(args: readonly string[]): Calling {
  const at = args.findIndex((arg) => !arg.startsWith('-'))
  const name = `${DISPATCHER}-${args[at] ?? ''}`
  const program = PROGRAMS.get(name)
  if (program) return { name, ...program, args: [...args.slice(0, at), ...args.slice(at + 1)] }
  if (at < 0 && args.includes('--version')) return { name: DISPATCHER, ...PROGRAMS.get('snix-store')!, args }
  const known = [...PROGRAMS.keys()].flatMap((each) => (each.startsWith('snix-') ? [each.slice(5)] : []))
  if (at < 0) throw new StoreError('invalid-argument', `usage: snix ${known.join('|')} [arguments]`)
  throw new StoreError(
    'unimplemented',
    `${name} is no part of ${OURS}, which has ${known.map((each) => `${DISPATCHER}-${each}`).join(', ')}`,
  )
}

/** Text for people in which our own name and command stand, with the name that was called. */
export function inCalledName({ name, command }: Pick<Calling, 'name' | 'command'>, text: string): string {
  const ours = command === undefined ? OURS : `${OURS} ${command}`
  // Not what it is called in a path, or in front of another command.
  return text.replaceAll(new RegExp(`(?<![\\w/.-])${ours}(?= |$)`, 'gm'), name)
}
