/** Parsers that take their input in pieces: the same comes of it however it was cut. */
import { concatBytes, equalBytes } from '../../src/support/bytes.ts'
import { StoreError } from '../../src/support/errors.ts'
import { check, refusal } from './target.ts'

interface PieceParser<E> {
  push(piece: Uint8Array): Iterable<E>
  finish(): void
}

type PieceEvent = { readonly type: string } | { readonly type: 'contents'; readonly bytes: Uint8Array }

export interface Parsed<E, P> {
  /** Contents that follow each other are one. */
  readonly events: readonly E[]
  /** Why it was refused after them. */
  readonly fault: string | undefined
  readonly parser: P
}

/** What a new parser makes of the input; checks that another makes the same of pieces, of `pieceBytesMax` bytes at most. */
export function parseInPieces<E extends PieceEvent, P extends PieceParser<E>>(
  input: Uint8Array,
  pieceBytesMax: number,
  create: () => P & PieceParser<E>,
): Parsed<E, P> {
  const pieceBytes = 1 + (((input[0] ?? 0) + input.length) % pieceBytesMax)
  const whole = parse<E, P>(input, Math.max(1, input.length), create())
  const split = parse<E, P>(input, pieceBytes, create())
  check(whole.fault === split.fault, `it is refused for the same reason in pieces of ${pieceBytes}`)
  check(whole.events.length === split.events.length, `it has the same events in pieces of ${pieceBytes}`)
  for (const [i, event] of whole.events.entries())
    check(isSame(event, split.events[i]), `events are equal in pieces of ${pieceBytes}`)
  return whole
}

function parse<E extends PieceEvent, P extends PieceParser<E>>(
  input: Uint8Array,
  pieceBytes: number,
  parser: P,
): Parsed<E, P> {
  const events: E[] = []
  const fault = faultOf(() => {
    for (let at = 0; at < input.length; at += pieceBytes)
      for (const event of parser.push(input.subarray(at, at + pieceBytes))) add(events, event)
    parser.finish()
  })
  return { events, fault, parser }
}

function add<E extends PieceEvent>(events: E[], event: E): void {
  const last = events.at(-1)
  if ('bytes' in event && last && 'bytes' in last)
    events[events.length - 1] = { ...event, bytes: concatBytes([last.bytes, event.bytes]) }
  else events.push(event)
}

/** A parser may also say that something is larger than it takes. */
function faultOf(parsing: () => void): string | undefined {
  try {
    const outcome = refusal(parsing)
    return 'words' in outcome ? outcome.words : undefined
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'exhausted') throw error
    return error.code
  }
}

function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b)
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b) return a === b
  const [some, others] = [Object.entries(a), Object.entries(b)]
  return some.length === others.length && some.every(([key, value]) => isSame(value, Reflect.get(b, key)))
}

/** In a few words, for what a target returns. */
export function shapeOf({ events, fault }: Parsed<PieceEvent, unknown>): string {
  const shape = events.map(({ type }) => type[0]).join('')
  return `${fault ?? 'accepted'} ${shape.slice(-4)} ${Math.ceil(Math.log2(shape.length + 1))}`
}
