import { createHash } from 'node:crypto'
import type { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import type { DirectoryNode, FileNode, Node } from '../../src/model/castore/node.ts'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import { StorePath } from '../../src/model/nix/store-path.ts'
import type { BlobService, BlobStream, BlobWriter } from '../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import type { PathInfoService } from '../../src/services/pathinfos/interface.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { utf8 } from '../../src/support/bytes.ts'
import type { Call } from '../../src/support/call.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'
import { entry } from './directories.ts'

/** Blobs that can be lost, and that tell what was read. */
class LossyBlobs implements BlobService {
  readonly #base: BlobService
  readonly lost = new Set<string>()
  /** Digests of what was opened for reading, in order. */
  readonly opened: string[] = []
  readsAtOnce = 0
  readsAtOnceMax = 0

  constructor(base: BlobService) {
    this.#base = base
  }

  async has(digest: Digest, call?: Call): Promise<boolean> {
    return !this.lost.has(digest.key) && (await this.#base.has(digest, call))
  }

  async chunks(digest: Digest, call?: Call) {
    return this.lost.has(digest.key) ? undefined : await this.#base.chunks(digest, call)
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    const stream = this.lost.has(digest.key) ? undefined : await this.#base.openRead(digest, call)
    if (stream) this.opened.push(digest.key)
    return stream && this.#count(stream)
  }

  openWrite(call?: Call): BlobWriter {
    const writer = this.#base.openWrite(call)
    return {
      write: (bytes) => writer.write(bytes),
      close: async () => {
        const digest = await writer.close()
        this.lost.delete(digest.key)
        return digest
      },
      abort: () => writer.abort(),
    }
  }

  async *#count(stream: BlobStream): BlobStream {
    this.readsAtOnceMax = Math.max(this.readsAtOnceMax, ++this.readsAtOnce)
    try {
      yield* stream
    } finally {
      this.readsAtOnce--
    }
  }
}

/** A store in memory, with short ways to fill it. `chunked`: blobs have chunk lists. */
export class MemoryStore {
  readonly lossy: LossyBlobs
  readonly blobs: BlobService
  readonly directories: DirectoryService = verifyingDirectoryService(memoryDirectoryService(), 'memory')
  pathInfos: PathInfoService = memoryPathInfoService()
  readonly describe: string

  constructor(describe = 'a store in memory', chunked = false) {
    this.describe = describe
    this.lossy = new LossyBlobs(chunked ? objectStoreBlobService(memoryObjectStore()) : memoryBlobService())
    this.blobs = verifyingBlobService(this.lossy, describe)
  }

  get narCalculation() {
    return localNarCalculation(this)
  }

  async file(contents: string | Uint8Array, executable = false): Promise<FileNode> {
    const bytes = typeof contents === 'string' ? utf8(contents) : contents
    const writer = this.blobs.openWrite()
    await writer.write(bytes)
    return { kind: 'file', digest: await writer.close(), size: BigInt(bytes.length), executable }
  }

  async directory(nodes: Readonly<Record<string, Node>>): Promise<DirectoryNode> {
    const directory = Directory.from(Object.entries(nodes).map(([name, node]) => entry(utf8(name), node)))
    await this.directories.put(directory)
    return { kind: 'directory', digest: directory.digest, size: directory.size('rust') }
  }

  /** Makes `node` visible, with the NAR that it has. */
  async path(label: string, node: Node, references: readonly StorePath[] = []): Promise<PathInfo> {
    return await this.pathInfos.put({
      ...(await this.narCalculation.calculateNar(node)),
      ...{
        storePath: storePathOf(label),
        node,
        references,
        signatures: [],
        deriver: undefined,
        ca: undefined,
      },
    })
  }
}

/** The path of that name; the same for the same name. */
export function storePathOf(label: string): StorePath {
  return StorePath.fromParts(createHash('sha256').update(label).digest().subarray(0, 20), label)
}
