/** Services that count their calls and change nothing else. */
import type { BlobService, BlobWriter, SizedBlob } from '../blobs/interface.ts'
import type { DirectoryPutter, DirectoryService } from '../directories/interface.ts'
import type { PathInfoService } from '../pathinfos/interface.ts'
import type { LayerMetrics, LayerName, RunningMeasure } from './layer-metrics.ts'

export function measuredBlobService(
  base: BlobService,
  layer: LayerName,
  metrics?: LayerMetrics | undefined,
): BlobService {
  if (!metrics) return base
  const of = (method: string) => metrics.method({ service: 'blobs', method, layer })
  const [has, chunks, read, write] = [of('has'), of('chunks'), of('read'), of('write')]
  const { hasMany, readInto, readChunk, smallWrites, digestsWrites } = base
  const havingMany = hasMany && of('hasMany')
  const readingInto = readInto && of('readInto')
  return {
    has: (digest, call) => has.run(() => base.has(digest, call)),
    hasMany: hasMany && ((digests, call) => havingMany!.run(() => hasMany(digests, call))),
    chunks: (digest, call) => chunks.run(() => base.chunks(digest, call)),
    async openRead(digest, call) {
      const running = read.start()
      const stream = await ending(running, () => base.openRead(digest, call))
      if (stream)
        return {
          ...measuredStream(stream, running, (piece) => piece.length),
          giveBack: (piece) => stream.giveBack?.(piece),
        }
      running.end('NOT_FOUND')
      return undefined
    },
    readInto:
      readInto &&
      (async (target, wanted, call) => {
        const running = readingInto!.start()
        const left = await ending(running, () => readInto(target, wanted, call))
        running.bytes = bytesOf(wanted) - bytesOf(left)
        running.end('OK')
        return left
      }),
    readChunk:
      readChunk &&
      (async (chunk, call) => {
        const running = read.start()
        const bytes = await ending(running, () => readChunk(chunk, call))
        // Else it is read, or its absence told, by the call that follows.
        if (bytes) {
          running.bytes = bytes.length
          running.end('OK')
        }
        return bytes
      }),
    smallWrites: smallWrites && {
      ...smallWrites,
      put: async (digest, contents, call) => {
        const running = write.start()
        await ending(running, () => smallWrites.put(digest, contents, call))
        running.bytes = contents.length
        running.end('OK')
      },
    },
    digestsWrites,
    openWrite: (call) => measuredWriter(base.openWrite(call), write.start()),
  }
}

export function measuredDirectoryService(
  base: DirectoryService,
  layer: LayerName,
  metrics?: LayerMetrics | undefined,
): DirectoryService {
  if (!metrics) return base
  const of = (method: string) => metrics.method({ service: 'directories', method, layer })
  const [get, getRecursive, put, putMany] = [of('get'), of('getRecursive'), of('put'), of('putMany')]
  return {
    get: (digest, call) => get.run(() => base.get(digest, call)),
    getRecursive: (digest, call) => measuredStream(base.getRecursive(digest, call), getRecursive.start()),
    put: (directory, call) => put.run(() => base.put(directory, call)),
    startPutter: (call) => measuredPutter(base.startPutter(call), putMany.start()),
  }
}

export function measuredPathInfoService(
  base: PathInfoService,
  layer: LayerName,
  metrics?: LayerMetrics | undefined,
): PathInfoService {
  if (!metrics) return base
  const of = (method: string) => metrics.method({ service: 'pathInfos', method, layer })
  const [get, put, list] = [of('get'), of('put'), of('list')]
  return {
    get: (outputHash, call) => get.run(() => base.get(outputHash, call)),
    put: (pathInfo, call) => put.run(() => base.put(pathInfo, call)),
    list: (call) => measuredStream(base.list(call), list.start()),
  }
}

function bytesOf(blobs: readonly SizedBlob[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0)
}

/** Counts a failure of a part of a call, and leaves its success to the parts that follow. */
async function ending<T>(running: RunningMeasure, part: () => Promise<T>): Promise<T> {
  try {
    return await part()
  } catch (error) {
    running.fail(error)
    throw error
  }
}

/** Ends with its last item, with a failure, or when its reader leaves; one that is never read counts for nothing. */
function measuredStream<T>(
  base: AsyncIterable<T>,
  running: RunningMeasure,
  bytesOf: (item: T) => number = () => 0,
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const items = base[Symbol.asyncIterator]()
      return {
        async next() {
          const item = await ending(running, () => items.next())
          if (item.done) running.end('OK')
          else running.bytes += bytesOf(item.value)
          return item
        },
        async return() {
          running.end('CANCELLED')
          await items.return?.()
          return { done: true, value: undefined }
        },
      }
    },
  }
}

function measuredWriter(base: BlobWriter, running: RunningMeasure): BlobWriter {
  return {
    write(bytes) {
      running.bytes += bytes.length
      return ending(running, () => base.write(bytes))
    },
    async close() {
      const digest = await ending(running, () => base.close())
      running.end('OK')
      return digest
    },
    abort() {
      running.end('CANCELLED')
      return base.abort()
    },
  }
}

function measuredPutter(base: DirectoryPutter, running: RunningMeasure): DirectoryPutter {
  return {
    put: (directory) => ending(running, () => base.put(directory)),
    async close() {
      const root = await ending(running, () => base.close())
      running.end('OK')
      return root
    },
  }
}
