/** What all tables are about: files on ext4, the same as store paths, and the same as a squashfs image. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { layOut, toolchainPackages } from '../remote-build/toolchain.ts'
import { builtTvixStore, run } from './programs.ts'

export interface Sizes {
  /** Each with `FILES_PER_DIRECTORY` files; those of `small` are read, all are walked through. */
  readonly smallDirectories: number
  readonly moreDirectories: number
  readonly largeBytes: number
}

export const SIZES: Readonly<Record<'default' | 'full' | 'large', Sizes>> = {
  default: { smallDirectories: 250, moreDirectories: 250, largeBytes: 256 * 2 ** 20 },
  full: { smallDirectories: 500, moreDirectories: 500, largeBytes: 2 ** 30 },
  /** For what is about the large file alone. */
  large: { smallDirectories: 1, moreDirectories: 0, largeBytes: 2 ** 30 },
}

export const FILES_PER_DIRECTORY = 100
const FILE_BYTES = 2048

export interface Fixture {
  readonly folder: string
  readonly sizes: Sizes
  /** On ext4, with `tree`, `python` and a folder for each package of a compiler in it. */
  readonly content: string
  /** The basename of the store path of each folder in `content`. */
  readonly storePaths: Readonly<Record<string, string>>
  readonly storeFlags: readonly string[]
  /** Of `tree/small`. */
  readonly smallArchive: string
  /** Of all but `tree`. */
  readonly closureArchive: string
}

/** Makes what is missing in `folder`, which is used again when it is given again. */
export function makeFixture(folder: string, sizes: Sizes): Fixture {
  mkdirSync(folder, { recursive: true })
  const content = join(folder, 'content')
  const [smallArchive, closureArchive] = [join(folder, 'small.tar'), join(folder, 'closure.tar')]
  const storeFlags = [
    `--blob-service-addr=packs://${folder}/packs`,
    `--directory-service-addr=lmdb://${folder}/directories.lmdb`,
    `--path-info-service-addr=lmdb://${folder}/pathinfo.lmdb`,
  ]
  const made = join(folder, `made-packs-${sizes.largeBytes}.json`)
  if (!existsSync(made)) {
    if (existsSync(content)) throw new Error(`${folder} has a fixture of another size; name another folder`)
    mkdirSync(content)
    makeTree(join(content, 'tree'), sizes)
    makePython(join(content, 'python'))
    for (const each of toolchainPackages()) layOut(each, join(content, each.name))
    execFileSync('tar', ['-c', '-C', join(content, 'tree'), '-f', smallArchive, 'small'])
    execFileSync('tar', ['-c', '-C', content, '-f', closureArchive, '--exclude=./tree', '.'])
    const paths = readdirSync(content).map((name) => join(content, name))
    const lines = run(builtTvixStore(), ['import', '--json', ...storeFlags, ...paths])
      .trim()
      .split('\n')
    const imported = lines.map((line) => JSON.parse(line) as { path: string; storePath: string })
    const names = imported.map(({ path, storePath }) => [basename(path), basename(storePath)])
    writeFileSync(made, JSON.stringify(Object.fromEntries(names)))
  }
  const storePaths = JSON.parse(readFileSync(made, 'utf8')) as Record<string, string>
  return { folder, sizes, content, storePaths, storeFlags, smallArchive, closureArchive }
}

const OTHER_BLOBS = { raw: 'files', loose: 'objectstore+file' } as const

/** In the place of `storeFlags`: `tree` with its blobs as raw files, or with a file for each chunk. Made when it is needed. */
export function otherStoreFlags(
  { folder, content, storeFlags, storePaths }: Fixture,
  kind: keyof typeof OTHER_BLOBS,
): string[] {
  const blobs = join(folder, kind)
  const flags = [`--blob-service-addr=${OTHER_BLOBS[kind]}://${blobs}`, ...storeFlags.slice(1)]
  if (!existsSync(blobs)) {
    const path = run(builtTvixStore(), ['import', ...flags, join(content, 'tree')])
    if (basename(path.trim()) !== storePaths['tree']) throw new Error(`${folder} is not what was made there`)
  }
  return flags
}

/** The file that the large one became among the raw blobs. */
export function largeBlob({ folder, sizes }: Fixture): string {
  const blobs = join(folder, 'raw/blobs')
  const names = readdirSync(blobs, { recursive: true, encoding: 'utf8' })
  const large = names
    .map((name) => join(blobs, name))
    .find((path) => statSync(path).size === sizes.largeBytes)
  if (large === undefined) throw new Error(`${blobs} has no large blob`)
  return large
}

/** It is one that was written to, as far as anybody can tell: the note that it was hashed no longer holds. */
export function forgetHashed(fixture: Fixture): void {
  utimesSync(largeBlob(fixture), new Date(), new Date())
}

function makeTree(path: string, { smallDirectories, moreDirectories, largeBytes }: Sizes): void {
  for (const [part, directories] of [
    ['small', smallDirectories],
    ['more', moreDirectories],
  ] as const)
    for (let d = 0; d < directories; d++) {
      mkdirSync(join(path, part, `d${d}`), { recursive: true })
      const bytes = randomBytes(FILES_PER_DIRECTORY * FILE_BYTES)
      for (let f = 0; f < FILES_PER_DIRECTORY; f++)
        writeFileSync(`${path}/${part}/d${d}/f${f}`, bytes.subarray(f * FILE_BYTES, (f + 1) * FILE_BYTES))
    }
  const large = openSync(join(path, 'large'), 'w')
  for (let written = 0; written < largeBytes; written += 2 ** 20) writeFileSync(large, randomBytes(2 ** 20))
  closeSync(large)
}

/** The one of the distribution. */
const PYTHON = '/usr/bin/python3'

/** That Python as a prefix of its own. */
function makePython(path: string): void {
  const describe = 'import sys, sysconfig; print(sys.executable); print(sysconfig.get_path("stdlib"))'
  const [program = '', library = ''] = run([PYTHON], ['-c', describe]).split('\n')
  mkdirSync(join(path, 'bin'), { recursive: true })
  mkdirSync(join(path, 'lib'))
  copyFileSync(realpathSync(program), join(path, 'bin/python3'))
  cpSync(library, join(path, 'lib', basename(library)), { recursive: true, dereference: true })
  // As in a store: what is compiled is not compared with a time, which is the same for all files there.
  const compile = ['-m', 'compileall', '-q', '-f', '--invalidation-mode', 'unchecked-hash']
  execFileSync(PYTHON, [...compile, join(path, 'lib')], { stdio: 'ignore' })
}
