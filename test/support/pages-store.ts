/** A store as a person would find it: a thousand paths that refer to each other, and one with everything in it. */
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import type { Signature } from '../../src/model/nix/signature.ts'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { ingestTree } from '../../src/transfer/ingest-tree.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { tempDir } from './temp-dir.ts'

const PROGRAMS =
  'bash coreutils curl diffutils ffmpeg findutils gawk gcc git glibc gnugrep gnused gnutar gtk+3 gzip hello imagemagick libidn2 libunistring linux-headers ncurses nginx nodejs openssl perl5.38.2-JSON postgresql python3 ripgrep sqlite systemd util-linux xz zlib zstd'.split(
    ' ',
  )
const OUTPUTS = ['', '-bin', '-dev', '-doc', '-lib', '-man']

export interface SampleStore {
  readonly parts: ReturnType<typeof emptyServices>
  /** The path with everything in it. */
  readonly rich: PathInfo
  /** Refers to nothing and holds nothing but names that are meant to break the page. */
  readonly hostile: PathInfo
}

export function emptyServices() {
  return {
    blobs: memoryBlobService(),
    directories: memoryDirectoryService(),
    pathInfos: memoryPathInfoService(),
  }
}

/** `count` small paths, and the two that have a name in the result. */
export async function sampleStore(count: number): Promise<SampleStore> {
  const parts = emptyServices()
  await using dir = await tempDir()
  const earlier: StorePath[] = []
  const put = async (name: string, makeTree: (path: string) => void, references: StorePath[]) => {
    const path = join(dir.path, `${earlier.length}`)
    makeTree(path)
    const info = await putTree(parts, path, storePathOf(name), references)
    earlier.push(info.storePath)
    return info
  }
  for (let i = 0; i < count; i++) {
    const version = `${1 + (i % 7)}.${i % 31}.${i % 13}`
    const name = `${PROGRAMS[i % PROGRAMS.length]}-${version}${OUTPUTS[i % OUTPUTS.length]}`
    const references = i < 8 ? [] : [0, i >> 2, i >> 1].map((other) => earlier[other]!)
    await put(name, (path) => smallTree(path, i), references)
  }
  const rich = await put('hello-2.12.1', richTree, earlier.slice(-5))
  const hostile = await put('hostile-names-1.0', hostileTree, [])
  return { parts, rich, hostile }
}

function smallTree(path: string, i: number): void {
  mkdirSync(join(path, 'share'), { recursive: true })
  writeFileSync(join(path, 'share', 'README'), `Number ${i}\n`)
  writeFileSync(join(path, 'data'), pseudoRandom(500 + ((i * 7919) % 20_000), i + 1))
}

function richTree(path: string): void {
  for (const folder of ['bin', 'share/doc/hello', 'share/info', 'share/locale/de/LC_MESSAGES', 'lib/empty'])
    mkdirSync(join(path, folder), { recursive: true })
  const binary = join(path, 'bin/hello')
  writeFileSync(binary, pseudoRandom(64 * 1024, 7))
  chmodSync(binary, 0o755)
  const script = join(path, 'bin/hello-wrapped')
  writeFileSync(script, '#!/bin/sh\n# Greets whoever is named.\nexec hello --greeting "Hello, $1!"\n')
  chmodSync(script, 0o755)
  writeFileSync(join(path, 'share/doc/hello/README'), readme())
  writeFileSync(join(path, 'share/info/hello.info'), 'hello\n'.repeat(400))
  writeFileSync(join(path, 'share/locale/de/LC_MESSAGES/hello.mo'), pseudoRandom(2_000, 9))
  symlinkSync('hello', join(path, 'bin/hi'))
  symlinkSync('../share/doc', join(path, 'lib/doc'))
  symlinkSync(`/nix/store/${storePathOf('bash-1.0.0')}/share`, join(path, 'lib/bash'))
  symlinkSync('/etc/hosts', join(path, 'lib/hosts'))
}

function readme(): string {
  return `GNU Hello\n=========\n\nThe GNU Hello program produces a familiar, friendly greeting.\n\nIf a & b < c, say "hello" & 'hello'.\n`
}

/** Names that are markup, quotes, no UTF-8, a change of direction, escapes. */
export const HOSTILE_NAMES: readonly Uint8Array[] = [
  '<script>document.title="broken"</script>',
  '"><img src=x onerror=document.title="broken">',
  "' onmouseover='document.title=1",
  '&lt;b&gt;',
  'a?b#c%2fd%',
  'javascript:alert(1)',
  '\u202Egnp.exe',
  '…und so weiter',
  ' ',
]
  .map((name) => Buffer.from(name.replaceAll('/', '\\')))
  .concat([Buffer.from([0xff, 0xfe, 0x3c]), Buffer.from('new\nline\x1b[31m')])

function hostileTree(path: string): void {
  mkdirSync(path)
  for (const name of HOSTILE_NAMES)
    writeFileSync(
      Buffer.concat([Buffer.from(`${path}/`), name]),
      '<script>document.title="broken"</script>\n',
    )
  symlinkSync('"><script>document.title="broken"</script>', join(path, 'link'))
}

async function putTree(
  parts: SampleStore['parts'],
  path: string,
  storePath: StorePath,
  references: StorePath[],
): Promise<PathInfo> {
  const node = await ingestTree(parts, path, { sizeFormula: 'rust' })
  const nar = await localNarCalculation(parts).calculateNar(node)
  const deriver = StorePath.fromParts(storePath.digest.toReversed(), storePath.name)
  const signature: Signature = { keyName: 'cache.example.org-1', bytes: pseudoRandom(64, 5) }
  const info = { storePath, node, references, ...nar, signatures: [signature], deriver, ca: undefined }
  return await parts.pathInfos.put(info)
}

function storePathOf(name: string): StorePath {
  return StorePath.fromParts(createHash('sha1').update(name).digest(), name)
}
