/**
 * What a hostile virtual machine monitor sends over its vhost-user socket, and what its guest then finds in the rings. An
 * input is a program, a step after the other; a guest of its own runs it, beside an innocent one that must not notice. The
 * addon checks addresses in C: `scripts/sanitize -- node test/fuzz/main.ts vhost-user` has sanitizers watch it.
 */
import { closeSync, readdirSync } from 'node:fs'
import { Opcode, OUT_HEADER } from '../../../src/mount/fuse/protocol.ts'
import { FEATURES, PROTOCOL_FEATURES, VhostRequest } from '../../../src/mount/virtiofs/protocol.ts'
import { GUEST_QUEUES_MAX } from '../../../src/support/limits.ts'
import { silentLogger } from '../../../src/support/log.ts'
import { directory, file } from '../../posix/sample.ts'
import { frame } from '../../support/fake-device.ts'
import { FakeTree } from '../../support/fake-tree.ts'
import {
  DescFlag,
  FakeGuest,
  frontEndAddon,
  GUEST_BASE,
  MEMORY_BYTES,
  memTable,
  USER_BASE,
  u16,
  u32s,
  u64,
} from '../../support/guest/fake-guest.ts'
import { check, type Target } from '../target.ts'

/** Programs between two looks at the innocent guest, which cost some milliseconds each. */
const LOOK_EVERY = 64
const QUEUES = 2
const TURNS = 4
const ERRNO_MAX = 134
const TREE = new FakeTree(directory({ hello: file('hello, world\n'), empty: directory({}) }))

/** Where arithmetic may go wrong: beside the guest's memory, and beside what 16, 32 and 64 bits hold. */
const NUMBERS: readonly bigint[] = [
  0n,
  1n,
  15n,
  16n,
  4096n,
  0xffffn,
  0x10000n,
  2n ** 32n - 1n,
  2n ** 63n,
  2n ** 64n - 4096n,
  2n ** 64n - 1n,
].concat(
  [GUEST_BASE, USER_BASE].flatMap((base) => [base, base + 4096n, base + BigInt(MEMORY_BYTES) - 4096n]),
  [BigInt(MEMORY_BYTES), BigInt(MEMORY_BYTES) + 1n, FEATURES, PROTOCOL_FEATURES],
)

/** Reads a program; at its end every number is zero. */
class Program {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0
  }

  short(): number {
    return this.byte() | (this.byte() << 8)
  }

  /** One of the special numbers, moved by a little. */
  number(): bigint {
    const special = NUMBERS[this.byte() % NUMBERS.length]!
    const moved = this.byte()
    return BigInt.asUintN(64, special + BigInt(moved < 128 ? moved : moved - 256))
  }

  bytes(length: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return taken
  }
}

interface Life {
  readonly guest: FakeGuest
  readonly program: Program
  /** Descriptors that were sent and are to be closed. */
  readonly events: number[]
  /** Where replies will lie in the guest's memory. */
  readonly replies: number[]
}

/** A step that belongs to an ordinary life, or one that lies. Each takes its arguments from the program. */
type Step = (life: Life) => unknown

const STEPS: readonly Step[] = [
  ({ guest }) => {
    guest.send(VhostRequest.SET_OWNER)
    guest.send(VhostRequest.SET_FEATURES, u64(guest.features))
    guest.send(VhostRequest.SET_PROTOCOL_FEATURES, u64(PROTOCOL_FEATURES))
  },
  ({ guest }) => guest.shareMemory(),
  ({ guest, program }) => guest.startQueue(program.byte() % QUEUES),
  ({ guest, program, replies }) => {
    const queue = program.byte() % QUEUES
    if (guest.kicks[queue] === undefined) return
    const { reply } = guest.post(
      program.byte() % 56,
      program.byte() % 5,
      program.bytes(program.byte() % 64),
      program.short(),
      {
        queue,
        indirect: program.byte() % 2 === 1,
      },
    )
    replies.push(reply)
  },
  ({ guest, program }) => {
    const count = program.byte() % 10
    const regions = Array.from(
      { length: count },
      () => [program.number(), program.number(), program.number(), program.number()] as const,
    )
    guest.send(VhostRequest.SET_MEM_TABLE, memTable(regions), new Array(count).fill(guest.memory))
  },
  ({ guest, program }) => {
    const offsets = [program.number(), program.number(), program.number()].map(u64)
    guest.send(
      VhostRequest.SET_VRING_ADDR,
      Buffer.concat([u32s(program.byte() % QUEUES, program.byte() % 2), ...offsets, u64(0n)]),
    )
  },
  ({ guest, program }) => {
    const requests = [
      VhostRequest.SET_VRING_NUM,
      VhostRequest.SET_VRING_BASE,
      VhostRequest.SET_VRING_ENABLE,
      VhostRequest.GET_VRING_BASE,
    ]
    const queue = [0, 1, GUEST_QUEUES_MAX, 0xffffffff][program.byte() % 4]!
    guest.send(requests[program.byte() % 4]!, u32s(queue, Number(program.number() & 0xffffffffn)))
  },
  (life) => {
    const { guest, program } = life
    const requests = [VhostRequest.SET_VRING_KICK, VhostRequest.SET_VRING_CALL, VhostRequest.SET_VRING_ERR]
    guest.send(requests[program.byte() % 3]!, u64(program.number()), someFiles(life))
  },
  (life) => {
    const { guest, program } = life
    const header = u32s(program.byte() % 20, program.byte() % 16, program.byte())
    guest.sendBytes(Buffer.concat([header, program.bytes(program.byte())]), someFiles(life))
  },
  ({ guest, program }) => guest.sendBytes(program.bytes(program.byte() % 32)),
  ({ guest, program }) => guest.write(program.short() * 16, program.bytes(program.byte())),
  ({ guest, program }) => guest.write(program.short() * 16, u64(program.number())),
  ({ guest, program }) => {
    const queue = program.byte() % QUEUES
    if (guest.kicks[queue] === undefined) return
    guest.write(queue * 0x10000 + 0x5002, u16(program.short()))
    guest.kick(queue)
  },
  ({ guest }) => guest.truncate(),
  () => turns(),
  // A request whose header lies too.
  ({ guest, program, replies }) => {
    const queue = program.byte() % QUEUES
    if (guest.kicks[queue] === undefined) return
    const request = program.bytes(program.byte())
    const at = guest.allocate(request.length)
    guest.write(at, request)
    const length = request.length
    guest.setDescriptor(queue, 0, { address: inside(at), length, flags: DescFlag.next, next: 1 })
    const reply = guest.allocate(256)
    const room = { address: inside(reply), length: program.byte(), flags: DescFlag.write }
    guest.setDescriptor(queue, 1, room)
    guest.offer(queue, 0)
    replies.push(reply)
  },
]

function inside(offset: number): bigint {
  return GUEST_BASE + BigInt(offset)
}

function someFiles({ guest, program, events }: Life): number[] {
  return Array.from({ length: program.byte() % 10 }, () => {
    if (program.byte() % 2 === 0) return guest.memory
    events.push(frontEndAddon.event(false))
    return events.at(-1)!
  })
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate)
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}

let innocent: Promise<FakeGuest> | undefined
let programs = 0

async function run(input: Uint8Array): Promise<string> {
  innocent ??= FakeGuest.mounted(TREE)
  const bystander = await innocent
  const filesBefore = openFiles()
  const faults: unknown[] = []
  const logger = { ...silentLogger, error: (fields: unknown) => faults.push(fields) }
  const outcome = await live(input, { logger: logger as typeof silentLogger })
  check(faults.length === 0, `what a guest sends is never an error of ours: ${JSON.stringify(faults)}`)
  check(openFiles() === filesBefore, `no descriptor is kept: ${filesBefore} before, ${openFiles()} after`)
  if (++programs % LOOK_EVERY === 0) {
    const { error } = await bystander.request(Opcode.STATFS, 1, undefined, 96)
    check(error === 0, 'another guest notices nothing')
  }
  return outcome
}

/** A guest from its connection to its end; in a few words, how far it came and why it was given up. */
async function live(input: Uint8Array, session: { readonly logger: typeof silentLogger }): Promise<string> {
  const guest = new FakeGuest(TREE, { queues: QUEUES, session })
  const program = new Program(input)
  const life: Life = { guest, program, events: [], replies: [] }
  let answer = ''
  try {
    while (!program.atEnd) await STEPS[program.byte() % STEPS.length]!(life)
    await turns()
    answer = answerOf(life)
  } finally {
    for (const event of life.events) closeSync(event)
    await guest[Symbol.asyncDispose]()
  }
  const fault = await guest.frontEnd.ended
  return `${fault ? fault.message.replace(/[0-9]+/g, '#') : 'left'} ${answer}`
}

/** How the first request was answered. */
function answerOf({ guest, replies: [reply] }: Life): string {
  const isUsed = guest.usedIndex(1) > 0
  if (reply === undefined || !isUsed) return isUsed ? 'used' : ''
  const error = -guest.read(reply, OUT_HEADER.bytes).readInt32LE(OUT_HEADER.error)
  // The program may have written there as well.
  return error >= 0 && error < ERRNO_MAX ? `answered ${error}` : 'used'
}

/** Each is an ordinary life up to some point, from which mutations lead astray. */
const BEGUN = [0, 1, 14]
const RUNNING = [...BEGUN, 2, 0, 2, 1, 14]
/** Header of FUSE_INIT's body as a kernel of version 7.31 sends it: major, minor, read-ahead, flags. */
const INIT = [3, 26, 1, 16, 7, 0, 0, 0, 31, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 80, 0, 1, 0]
const LOOKUP = [3, 1, 1, 6, ...Buffer.from('hello\0'), 144, 0, 1, 1]

/** The same as it lies in memory, whole. */
const RAW = (opcode: number, body: Uint8Array) => {
  const request = frame(opcode, 1, 2n, body)
  return [15, 1, request.length, ...request, 200, 14]
}

export const vhostUser: Target = {
  run,
  words: [Uint8Array.from(RUNNING), Uint8Array.from(INIT), Uint8Array.from(LOOKUP), Uint8Array.of(14)],
  seeds: () =>
    [
      [],
      BEGUN,
      RUNNING,
      [...RUNNING, ...INIT, 14, ...LOOKUP, 14],
      [...RUNNING, ...INIT, 14, 13, 12, 0, 1, 0],
      ...[Opcode.LOOKUP, Opcode.STATFS, Opcode.READDIRPLUS].map((opcode) => [
        ...RUNNING,
        ...INIT,
        14,
        ...RAW(opcode, Buffer.from('hello\0'.padEnd(40))),
      ]),
    ].map((steps) => Uint8Array.from(steps)),
}
