import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Errno, Opcode } from '../../../../src/mount/fuse/protocol.ts'
import type { EntrySink } from '../../../../src/mount/tree/interface.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { MOUNT_INTERRUPT_GRACE_MS } from '../../../../src/support/limits.ts'
import { directory, file, type SampleNode } from '../../../posix/sample.ts'
import { frame, listed, nameBody, readBody, u64s } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import { SAMPLE, serve } from './harness.ts'

const ROOT = 1

function treeOf(names: readonly string[]): FakeTree {
  const entries: Record<string, SampleNode> = {}
  for (const name of names) entries[name] = file(name)
  return new FakeTree(directory(entries))
}

describe('READDIR and READDIRPLUS', () => {
  it('list names, kinds and where to go on', () => {
    const { device, tree } = serve()
    const plain = listed(device.ask(Opcode.READDIR, ROOT, readBody(0, 4096)).body, false)
    expect(plain.map(({ name, type, cookie }) => [name, type, cookie])).toEqual([
      ['folder', 4, 1],
      ['hello', 8, 2],
      ['link', 10, 3],
      ['run', 8, 4],
    ])
    expect(tree.references).toBe(0)
  })

  it('PLUS gives each entry the attributes of a LOOKUP, and a reference', () => {
    const { device, tree } = serve()
    const { body } = device.ask(Opcode.READDIRPLUS, ROOT, readBody(0, 4096))
    expect(listed(body, true)).toHaveLength(4)
    expect(tree.references).toBe(4)
    const found = device.ask(Opcode.LOOKUP, ROOT, nameBody('folder')).body
    expect(body.subarray(0, 128)).toEqual(found)
  })

  it.each([true, false])('any buffer size lists everything once (plus: %s)', (plus) => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '\xff', ' '), minLength: 1, maxLength: 255 })
    fc.assert(
      fc.property(
        fc.uniqueArray(name, { maxLength: 40 }),
        fc.integer({ min: 408, max: 5000 }),
        (names, size) => {
          const { device, tree } = serve(treeOf(names))
          const seen: string[] = []
          for (let cookie = 0; ; ) {
            const { error, body } = device.ask(
              plus ? Opcode.READDIRPLUS : Opcode.READDIR,
              ROOT,
              readBody(cookie, size),
            )
            expect(error).toBe(0)
            expect(body.length).toBeLessThanOrEqual(size)
            const entries = listed(body, plus)
            if (entries.length === 0) break
            for (const entry of entries) seen.push(entry.name)
            cookie = entries.at(-1)!.cookie
          }
          expect(seen).toEqual(
            [...names].sort((a, b) => Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'))),
          )
          // One for each entry that was delivered, none for those that did not fit.
          expect(tree.references).toBe(plus ? names.length : 0)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('a buffer that is too small for one entry is an error, not the end', () => {
    const { device, tree } = serve()
    expect(device.ask(Opcode.READDIRPLUS, ROOT, readBody(0, 152)).error).toBe(-Errno.EINVAL)
    expect(device.ask(Opcode.READDIRPLUS, ROOT, readBody(0, 0)).error).toBe(-Errno.EINVAL)
    expect(device.ask(Opcode.READDIRPLUS, ROOT, readBody(4, 152))).toMatchObject({ error: 0 })
    expect(tree.references).toBe(0)
  })

  it('gives all references back when the kernel no longer wants the listing', () => {
    const { device, tree } = serve()
    const unique = device.nextUnique()
    device.refused.add(unique)
    device.queue(frame(Opcode.READDIRPLUS, ROOT, unique, readBody(0, 4096)))
    device.wake()
    expect(tree.references).toBe(0)
  })

  it('no reply keeps bytes of an earlier one', () => {
    const { device } = serve(treeOf(['long-name-that-leaves-traces', 's']))
    const first = device.ask(Opcode.READDIR, ROOT, readBody(0, 4096)).body
    const second = device.ask(Opcode.READDIR, ROOT, readBody(1, 4096)).body
    expect([...second.subarray(25)]).toEqual(new Array(7).fill(0))
    expect(first.subarray(-32)).toEqual(second)
  })
})

/** Listing fetches in between; the test decides when it goes on. */
class SlowTree extends FakeTree {
  readonly steps: PromiseWithResolvers<void>[] = []

  constructor() {
    super(SAMPLE)
  }

  override async readdir(inode: number, cookie: number, sink: EntrySink, remember: boolean): Promise<void> {
    const half: EntrySink = { add: (name, entry, next) => next <= 2 && sink.add(name, entry, next) }
    super.readdir(inode, cookie, half, remember)
    const step = Promise.withResolvers<void>()
    this.steps.push(step)
    await step.promise
    super.readdir(inode, 2, sink, remember)
  }
}

describe('a listing that waits', () => {
  const turn = async () => {
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }

  it('has its buffer to itself', async () => {
    const { device, tree } = serve(new SlowTree())
    const first = device.request(Opcode.READDIRPLUS, ROOT, readBody(0, 4096))
    const second = device.request(Opcode.READDIR, ROOT, readBody(0, 4096))
    for (const step of tree.steps) step.resolve()
    await turn()
    const names = ['folder', 'hello', 'link', 'run']
    expect(listed(device.replyTo(first)!.body, true).map(({ name }) => name)).toEqual(names)
    expect(listed(device.replyTo(second)!.body, false).map(({ name }) => name)).toEqual(names)
    expect(tree.references).toBe(4)
  })

  it('gives back what it took when it fails', async () => {
    const { device, tree } = serve(new SlowTree())
    const unique = device.request(Opcode.READDIRPLUS, ROOT, readBody(0, 4096))
    expect(tree.references).toBe(2)
    tree.steps[0]!.reject(new StoreError('unavailable', 'gone'))
    await turn()
    expect(device.replyTo(unique)?.error).toBe(-Errno.EIO)
    expect(tree.references).toBe(0)
  })

  it('gives back what it took when it was interrupted', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { device, tree } = serve(new SlowTree())
    const unique = device.request(Opcode.READDIRPLUS, ROOT, readBody(0, 4096))
    device.request(Opcode.INTERRUPT, 0, u64s(unique))
    vi.advanceTimersByTime(MOUNT_INTERRUPT_GRACE_MS)
    expect(device.replyTo(unique)?.error).toBe(-Errno.EINTR)
    tree.steps[0]!.resolve()
    await turn()
    expect(tree.references).toBe(0)
  })
})
