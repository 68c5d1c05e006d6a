const OFF: ReadonlySet<string> = new Set(['', '0', 'n', 'no', 'f', 'false', 'off'])

/** A flag that a variable of the environment switches on: by any value but those that mean no, as upstream reads them. */
export function isSwitchedOn(name: string): boolean {
  return !OFF.has((process.env[name] ?? '').toLowerCase())
}
