import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Errno, Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { FakeDevice, frame } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import { SAMPLE, serve } from './harness.ts'

const opcodes = Object.values(Opcode)

/** After anything at all the session still answers. */
function expectAlive(device: FakeDevice): void {
  expect(device.closed).toBe(false)
  expect(device.ask(Opcode.STATFS, 1).error).toBe(0)
}

describe('a broken or malicious peer', () => {
  it('may send any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const { device } = serve()
        device.queue(bytes)
        device.wake()
        // An empty read means that nothing is waiting.
        expectAlive(device)
      }),
      { numRuns: 500 },
    )
  })

  it('may put any body under any opcode and inode', () => {
    const inode = fc.oneof(fc.integer({ min: 0, max: 8 }), fc.maxSafeNat())
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom(...opcodes), fc.nat(0xffff_ffff)),
        inode,
        fc.uint8Array({ maxLength: 200 }),
        (opcode, nodeid, body) => {
          const { device } = serve()
          const unique = device.request(opcode, nodeid, body)
          const silent: number[] = [Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT]
          expect(device.replyTo(unique) === undefined).toBe(silent.includes(opcode))
          const error = device.replyTo(unique)?.error ?? 0
          expect(error).toBeLessThanOrEqual(0)
          expect(error).toBeGreaterThan(-512)
          expectAlive(device)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('may lie about lengths', () => {
    const { device, log } = serve()
    for (const [length, bytes] of [
      [41, 40],
      [39, 40],
      [40, 39],
      [0, 40],
    ] as const) {
      const request = Buffer.alloc(bytes)
      frame(Opcode.STATFS, 1, 2n, Buffer.alloc(0)).copy(request)
      request.writeUInt32LE(length, 0)
      device.queue(request)
      device.wake()
    }
    expect(log.lines).toEqual(new Array(4).fill('malformed FUSE request'))
    expectAlive(device)
  })

  it('may name an inode that is no exact number', () => {
    const { device } = serve()
    const request = frame(Opcode.GETATTR, 1, 6n, Buffer.alloc(16))
    request.writeBigUInt64LE(2n ** 64n - 1n, 16)
    device.queue(request)
    device.wake()
    expect(device.replyTo(6n)?.error).toBe(-Errno.ESTALE)
  })

  it('that stops working ends the mount', async () => {
    class BrokenDevice extends FakeDevice {
      override receive(): number {
        throw new Error('reading /dev/fuse failed: EINVAL')
      }
    }
    const { session, log } = serve(undefined, {}, new BrokenDevice())
    await session.closed
    expect(log.lines).toEqual(['the FUSE device failed; the mount ends'])
  })

  it('that refuses a reply ends nothing', () => {
    class PickyDevice extends FakeDevice {
      picky = false
      override send(...args: Parameters<FakeDevice['send']>): boolean {
        if (this.picky) throw new Error('writing /dev/fuse failed: EINVAL')
        return super.send(...args)
      }
    }
    const picky = new PickyDevice()
    const { device, log, tree } = serve(new FakeTree(SAMPLE), {}, picky)
    picky.picky = true
    device.request(Opcode.LOOKUP, 1, Buffer.from('hello\0'))
    expect(log.lines).toEqual(['the kernel refused a reply'])
    expect(tree.references).toBe(0)
    picky.picky = false
    expectAlive(device)
  })
})
