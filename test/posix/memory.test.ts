import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChildMount, MountNamespace, whyNoMounts } from '../support/mount.ts'
import { posixSuite } from './all.ts'
import type { MountedSample } from './mounted.ts'

const reason = whyNoMounts()

describe.skipIf(reason)(`POSIX, over a tree in memory${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let namespace: MountNamespace
  let mount: ChildMount
  let sample: MountedSample

  beforeAll(async () => {
    namespace = await MountNamespace.create()
    mount = await namespace.mount('sample', await namespace.directory('mnt'))
    sample = {
      dir: mount.target,
      run: (program, ...args) => namespace.run(program, ...args),
      python: (script, ...args) => namespace.python(script, ...args),
    }
  })
  afterAll(async () => {
    await mount?.stop()
    await namespace?.[Symbol.asyncDispose]()
  })

  posixSuite(() => sample)

  it('asked for little and kept nothing: references return when the kernel forgets', async () => {
    await namespace.run('sh', '-c', `ls -R ${mount.target}; echo 2 > /proc/sys/vm/drop_caches`)
    const { references, stats } = await mount.counts()
    expect(references).toBeLessThan(100)
    // Once each for the life of the mount.
    expect(stats.requests).toMatchObject({ OPEN: 1, OPENDIR: 1, FLUSH: 1 })
    expect(stats.requests).not.toHaveProperty('RELEASE')
  })
})
