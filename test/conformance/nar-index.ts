import { expect } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { symlinkTarget } from '../../src/model/castore/symlink-target.ts'
import type { NarIndex, PendingNarInfo, UploadedNar } from '../../src/services/nar-index/interface.ts'
import { utf8 } from '../../src/support/bytes.ts'
import { collect } from '../support/collect.ts'
import { type Case, type Make, runCases } from './suite.ts'

const hash = (label: string) => Digest.of(utf8(label)).bytes
const outputHash = (label: string) => hash(label).subarray(0, 20)

function uploaded(label: string, changes: Partial<UploadedNar> = {}): UploadedNar {
  const node = { kind: 'directory', digest: Digest.of(utf8(label)), size: 2n ** 63n } as const
  return {
    node,
    narSha256: hash(`${label} NAR`),
    narSize: 96n,
    fileSize: 80n,
    compression: 'zstd',
    ...changes,
  }
}

function waiting(label: string, awaited: string, document = label): PendingNarInfo {
  return {
    outputHash: outputHash(label),
    awaited: hash(awaited),
    document: utf8(document),
    storedAt: 1_700_000_000_123,
  }
}

const names = (pending: readonly PendingNarInfo[]) =>
  pending.map(({ document }) => Buffer.from(document).toString()).sort()

/** For subjects that take two narinfos of at most 100 bytes together. */
export const NAR_INDEX_CASES: readonly Case<NarIndex>[] = [
  {
    title: 'what was put is there, every field of it, and nothing else',
    async run(index) {
      const nars = [
        uploaded('a'),
        uploaded('b', { compression: 'none', narSize: 2n ** 60n, fileSize: 0n }),
        uploaded('c', { node: { kind: 'file', digest: Digest.of(utf8('c')), size: 0n, executable: true } }),
        uploaded('d', { node: { kind: 'symlink', target: symlinkTarget(utf8('/x')) } }),
      ]
      for (const nar of nars) await index.put(nar.narSha256, nar)
      for (const nar of nars) {
        const found = (await index.get(nar.narSha256))!
        expect({ ...found, narSha256: undefined, node: undefined }).toEqual({
          ...nar,
          narSha256: undefined,
          node: undefined,
        })
        expect(Buffer.from(found.narSha256).equals(nar.narSha256)).toBe(true)
        expect(found.node.kind).toBe(nar.node.kind)
        if (found.node.kind !== 'symlink' && nar.node.kind !== 'symlink') {
          expect(found.node.digest.hex).toBe(nar.node.digest.hex)
          expect(found.node.size).toBe(nar.node.size)
        }
      }
      expect(await index.get(hash('other'))).toBeUndefined()
    },
  },
  {
    title: 'a later one of the same file replaces the earlier',
    async run(index) {
      await index.put(hash('file'), uploaded('a'))
      await index.put(hash('file'), uploaded('a', { fileSize: 81n }))
      expect((await index.get(hash('file')))!.fileSize).toBe(81n)
    },
  },
  {
    title: 'several wait for one file, and are found by it alone',
    async run(index) {
      await index.addPending(waiting('a', 'file'))
      await index.addPending(waiting('b', 'file'))
      expect(names(await index.pendingOf(hash('file')))).toEqual(['a', 'b'])
      expect(await index.pendingOf(hash('other'))).toEqual([])
      expect(names(await collect(index.listPending()))).toEqual(['a', 'b'])
      const [first] = await index.pendingOf(hash('file'))
      expect(first!.storedAt).toBe(1_700_000_000_123)
      expect(first!.outputHash.length).toBe(20)
      expect(Buffer.from(first!.awaited).equals(hash('file'))).toBe(true)
    },
  },
  {
    title: 'a later narinfo of the same path and file replaces the earlier',
    async run(index) {
      await index.addPending(waiting('a', 'file', 'first'))
      await index.addPending(waiting('a', 'file', 'second'))
      expect(names(await index.pendingOf(hash('file')))).toEqual(['second'])
    },
  },
  {
    title: 'what was removed waits no more; removing it again does nothing',
    async run(index) {
      const pending = waiting('a', 'file')
      await index.addPending(pending)
      await index.addPending(waiting('b', 'file'))
      await index.removePending(pending)
      await index.removePending(pending)
      expect(names(await index.pendingOf(hash('file')))).toEqual(['b'])
    },
  },
  {
    title: 'no more wait than may, by number; what gave up its place makes room',
    async run(index) {
      await index.addPending(waiting('a', 'x'))
      await index.addPending(waiting('b', 'y'))
      await expect(index.addPending(waiting('c', 'z'))).rejects.toMatchObject({ code: 'exhausted' })
      expect(names(await collect(index.listPending()))).toEqual(['a', 'b'])
      await index.removePending(waiting('a', 'x'))
      await index.addPending(waiting('c', 'z'))
      expect(names(await collect(index.listPending()))).toEqual(['b', 'c'])
    },
  },
  {
    title: 'no more wait than may, by bytes; one that is too large takes nothing away',
    async run(index) {
      await index.addPending(waiting('a', 'x', 'a'.repeat(100)))
      await expect(index.addPending(waiting('b', 'y', 'b'))).rejects.toMatchObject({ code: 'exhausted' })
      await expect(index.addPending(waiting('a', 'x', 'a'.repeat(101)))).rejects.toMatchObject({
        code: 'exhausted',
      })
      expect(names(await collect(index.listPending()))).toEqual(['a'.repeat(100)])
      await index.addPending(waiting('a', 'x', 'small'))
      await index.addPending(waiting('b', 'y', 'b'))
    },
  },
]

export const SUITE_LIMITS = { count: 2, bytes: 100 }

export function narIndexSuite(name: string, make: Make<NarIndex>): void {
  runCases(name, NAR_INDEX_CASES, make)
}
