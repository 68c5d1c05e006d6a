import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import {
  FILL_FROM_AFAR,
  FILL_FROM_DISK,
  FILL_RECORD,
  FillAhead,
} from '../../../../src/mount/tree/fill-ahead.ts'
import type { PageFiller } from '../../../../src/mount/tree/interface.ts'
import {
  FILL_FILE_BYTES_MAX,
  FILL_RECORDS_BYTES_MAX,
  FILL_WINDOW_BYTES_MIN,
} from '../../../../src/support/limits.ts'

/** Remembers the inodes that it was given, urgent ones apart. */
class RecordingFiller implements PageFiller {
  readonly pushed: number[] = []
  readonly urgent: number[] = []
  isFull = false
  hasRoom = () => {}

  onRoom(hasRoom: () => void): void {
    this.hasRoom = hasRoom
  }

  fill(records: Uint8Array, isUrgent: boolean): boolean {
    if (this.isFull && !isUrgent) return false
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
    for (let at = 0; at < records.length; at += FILL_RECORD.bytes) {
      const inode = Number(view.getBigUint64(at, true))
      this.pushed.push(inode)
      if (isUrgent) this.urgent.push(inode)
    }
    return true
  }
}

const file = (size: number) =>
  ({ kind: 'file', digest: Digest.of(Buffer.from('x')), size: BigInt(size), executable: false }) as const

const atOnce = (work: () => void) => work()

/** With what comes later done at once; `read` asks for a file and gets its answer. */
function filling(filler: RecordingFiller, policy = FILL_FROM_DISK, later = atOnce) {
  const ahead = new FillAhead(filler, policy, later)
  const read = (inode: number, directory: number) => {
    ahead.read(inode, directory)
    ahead.push()
  }
  return { ahead, read }
}

function listing(size = 1000, later = atOnce) {
  const filler = new RecordingFiller()
  const { ahead, read } = filling(filler, FILL_FROM_DISK, later)
  /** Lists a directory with two files, whose numbers are ten times its own and the one after. */
  const list = (...directories: number[]) => {
    for (const directory of directories) {
      ahead.add(directory * 10, file(size))
      ahead.add(directory * 10 + 1, file(size))
      ahead.endPage(directory, true)
      ahead.endPage(directory, false)
    }
  }
  return { filler, ahead, list, read }
}

describe('small files ahead of being read', () => {
  test('a walk that reads nothing pushes nothing', () => {
    const { filler, list } = listing()
    list(1, 2, 3)
    expect(filler.pushed).toEqual([])
  })

  test('one read in a directory is no evidence, the second one is, for it and what was listed after it', () => {
    const { filler, list, read } = listing()
    list(1, 2, 3)
    read(0, 2)
    expect(filler.pushed).toEqual([])
    read(0, 2)
    expect(filler.urgent).toEqual([20, 21])
    expect(filler.pushed).toEqual([20, 21, 30, 31])
  })

  test('nothing is pushed twice, unless it is listed again', () => {
    const { filler, list, read } = listing()
    list(1)
    for (let i = 0; i < 4; i++) read(0, 1)
    expect(filler.pushed).toEqual([10, 11])
    list(1)
    expect(filler.pushed).toEqual([10, 11, 10, 11])
  })

  test('the evidence of one directory is worth a window, and each further one twice as much', () => {
    const { filler, list, read } = listing(FILL_FILE_BYTES_MAX)
    const perWindow = FILL_WINDOW_BYTES_MIN / (2 * FILL_FILE_BYTES_MAX)
    list(...Array.from({ length: perWindow * 4 }, (_, n) => n + 1))
    read(0, 1)
    read(0, 1)
    expect(filler.pushed).toHaveLength(2 * perWindow)
    read(0, perWindow + 1)
    read(0, perWindow + 1)
    expect(filler.pushed).toHaveLength(2 * perWindow * 3)
  })

  test('a filler that has enough to do gets the rest with the next read of anything', () => {
    const { filler, list, read } = listing()
    list(1, 2)
    filler.isFull = true
    read(0, 1)
    read(0, 1)
    expect(filler.pushed).toEqual([10, 11])
    filler.isFull = false
    read(0, 99)
    expect(filler.pushed).toEqual([10, 11, 20, 21])
  })

  test('what the kernel has no inodes of yet waits until it has', () => {
    const { filler, ahead, list, read } = listing()
    list(1, 2)
    ahead.add(30, file(1000))
    ahead.endPage(3, true)
    read(0, 1)
    read(0, 1)
    expect(filler.pushed).toEqual([10, 11, 20, 21])
    ahead.add(31, file(1000))
    ahead.endPage(3, false)
    ahead.push()
    expect(filler.pushed).toEqual([10, 11, 20, 21, 30])
    ahead.endPage(3, false)
    ahead.push()
    expect(filler.pushed).toEqual([10, 11, 20, 21, 30, 31])
  })

  test('a filler that has room again gets the rest, though nobody reads', () => {
    const { filler, list, read } = listing()
    list(1, 2, 3)
    filler.isFull = true
    read(0, 1)
    read(0, 1)
    filler.isFull = false
    filler.hasRoom()
    expect(filler.pushed).toEqual([10, 11, 20, 21, 30, 31])
  })

  test('nothing is pushed before the reader has the answer', () => {
    const { filler, ahead, list } = listing()
    list(1, 2)
    ahead.read(0, 1)
    ahead.read(0, 1)
    expect(filler.pushed).toEqual([])
    ahead.push()
    expect(filler.pushed).toEqual([10, 11, 20, 21])
  })

  test('what was listed after it comes directory by directory, so that others are answered between', () => {
    const waiting: (() => void)[] = []
    const { filler, list, read } = listing(1000, (work) => void waiting.push(work))
    list(1, 2, 3)
    read(0, 1)
    read(0, 1)
    read(0, 99)
    expect(filler.pushed).toEqual([10, 11, 20, 21])
    expect(waiting).toHaveLength(1)
    waiting.shift()!()
    expect(filler.pushed).toEqual([10, 11, 20, 21, 30, 31])
  })

  test('what is listed anew before it was pushed is pushed once', () => {
    const { filler, ahead, list } = listing()
    list(1)
    ahead.read(0, 1)
    ahead.read(0, 1)
    list(1)
    ahead.push()
    expect(filler.pushed).toEqual([10, 11])
  })

  test('a directory that is listed while others are read in turn is pushed, each page when the next is asked for', () => {
    const { filler, ahead, list, read } = listing()
    list(1)
    read(0, 1)
    read(0, 1)
    filler.pushed.length = 0
    ahead.add(20, file(1000))
    ahead.endPage(2, true)
    expect(filler.pushed).toEqual([])
    ahead.add(21, file(1000))
    ahead.endPage(2, false)
    expect(filler.pushed).toEqual([20])
    ahead.endPage(2, false)
    expect(filler.pushed).toEqual([20, 21])
  })

  test('empty and larger files are left out', () => {
    const filler = new RecordingFiller()
    const { ahead, read } = filling(filler)
    for (const [inode, size] of [0, 1, FILL_FILE_BYTES_MAX, FILL_FILE_BYTES_MAX + 1].entries())
      ahead.add(inode + 10, file(size))
    ahead.endPage(1, true)
    read(0, 1)
    read(0, 1)
    expect(filler.pushed).toEqual([11, 12])
  })

  test('what is remembered is bounded: the oldest is forgotten', () => {
    const { filler, ahead, read } = listing()
    const files = 10_000
    const listMany = (directory: number) => {
      for (let n = 0; n < files; n++) ahead.add(directory * files + n, file(1000))
      ahead.endPage(directory, true)
    }
    const most = Math.floor(FILL_RECORDS_BYTES_MAX / (files * FILL_RECORD.bytes))
    for (let directory = 1; directory <= most + 1; directory++) listMany(directory)
    for (let i = 0; i < 2; i++) read(0, 1)
    expect(filler.pushed).toEqual([])
    for (let i = 0; i < 2; i++) read(0, 2)
    expect(filler.pushed[0]).toBe(2 * files)
  })
})

describe('what it keeps', () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void

  test('does not grow with what is listed behind a directory that was pushed once', () => {
    const { filler, list, read } = listing()
    list(1, 2)
    // A window's worth is listed and pushed; nobody reads on, and one directory waits while others come and go.
    for (let i = 0; i < 2; i++) read(0, 1)
    filler.isFull = true
    list(3)
    const walk = (times: number) => {
      for (let i = 0; i < times; i++) list(4, 5)
      collectGarbage()
      return process.memoryUsage().heapUsed
    }
    const before = walk(1_000)
    expect(walk(100_000) - before).toBeLessThan(2 * 2 ** 20)
  })
})

describe('small files from afar', () => {
  function listing(files: number) {
    const filler = new RecordingFiller()
    const { ahead, read } = filling(filler, FILL_FROM_AFAR)
    for (let n = 0; n < files; n++) ahead.add(100 + n, file(1000))
    ahead.endPage(1, true)
    return { filler, read: (...inodes: number[]) => inodes.map((inode) => read(inode, 1)) }
  }

  test('are pushed when four are read as they were listed', () => {
    const { filler, read } = listing(10)
    read(100, 101, 102)
    expect(filler.pushed).toEqual([])
    read(103)
    expect(filler.pushed).toHaveLength(10)
  })

  test('also from the middle on', () => {
    const { filler, read } = listing(10)
    read(105, 106, 107, 108)
    expect(filler.pushed).toHaveLength(10)
  })

  test('are not for who looks here and there', () => {
    const { filler, read } = listing(100)
    read(100, 150, 101, 120, 121, 180, 181, 182, 199, 100, 101, 102, 150, 151)
    expect(filler.pushed).toEqual([])
  })
})
