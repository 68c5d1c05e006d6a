import { describe, expect, test } from 'vitest'
import { OpenFiles } from '../../../../src/mount/fuse/open-files.ts'
import type { RawFile } from '../../../../src/mount/tree/interface.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { silentLogger } from '../../../../src/support/log.ts'
import { directory, file } from '../../../posix/sample.ts'
import { FakeDevice } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'

/** Hands out descriptors, and remembers what was closed. */
class LocalTree extends FakeTree {
  isLocal = true
  failure: StoreError | undefined
  asked = 0
  closed = 0

  constructor() {
    super(directory({ a: file('contents') }))
  }

  async localFile(): Promise<RawFile | undefined> {
    this.asked++
    if (this.failure) throw this.failure
    if (!this.isLocal) return undefined
    const close = async () => void this.closed++
    return { fd: 7, [Symbol.asyncDispose]: close }
  }
}

class BackingDevice extends FakeDevice {
  readonly backing: number[] = []
  #next = 1

  openBacking(): number {
    this.backing.push(this.#next)
    return this.#next++
  }

  closeBacking(id: number): void {
    this.backing.splice(this.backing.indexOf(id), 1)
  }
}

function setUp(device: FakeDevice = new BackingDevice()) {
  const tree = new LocalTree()
  return { device, tree, files: new OpenFiles(device, tree, silentLogger) }
}

const INODE = 2

describe('open files with passthrough', () => {
  test('share one backing file, which lives until the last of them is closed', async () => {
    const device = new BackingDevice()
    const { tree, files } = setUp(device)
    const opened = await Promise.all([files.open(INODE, {}), files.open(INODE, {}), files.open(INODE, {})])
    expect(opened.map(({ backingId }) => backingId)).toEqual([1, 1, 1])
    expect([tree.asked, tree.closed]).toEqual([1, 1])
    await files.release(INODE)
    await files.release(INODE)
    expect(device.backing).toEqual([1])
    await files.release(INODE)
    expect(device.backing).toEqual([])
    expect(files.count).toBe(0)
    expect((await files.open(INODE, {})).backingId).toBe(2)
  })

  test('that were opened to be read here stay so until the last is closed, whatever becomes of the blob', async () => {
    const { tree, files } = setUp()
    tree.isLocal = false
    expect((await files.open(INODE, {})).backingId).toBe(0)
    tree.isLocal = true
    expect((await files.open(INODE, {})).backingId).toBe(0)
    await files.release(INODE)
    expect((await files.open(INODE, {})).backingId).toBe(0)
    await files.release(INODE)
    await files.release(INODE)
    expect((await files.open(INODE, {})).backingId).toBe(1)
  })

  test('are read here when the blob cannot be opened, or the kernel does not want it', async () => {
    const { tree, files } = setUp()
    tree.failure = new StoreError('corrupt', 'it is not what it should be')
    expect((await files.open(INODE, {})).backingId).toBe(0)
    const without = setUp(new FakeDevice())
    expect((await without.files.open(INODE, {})).backingId).toBe(0)
    expect(without.tree.closed).toBe(1)
  })
})
