/**
 * A process that mounts a tree made up for tests: `node mount-child.ts KIND TARGET OPTIONS`. It prints one line
 * when the mount answers, and one with what it counted on SIGUSR2; it unmounts on SIGTERM.
 */
import { readFileSync } from 'node:fs'
import { mountTree } from '../../src/mount/fuse/mount.ts'
import type { EntrySink, InodeNumber, Missing, Soon, TreeEntry } from '../../src/mount/tree/interface.ts'
import { createLogger } from '../../src/support/log.ts'
import { directory, file, type SampleDirectory, type SampleNode, sampleTree } from '../posix/sample.ts'
import { FakeTree } from './fake-tree.ts'

/** What is named so never answers. */
const STUCK = 'stuck'

/** Under a store whose source hangs: `stuck` is never found, and the contents of `stuck-file` never come. */
class StuckTree extends FakeTree {
  /** With SIGUSR1 `other` is said to be gone. */
  onRootChange(gone: (name: Uint8Array) => void): void {
    process.on('SIGUSR1', () => gone(Buffer.from('other')))
  }

  override lookup(parent: InodeNumber, name: Uint8Array): Soon<TreeEntry | Missing> {
    if (Buffer.from(name).toString() === STUCK) return new Promise(() => {})
    return super.lookup(parent, name)
  }

  override read(inode: InodeNumber, offset: number, size: number): Soon<readonly Uint8Array[]> {
    if (this.getattr(inode).size === BigInt(STUCK_BYTES)) return new Promise(() => {})
    return super.read(inode, offset, size)
  }
}

const STUCK_BYTES = 12_345

/** The last entry of the root shows up with SIGUSR1. */
class GrowingTree extends FakeTree {
  #hidden = 1

  constructor() {
    super(directory({ first: file('1'), second: file('2') }))
    process.on('SIGUSR1', () => {
      this.#hidden = 0
    })
  }

  override readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean): Soon<void> {
    const last = this.root.children.length - this.#hidden
    const shown: EntrySink = {
      add: (name, entry, next) => (inode !== ROOT || next <= last) && sink.add(name, entry, next),
    }
    return super.readdir(inode, cookie, shown, remember)
  }
}

const ROOT = 1

/** What a first attempt at a filesystem gets wrong. */
class BrokenTree extends FakeTree {
  /** Names as text. */
  override lookup(parent: InodeNumber, name: Uint8Array): Soon<TreeEntry | Missing> {
    return super.lookup(parent, Buffer.from(Buffer.from(name).toString('utf8'), 'latin1'))
  }

  /** The entry that does not fit is lost. */
  override readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean): Soon<void> {
    return super.readdir(inode, cookie === 0 ? 0 : cookie + 1, sink, remember)
  }

  /** At most a page at a time. */
  override read(inode: InodeNumber, offset: number, size: number): Soon<readonly Uint8Array[]> {
    return super.read(inode, offset, Math.min(size, 4096))
  }

  override getattr(inode: InodeNumber) {
    return { ...super.getattr(inode), size: 0n }
  }

  override getxattr(): Uint8Array {
    return Buffer.from('anything')
  }
}

function wideTree(directories: number, files: number): SampleDirectory {
  const entries = new Map<string, SampleNode>()
  for (let d = 0; d < directories; d++) {
    const inner = new Map<string, SampleNode>()
    for (let f = 0; f < files; f++) inner.set(`file-${f}`, file(`${d}/${f}\n`))
    entries.set(`dir-${d}`, { kind: 'directory', entries: inner })
  }
  return { kind: 'directory', entries }
}

function treeOf(kind: string): FakeTree {
  switch (kind) {
    case 'sample':
      return new FakeTree(sampleTree(readFileSync('/bin/true')))
    case 'broken':
      return new BrokenTree(sampleTree(readFileSync('/bin/true')))
    case 'stuck':
      return new StuckTree(
        directory({ 'stuck-file': file(new Uint8Array(STUCK_BYTES)), other: file('fine\n') }),
      )
    case 'growing':
      return new GrowingTree()
    case 'wide':
      return new FakeTree(wideTree(1000, 100))
    case 'large':
      return new FakeTree(directory({ large: file(new Uint8Array(512 * 1024 * 1024).fill(7)) }))
    default:
      throw new Error(`no tree is called ${kind}`)
  }
}

const [kind = '', target = '', options = '{}'] = process.argv.slice(2)
const logger = createLogger('error')
const tree = treeOf(kind)
try {
  const mount = await mountTree({
    tree,
    target,
    allowOther: true,
    uidGid: { uid: 0, gid: 0 },
    showXattr: true,
    logger,
    ...JSON.parse(options),
  })
  process.on('SIGTERM', () => mount.unmount())
  process.on('SIGUSR2', () =>
    console.log(JSON.stringify({ stats: mount.stats, references: tree.references })),
  )
  console.log(JSON.stringify({ ready: process.pid }))
  console.log(JSON.stringify({ end: await mount.closed }))
} catch (error) {
  const { code, message } = error as { code?: string; message: string }
  console.log(JSON.stringify({ failed: code, message }))
  process.exitCode = 1
}
