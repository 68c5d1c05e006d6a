import { type Call, throwIfAborted } from '../../support/call.ts'
import type { ByteRange, ObjectStore } from './interface.ts'
import { checkKey } from './key.ts'
import { cutRange } from './range.ts'

/** Objects in the memory of this process, gone when it ends. */
export function memoryObjectStore(): ObjectStore {
  return new MemoryObjectStore()
}

class MemoryObjectStore implements ObjectStore {
  readonly name = 'memory:'
  readonly #objects = new Map<string, Uint8Array>()

  async get(key: string, call?: Call & { range?: ByteRange | undefined }): Promise<Uint8Array | undefined> {
    throwIfAborted(call?.signal)
    checkKey(key)
    const object = this.#objects.get(key)
    if (!object) return undefined
    const { start, end } = cutRange(call?.range, object.length)
    return object.slice(start, end)
  }

  async head(key: string, call?: Call): Promise<number | undefined> {
    throwIfAborted(call?.signal)
    checkKey(key)
    return this.#objects.get(key)?.length
  }

  async put(key: string, body: Uint8Array, call?: Call & { ifAbsent?: boolean | undefined }): Promise<void> {
    throwIfAborted(call?.signal)
    checkKey(key)
    if (call?.ifAbsent && this.#objects.has(key)) return
    // The caller may use its memory again. (`Buffer.prototype.slice` would not copy.)
    this.#objects.set(key, Uint8Array.prototype.slice.call(body))
  }

  async *list(prefix: string, call?: Call): AsyncGenerator<string> {
    for (const key of [...this.#objects.keys()]) {
      throwIfAborted(call?.signal)
      if (key.startsWith(prefix)) yield key
    }
  }

  async delete(key: string, call?: Call): Promise<void> {
    throwIfAborted(call?.signal)
    checkKey(key)
    this.#objects.delete(key)
  }
}
