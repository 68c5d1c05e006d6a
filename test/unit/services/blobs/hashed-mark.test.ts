/** The note on a file that it was hashed: when it spares reading the file, and when it must not. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { encodeFileState } from '../../../../src/services/blobs/file-state.ts'
import {
  HASHED_ATTRIBUTE,
  HASHED_MARK_BYTES,
  HashedMark,
} from '../../../../src/services/blobs/hashed-mark.ts'
import { nativeFileNotes } from '../../../../src/services/blobs/native-file-notes.ts'
import { type FileVerdict, FileVerification } from '../../../../src/services/blobs/verified-file.ts'
import { brokenCases, type Case, type Make, runCases } from '../../../conformance/suite.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const BYTES = pseudoRandom(1_500_000, 7)
const DIGEST = Digest.of(BYTES)
const OTHER = Digest.of(pseudoRandom(1_500_000, 8))

interface Marking {
  readonly path: string
  /** The note as it is made and judged on the boot with this id. */
  mark(boot: string): HashedMark
  readonly isOpenedAtOnce?: boolean
}

/** What a process that begins now finds; the same without waiting, where the file is opened so. */
async function verdict(
  { mark, isOpenedAtOnce }: Marking,
  path: string,
  digest = DIGEST,
  boot = 'first',
): Promise<FileVerdict> {
  await using file = await open(path, 'r')
  const found = await new FileVerification(mark(boot)).verify(file, digest, undefined)
  if (!isOpenedAtOnce) return found
  await using known = openedAtOnce(new FileVerification(mark(boot)), path, digest)
  if (found === 'known') {
    expect(readFileSync(known!.fd).equals(readFileSync(path))).toBe(true)
    expect(known!.state).toEqual(encodeFileState(await file.stat({ bigint: true })))
  }
  // Who had to read it made a note of it.
  expect(known !== undefined).toBe(found !== 'wrong')
  return found
}

/** Linux says "not without waiting" whenever somebody renames something at that moment, as other tests do. */
function openedAtOnce(verification: FileVerification, path: string, digest: Digest) {
  for (let tries = 0; tries < 100; tries++) {
    const known = verification.openKnown(path, digest)
    if (known) return known
  }
  return undefined
}

async function markedFile(marking: Marking): Promise<string> {
  const path = join(marking.path, 'blob')
  writeFileSync(path, BYTES)
  expect(await verdict(marking, path)).toBe('read')
  return path
}

async function flipByte(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(Buffer.of(BYTES[9]! ^ 1), 0, 1, 9)
}

const CASES: readonly Case<Marking>[] = [
  {
    title: 'a file that was hashed is not read again, by no process of the same boot',
    async run(marking) {
      const path = await markedFile(marking)
      for (let i = 0; i < 3; i++) expect(await verdict(marking, path)).toBe('known')
    },
  },
  {
    title: 'one that was hashed while it was written is not read at all',
    async run(marking) {
      const path = join(marking.path, 'written')
      await using file = await open(path, 'w')
      await file.write(BYTES)
      await marking.mark('first').setWritten(file.fd, DIGEST)
      expect(await verdict(marking, path)).toBe('known')
    },
  },
  {
    title: 'its name, its links and the time when it was last used do not matter',
    async run(marking) {
      const path = await markedFile(marking)
      const moved = `${path}-moved`
      renameSync(path, moved)
      expect(await nativeFileNotes()!.touchAccess(moved)).toBe(0)
      expect(await verdict(marking, moved)).toBe('known')
    },
  },
  {
    title: 'one byte is another one',
    async run(marking) {
      const path = await markedFile(marking)
      await flipByte(path)
      expect(await verdict(marking, path)).toBe('wrong')
    },
  },
  {
    title: 'it is shorter, or longer',
    async run(marking) {
      const path = await markedFile(marking)
      truncateSync(path, BYTES.length - 1)
      expect(await verdict(marking, path)).toBe('wrong')
      writeFileSync(path, BYTES)
      expect(await verdict(marking, path)).toBe('read')
      appendFileSync(path, 'x')
      expect(await verdict(marking, path)).toBe('wrong')
    },
  },
  {
    title: 'it has another size, and the time of modification that it had',
    async run(marking) {
      const path = await markedFile(marking)
      utimesSync(path, 1000, 1000)
      expect(await verdict(marking, path)).toBe('read')
      truncateSync(path, BYTES.length - 1)
      utimesSync(path, 1000, 1000)
      expect(await verdict(marking, path)).toBe('wrong')
    },
  },
  {
    title: 'it is a copy that took all attributes along and then became another',
    async run(marking) {
      const path = await markedFile(marking)
      const copy = `${path}-copy`
      execFileSync('cp', ['--preserve=all', path, copy])
      expect(await verdict(marking, copy)).toBe('read')
      execFileSync('cp', ['--preserve=all', path, copy])
      const before = execFileSync('stat', ['-c', '%y', copy], { encoding: 'utf8' })
      await flipByte(copy)
      execFileSync('touch', ['-m', '-d', before.trim(), copy])
      expect(await verdict(marking, copy)).toBe('wrong')
    },
  },
  {
    title: 'it is asked for as another blob',
    async run(marking) {
      const path = await markedFile(marking)
      expect(await verdict(marking, path, OTHER)).toBe('wrong')
    },
  },
  {
    title: 'the machine was started anew: it is read once more',
    async run(marking) {
      const path = await markedFile(marking)
      expect(await verdict(marking, path, DIGEST, 'second')).toBe('read')
      expect(await verdict(marking, path, DIGEST, 'second')).toBe('known')
      expect(await verdict(marking, path, DIGEST, 'first')).toBe('read')
    },
  },
  {
    title: 'a file that is wrong gets no note',
    async run(marking) {
      const path = join(marking.path, 'wrong')
      writeFileSync(path, pseudoRandom(1_500_000, 8))
      for (let i = 0; i < 2; i++) expect(await verdict(marking, path)).toBe('wrong')
    },
  },
]

function marking(mark: (boot: string) => HashedMark, isOpenedAtOnce = false): Make<Marking> {
  return async () => {
    const dir = await tempDir()
    return {
      subject: { path: dir.path, mark, isOpenedAtOnce },
      [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
    }
  }
}

/** Notes which blob it is and nothing of the file. */
class NaiveMark extends HashedMark {
  override async fits(fd: number, _state: unknown, digest: Digest): Promise<boolean> {
    const found = Buffer.alloc(HASHED_MARK_BYTES)
    await nativeFileNotes()!.getAttribute(fd, HASHED_ATTRIBUTE, found)
    return found.equals(digest.bytes)
  }

  override async set(fd: number, _state: unknown, digest: Digest): Promise<void> {
    await nativeFileNotes()!.setAttribute(fd, HASHED_ATTRIBUTE, digest.bytes)
  }
}

/** Never fits: what is left where there are no attributes. */
class NoMark extends HashedMark {
  override fits(): Promise<boolean> {
    return Promise.resolve(false)
  }
}

async function whyNoAttributes(): Promise<string | undefined> {
  const notes = nativeFileNotes()
  if (!notes) return 'the addon is not built'
  await using dir = await tempDir()
  await using file = await open(join(dir.path, 'file'), 'w')
  const error = await notes.setAttribute(file.fd, HASHED_ATTRIBUTE, Buffer.of(1))
  return error === 0 ? undefined : `no extended attributes in ${dir.path} (errno ${-error})`
}

function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return undefined
  }
}

const reason = await whyNoAttributes()

describe.skipIf(reason)(reason ? `a mark (skipped: ${reason})` : 'a mark', () => {
  runCases(
    'on hashed files',
    CASES,
    marking((boot) => new HashedMark(() => boot)),
  )

  runCases(
    'on files that are opened without waiting',
    CASES,
    marking((boot) => new HashedMark(() => boot), true),
  )

  it('and a file without one, or none at all, cannot be opened so', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'blob')
    const verification = new FileVerification()
    expect(verification.openKnown(path, DIGEST)).toBeUndefined()
    writeFileSync(path, BYTES)
    expect(verification.openKnown(path, DIGEST)).toBeUndefined()
    expect(readdirSync('/proc/self/fd').some((fd) => linkOf(fd) === path)).toBe(false)
  })

  it('which tells nothing of the file breaks what is promised of changed files (negative control)', async () => {
    const broken = await brokenCases(
      CASES,
      marking(() => new NaiveMark()),
    )
    expect(broken).toEqual(
      expect.arrayContaining([
        'one byte is another one',
        'it is shorter, or longer',
        'it has another size, and the time of modification that it had',
        'it is a copy that took all attributes along and then became another',
        'the machine was started anew: it is read once more',
      ]),
    )
  })

  it('which is not found breaks only what it spares (negative control)', async () => {
    const broken = await brokenCases(
      CASES,
      marking(() => new NoMark()),
    )
    expect(broken).toHaveLength(4)
    expect(broken).not.toContain('one byte is another one')
  })

  it('is not made on small files, whose hash costs less, nor without a boot id', async () => {
    await using dir = await tempDir()
    const small = join(dir.path, 'small')
    writeFileSync(small, 'small')
    const large = join(dir.path, 'large')
    writeFileSync(large, BYTES)
    const known = { path: dir.path, mark: () => new HashedMark(() => 'boot') }
    const unknown = { path: dir.path, mark: () => new HashedMark(() => undefined) }
    for (let i = 0; i < 2; i++) {
      expect(await verdict(known, small, Digest.of(Buffer.from('small')))).toBe('read')
      expect(await verdict(unknown, large)).toBe('read')
    }
  })

  it('says nothing about what replaces the file', async () => {
    await using dir = await tempDir()
    const subject = { path: dir.path, mark: () => new HashedMark() }
    const path = await markedFile(subject)
    const other = join(dir.path, 'other')
    copyFileSync(path, other)
    await flipByte(other)
    renameSync(other, path)
    expect(await verdict(subject, path)).toBe('wrong')
  })

  it('is looked at once by a process, and again after somebody wrote to the file', async () => {
    await using dir = await tempDir()
    const path = await markedFile({ path: dir.path, mark: () => new HashedMark() })
    let looks = 0
    class CountedMark extends HashedMark {
      override fits(...args: Parameters<HashedMark['fits']>): Promise<boolean> {
        looks++
        return super.fits(...args)
      }
    }
    const verification = new FileVerification(new CountedMark())
    const verify = async () => {
      await using file = await open(path, 'r')
      return await verification.verify(file, DIGEST, undefined)
    }
    for (let i = 0; i < 3; i++) expect(await verify()).toBe('known')
    expect(looks).toBe(1)
    await flipByte(path)
    expect(await verify()).toBe('wrong')
    expect(looks).toBe(2)
  })
})
