import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { brokenCases, nothingToClean } from '../conformance/suite.ts'
import { type ChildMount, MountNamespace, whyNoMounts } from '../support/mount.ts'
import { posixCases, posixSuite } from './all.ts'
import type { MountedSample } from './mounted.ts'

const reason = whyNoMounts()

describe.skipIf(reason)(`POSIX, over a tree in memory${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let namespace: MountNamespace
  let mount: ChildMount
  let sample: MountedSample

  const sampleOf = ({ target }: ChildMount): MountedSample => ({
    dir: target,
    run: (program, ...args) => namespace.run(program, ...args),
    python: (script, ...args) => namespace.python(script, ...args),
  })

  beforeAll(async () => {
    namespace = await MountNamespace.create()
    mount = await namespace.mount('sample', await namespace.directory('mnt'))
    sample = sampleOf(mount)
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

  it('(negative control) a tree with usual mistakes breaks what each family promises', async () => {
    const broken = await namespace.mount('broken', await namespace.directory('broken'))
    const make = nothingToClean(() => sampleOf(broken))
    // The kernel alone keeps a read-only mount from being changed.
    const { 'read-only': _, ...families } = posixCases
    const caught = Object.entries(families).map(async ([name, cases]) => {
      for (const one of cases) if ((await brokenCases([one], make, 10_000)).length > 0) return name
      return undefined
    })
    expect(await Promise.all(caught)).toEqual(Object.keys(families))
    await broken.stop()
  })
})
