import type { Command } from 'commander'

/** Adds a command; `args` are those of the whole command line. */
type AddCommand = (parent: Command, args: readonly string[]) => void | Promise<void>

/** By name. Each is loaded when it is named: a command should not wait for what the others are made of. */
export type CommandLoaders = Readonly<Record<string, () => Promise<AddCommand>>>

/** Those that are needed for these arguments: the one that is named first, or all where none is. */
export function loadersOf(commands: CommandLoaders, args: readonly string[]): (() => Promise<AddCommand>)[] {
  const named = args.find((arg) => Object.hasOwn(commands, arg))
  return named === undefined ? Object.values(commands) : [commands[named]!]
}
