/** Negative control: the checker of replies catches a device that does what new kernels refuse. */
import { afterEach, expect, test } from 'vitest'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { type VhostAddon, vhostAddon } from '../../../../src/mount/virtiofs/vhost-addon.ts'
import { directory, file } from '../../../posix/sample.ts'
import { nameBody } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import { FakeGuest } from '../../../support/guest/fake-guest.ts'

type Give = VhostAddon['give']
const addon = vhostAddon() as { give: Give }
const honest = addon.give

afterEach(() => {
  addon.give = honest
})

/** Gives what `change` makes of a reply. */
function broken(change: (reply: Buffer) => Buffer): Give {
  return (device, index, number, head, headLength, pieces) => {
    const reply = change(Buffer.concat([head.subarray(0, headLength), ...pieces]))
    return honest(device, index, number, reply, reply.length, [])
  }
}

function edited(reply: Buffer, edit: (reply: Buffer) => void): Buffer {
  edit(reply)
  return reply
}

test.each([
  ['a used length of 0 (as implementations did for years)', () => Buffer.alloc(0), /used length/],
  ['more than the header says', (reply) => Buffer.concat([reply, Buffer.alloc(8)]), /is not the used length/],
  ['less than the header says', (reply) => reply.subarray(0, -8), /is not the used length/],
  ['the unique of another request', (reply) => edited(reply, (r) => r.writeUInt32LE(4711, 8)), /unique/],
  ['an error that is positive', (reply) => edited(reply, (r) => r.writeInt32LE(2, 4)), /out of range/],
  ['an error below -511', (reply) => edited(reply, (r) => r.writeInt32LE(-512, 4)), /out of range/],
  ['an error with a body', (reply) => edited(reply, (r) => r.writeInt32LE(-2, 4)), /has a body/],
  [
    'a structure that is too short',
    (reply) => edited(reply.subarray(0, 136), (r) => r.writeUInt32LE(136, 0)),
    /fixed size/,
  ],
] as [string, (reply: Buffer) => Buffer, RegExp][])('%s', async (_, change, reason) => {
  await using guest = await FakeGuest.mounted(new FakeTree(directory({ hello: file('hello') })))
  addon.give = broken(change)
  await expect(guest.request(Opcode.LOOKUP, 1, nameBody('hello'), 144)).rejects.toThrow(reason)
})

test('and nothing else', async () => {
  await using guest = await FakeGuest.mounted(new FakeTree(directory({ hello: file('hello') })))
  addon.give = broken((reply) => reply)
  expect((await guest.request(Opcode.LOOKUP, 1, nameBody('hello'), 144)).error).toBe(0)
})
