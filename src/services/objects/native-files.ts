import { loadAddon } from '../../support/addon.ts'
import { systemError } from '../../support/system-error.ts'

/** native/object_files.c: promises that resolve when `outcomes` are there, or negative errnos. None throws. */
interface NativeFiles {
  writeTemps(
    root: string,
    outcomes: Int32Array,
    keys: string,
    temp: string,
    bodies: readonly Uint8Array[],
    zstdLevel: number,
    isSynced: boolean,
  ): Promise<void> | number
  publish(root: string, outcomes: Int32Array, keys: string, temp: string): Promise<void> | number
  createEmpty(root: string, outcomes: Int32Array, keys: string, temp: string): Promise<void> | number
  removeTemps(root: string, outcomes: Int32Array, keys: string, temp: string): Promise<void> | number
  areThere(root: string, prefix: string, digests: Uint8Array, answers: Int32Array): Promise<number> | number
}

/** What its errors say was being done. */
export const STORING = 'storing objects'

/** What the name of a fanned-out object stands for. */
export const OBJECT_DIGEST_BYTES = 32

/** What became of an object; anything less is a negative errno. As in native/object_files.c. */
export const OUTCOME = { thereAlready: 0, done: 1, doneInNewFolder: 2 } as const

/** Many files below `root`, and what becomes of each. Temp files are called `temp` and their number. */
export interface FileBatch {
  readonly root: string
  readonly keys: readonly string[]
  readonly temp: string
}

/**
 * Steps of storing many files, each one trip to the thread pool. They reject only when nothing was done; otherwise they
 * tell for each file what became of it (OUTCOME, or a negative errno).
 */
export interface FileBatches {
  /** What is not there yet is written to a temp file; with a level as a zstd frame. `isSynced`: and made durable. */
  writeTemps(
    batch: FileBatch,
    bodies: readonly Uint8Array[],
    how: { readonly zstdLevel: number | undefined; readonly isSynced: boolean },
  ): Promise<Int32Array>
  /** Renames the temp files of those that `outcomes` says are written; whose renaming fails is removed. */
  publish(batch: FileBatch, outcomes: Int32Array): Promise<void>
  /** Empty files under their names. */
  createEmpty(batch: FileBatch): Promise<Int32Array>
  /** Gives up what `outcomes` says is written. */
  removeTemps(batch: FileBatch, outcomes: Int32Array): Promise<void>
  /** Of files `<prefix>/<4 hex>/<64 hex>` below `root`, named by 32 bytes each: 1, 0, or the negative errno of who cannot tell. */
  areThere(root: string, prefix: string, digests: Uint8Array): Promise<Int32Array>
}

/** Made once, though it is asked for with every batch. */
let loaded: { readonly batches: FileBatches | undefined } | undefined

/** `undefined` where the addon was not built: everything works without it, only slower. */
export function nativeFileBatches(): FileBatches | undefined {
  loaded ??= { batches: load() }
  return loaded.batches
}

function load(): FileBatches | undefined {
  try {
    return batchesOf(loadAddon('object_files') as NativeFiles)
  } catch {
    return undefined
  }
}

function batchesOf(native: NativeFiles): FileBatches {
  const names = ({ keys }: FileBatch) => keys.join('\0')
  return {
    async writeTemps(batch, bodies, { zstdLevel = 0, isSynced }) {
      const outcomes = new Int32Array(batch.keys.length)
      const { root, temp } = batch
      await begun(native.writeTemps(root, outcomes, names(batch), temp, bodies, zstdLevel, isSynced))
      return outcomes
    },
    async publish(batch, outcomes) {
      await begun(native.publish(batch.root, outcomes, names(batch), batch.temp))
    },
    async createEmpty(batch) {
      const outcomes = new Int32Array(batch.keys.length)
      await begun(native.createEmpty(batch.root, outcomes, names(batch), batch.temp))
      return outcomes
    },
    async removeTemps(batch, outcomes) {
      await begun(native.removeTemps(batch.root, outcomes, names(batch), batch.temp))
    },
    async areThere(root, prefix, digests) {
      const answers = new Int32Array(digests.length / OBJECT_DIGEST_BYTES)
      const result = await native.areThere(root, prefix, digests, answers)
      if (result !== 0) throw systemError(result, STORING)
      return answers
    },
  }
}

async function begun(work: Promise<void> | number): Promise<void> {
  if (typeof work === 'number') throw systemError(work, STORING)
  await work
}
