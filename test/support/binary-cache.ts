import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { Directory } from '../../src/model/castore/directory.ts'
import type { Node } from '../../src/model/castore/node.ts'
import { pathComponent } from '../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../src/model/castore/symlink-target.ts'
import type { NarInfo } from '../../src/model/nix/narinfo.ts'
import { renderNarInfo } from '../../src/model/nix/narinfo-renderer.ts'
import { encodeNixbase32 } from '../../src/model/nix/nixbase32.ts'
import { narInfoOf, type PathInfo } from '../../src/model/nix/path-info.ts'
import type { SigningKey } from '../../src/model/nix/signing-key.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { signed } from '../../src/services/pathinfos/signing.ts'
import { concatBytes, utf8 } from '../../src/support/bytes.ts'
import type { Compression } from '../../src/support/decompress.ts'
import { renderNar } from '../../src/transfer/render-nar.ts'
import { collect } from './collect.ts'
import { type Answer, startHttpServer, type TestHttpServer } from './http-server.ts'
import { makePathInfo } from './path-infos.ts'
import { makeSigningKey } from './signing-keys.ts'

export const CACHE_KEY = makeSigningKey('cache.test-1')

const COMPRESSORS: Readonly<Record<Compression, (bytes: Uint8Array) => Uint8Array>> = {
  none: (bytes) => bytes,
  gzip: (bytes) => gzipSync(bytes),
  br: (bytes) => brotliCompressSync(bytes),
  zstd: (bytes) => zstdCompressSync(bytes),
  xz: (bytes) => execFileSync('xz', ['--stdout'], { input: bytes }),
  bzip2: (bytes) => execFileSync('bzip2', ['--stdout'], { input: bytes }),
}

/** One path of a cache: everything about it can be made a lie. */
export interface CachedPath {
  readonly pathInfo: PathInfo
  readonly nar: Uint8Array
  readonly narInfo: NarInfo
  /** The NAR as it is served. */
  readonly file: Uint8Array
  /** Below the cache, as `nar/….nar.xz`. */
  readonly fileName: string
}

export interface CachedPathOptions {
  readonly compression?: Compression
  readonly keys?: readonly SigningKey[]
  /** Before it is signed. */
  readonly changes?: Partial<PathInfo>
}

/** A path with a small tree in it: directories, an executable, a symlink and a file of `fileBytes`. */
export async function makeCachedPath(
  label: string,
  { compression = 'none', keys = [CACHE_KEY], changes = {} }: CachedPathOptions = {},
): Promise<CachedPath> {
  const { node, nar } = await makeNar(label)
  const narSha256 = createHash('sha256').update(nar).digest()
  const base = makePathInfo(label, { node, narSha256, narSize: BigInt(nar.length), ...changes })
  const pathInfo = signed(base, keys)
  const file = COMPRESSORS[compression](nar)
  const fileHash = createHash('sha256').update(file).digest()
  const fileName = `nar/${encodeNixbase32(fileHash)}.nar${compression === 'none' ? '' : `.${compression}`}`
  const location = { url: fileName, compression: compression === 'none' ? undefined : compression }
  const narInfo = narInfoOf(pathInfo, { ...location, fileHash, fileSize: BigInt(file.length) })
  return { pathInfo, nar, narInfo, file, fileName }
}

export async function makeNar(label: string): Promise<{ node: Node; nar: Uint8Array }> {
  const [blobs, directories] = [memoryBlobService(), memoryDirectoryService()]
  const file = async (contents: string, executable = false): Promise<Node> => {
    const writer = blobs.openWrite()
    await writer.write(utf8(contents))
    return { kind: 'file', digest: await writer.close(), size: BigInt(contents.length), executable }
  }
  const entry = (name: string, node: Node) => ({ name: pathComponent(utf8(name)), node })
  const bin = Directory.from([entry('run', await file(`#!/bin/sh\necho ${label}\n`, true))])
  const root = Directory.from([
    entry('bin', { kind: 'directory', digest: bin.digest, size: bin.size('rust') }),
    entry('large', await file(`${label} is large. `.repeat(10_000))),
    entry('link', { kind: 'symlink', target: symlinkTarget(utf8('bin/run')) }),
  ])
  const putter = directories.startPutter()
  await putter.put(bin)
  await putter.put(root)
  const node: Node = { kind: 'directory', digest: await putter.close(), size: root.size('rust') }
  return { node, nar: concatBytes(await collect(renderNar({ blobs, directories }, node))) }
}

export interface TestCache extends TestHttpServer {
  /** By path below the cache; what is not there is 404. */
  readonly files: Map<string, Uint8Array | Answer>
  /** Adds a path, or a lie about it. */
  add(
    path: CachedPath,
    lie?: { readonly narInfo?: Partial<NarInfo> | string; readonly file?: Uint8Array | Answer },
  ): void
  /** As a flag has it, trusting `CACHE_KEY`. */
  readonly address: string
  /** Requests for NARs so far. */
  readonly narRequests: number
}

export async function startTestCache(
  info = 'StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n',
): Promise<TestCache> {
  const files = new Map<string, Uint8Array | Answer>([['nix-cache-info', utf8(info)]])
  const server = await startHttpServer((response: ServerResponse, request: IncomingMessage) => {
    const file = files.get(request.url!.slice('/cache/'.length))
    if (typeof file === 'function') file(response, request)
    else response.writeHead(file ? 200 : 404, file && { 'content-length': file.length }).end(file)
  })
  return {
    ...server,
    files,
    add({ narInfo, file, fileName }, lie = {}) {
      const name = `${encodeNixbase32(narInfo.storePath.digest)}.narinfo`
      const document =
        typeof lie.narInfo === 'string' ? lie.narInfo : renderNarInfo({ ...narInfo, ...lie.narInfo })
      files.set(name, utf8(document))
      files.set(fileName, lie.file ?? file)
    },
    // The base has a path, and no slash at its end: the last segment belongs to it.
    address: `nix+${server.url.href}cache?trusted-public-keys=${CACHE_KEY.verifyingKey}`,
    get narRequests() {
      return server.requests.filter((line) => line.includes('/nar/')).length
    },
  }
}
