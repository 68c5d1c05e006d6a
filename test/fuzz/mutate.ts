/** Small changes to inputs, by a generator that a seed starts: the same seed makes the same inputs. */

/** xorshift128: a run can be repeated from its seed. */
export class Random {
  #state: Uint32Array

  constructor(seed: number) {
    this.#state = Uint32Array.of(seed | 1, 0x9e3779b9 ^ seed, 0x243f6a88, 0xb7e15162)
    for (let i = 0; i < 16; i++) this.next()
  }

  /** 32 bits. */
  next(): number {
    const s = this.#state
    let t = s[3]!
    t ^= t << 11
    t ^= t >>> 8
    s[3] = s[2]!
    s[2] = s[1]!
    s[1] = s[0]!
    s[0] = t ^ s[0]! ^ (s[0]! >>> 19)
    return s[0]!
  }

  /** From 0 up to and without `end`. */
  below(end: number): number {
    return end <= 0 ? 0 : this.next() % end
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }
}

/** Lengths at which something may change, as the u64 that formats write. */
const NUMBERS: readonly bigint[] = [
  0n,
  1n,
  7n,
  8n,
  9n,
  255n,
  256n,
  4095n,
  4096n,
  2n ** 31n,
  2n ** 32n,
].concat([2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])

type Mutation = (input: Buffer, random: Random, context: MutationContext) => Buffer

export interface MutationContext {
  readonly words: readonly Uint8Array[]
  readonly corpus: readonly Uint8Array[]
  readonly maxBytes: number
}

const MUTATIONS: readonly Mutation[] = [
  (input, random) => changed(input, random, (byte) => byte ^ (1 << random.below(8))),
  (input, random) => changed(input, random, () => random.below(256)),
  (input, random) => changed(input, random, (byte) => byte + random.pick([-1, 1])),
  (input, random) => withoutRange(input, random),
  (input, random) => inserted(input, random, part(input, random)),
  (input, random, { words }) => inserted(input, random, random.pick(words)),
  (input, random, { words }) => overwritten(input, random, random.pick(words)),
  (input, random) => overwritten(input, random, u64(random.pick(NUMBERS)), 8),
  (input, random, { corpus }) => spliced(input, Buffer.from(random.pick(corpus)), random),
  (input, random, { corpus }) => inserted(input, random, part(Buffer.from(random.pick(corpus)), random)),
  (input, random) => Buffer.from(input.subarray(0, random.below(input.length + 1))),
]

/** `input` after one to eight mutations. */
export function mutate(input: Uint8Array, random: Random, context: MutationContext): Uint8Array {
  let mutated: Buffer = Buffer.from(input)
  for (let count = 1 << random.below(4); count > 0; count--)
    mutated = random.pick(MUTATIONS)(mutated, random, context).subarray(0, context.maxBytes)
  return mutated
}

function changed(input: Buffer, random: Random, change: (byte: number) => number): Buffer {
  if (input.length === 0) return input
  const at = random.below(input.length)
  input[at] = change(input[at]!)
  return input
}

function part(input: Buffer, random: Random): Buffer {
  const start = random.below(input.length)
  return input.subarray(start, start + 1 + random.below(Math.min(64, input.length - start)))
}

function withoutRange(input: Buffer, random: Random): Buffer {
  const start = random.below(input.length)
  return Buffer.concat([input.subarray(0, start), input.subarray(start + 1 + random.below(64))])
}

function inserted(input: Buffer, random: Random, bytes: Uint8Array): Buffer {
  const at = random.below(input.length + 1)
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at)])
}

/** `alignment`: formats put numbers at multiples of it. */
function overwritten(input: Buffer, random: Random, bytes: Uint8Array, alignment = 1): Buffer {
  const at = Math.floor(random.below(input.length + 1) / alignment) * alignment
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at + bytes.length)])
}

function spliced(input: Buffer, other: Buffer, random: Random): Buffer {
  return Buffer.concat([
    input.subarray(0, random.below(input.length + 1)),
    other.subarray(random.below(other.length)),
  ])
}

function u64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}
