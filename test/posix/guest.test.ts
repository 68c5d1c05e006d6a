/** The same promises, kept to the programs of a virtual machine: served by us, and by virtiofsd over a mount. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DeviceProcess } from '../support/guest/device-process.ts'
import { Guest, VIRTIOFSD_C, whyNoGuests } from '../support/guest/machine.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { posixCases } from './all.ts'
import type { MountedSample } from './mounted.ts'

const HANDLES = {
  'file handles cannot be taken: they would mean other files after the next mount':
    'this kernel (before Linux 6.9) cannot be told so',
}
/** By way and title of the case; one that is none any more fails. */
const DEVIATIONS: Readonly<Record<'ours' | 'virtiofsd', Readonly<Record<string, string>>>> = {
  ours: HANDLES,
  virtiofsd: HANDLES,
}
/** A case may start many programs, under emulation, while others do the same. */
const CASE_MS = 120_000

const noMounts = whyNoMounts()
const noGuests = whyNoGuests()
const reasons = {
  ours: noMounts ?? noGuests,
  virtiofsd: noMounts ?? noGuests ?? (VIRTIOFSD_C ? undefined : 'no virtiofsd of qemu-system-common'),
}

describe.each(['ours', 'virtiofsd'] as const)('in a guest, %s', (way) => {
  const reason = reasons[way]
  describe.skipIf(reason)(reason ? `skipped: ${reason}` : 'the sample tree', () => {
    let folder: string
    let namespace: MountNamespace
    let device: DeviceProcess
    let guest: Guest
    let sample: MountedSample

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tvix-store-guest-'))
      namespace = await MountNamespace.create()
      const socket = join(folder, 'fs.socket')
      if (way === 'ours') device = await DeviceProcess.sample([socket])
      else {
        const target = await namespace.directory('mnt')
        await namespace.mount('sample', target)
        device = await DeviceProcess.virtiofsd(namespace, target, socket)
      }
      guest = await Guest.boot({ folder, shares: { sample: socket } })
      await guest.mount('sample', '/mnt', 'ro,nosuid,nodev')
      sample = {
        dir: '/mnt',
        run: (program, ...args) => guest.run(program, ...args),
        python: (script, ...args) => guest.python(script, ...args),
      }
    }, 180_000)

    afterAll(async () => {
      await guest?.[Symbol.asyncDispose]()
      await device?.[Symbol.asyncDispose]()
      await namespace?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    for (const [name, cases] of Object.entries(posixCases))
      describe(name, () => {
        for (const { title, run } of cases) {
          const deviation = DEVIATIONS[way][title]
          if (deviation === undefined) it(title, () => run(sample), CASE_MS)
          else
            it(
              `${title}: not so, ${deviation}`,
              async () => {
                await expect(run(sample)).rejects.toThrow()
              },
              CASE_MS,
            )
        }
      })
  })
})
