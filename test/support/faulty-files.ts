import type * as fsPromises from 'node:fs/promises'

type Files = typeof fsPromises
type FileHandle = fsPromises.FileHandle

/**
 * What goes wrong with one call to the file system. `fail`: nothing was done. `fail-late`: it was done, and the answer is lost.
 * `short`: half is read or written, as read(2) and write(2) may. `flip`: one bit of what is read or written is another.
 * `pretend`: it is said to be done.
 */
export type FileEffect = 'fail' | 'fail-late' | 'short' | 'flip' | 'pretend'

/** The `nth` call (from 1) below `folder` goes wrong; nothing does while it is `undefined`. */
export interface FilePlan {
  readonly folder: string
  readonly nth: number
  readonly effect: FileEffect
}

export class FaultyFiles {
  plan: FilePlan | undefined
  calls = 0
  /** Files that were opened and not closed. */
  readonly open = new Set<FileHandle>()

  get wentWrong(): boolean {
    return this.plan !== undefined && this.calls >= this.plan.nth
  }

  /** In the place of `node:fs/promises`. */
  over(real: Files): Files {
    const call = <T>(path: unknown, work: () => Promise<T>) => this.#call(path, work)
    return {
      ...real,
      open: (async (...args: Parameters<Files['open']>) => {
        if (!this.#isBelow(args[0])) return await real.open(...args)
        // What fails opened nothing, and what is said to be open leads nowhere.
        const handle = await call(args[0], async () => {
          if (this.#isNow('fail-late')) throw diskError()
          return await real.open(...args)
        })
        return this.#handle(handle ?? (await real.open('/dev/null', 'r+')))
      }) as Files['open'],
      readFile: ((...args: Parameters<Files['readFile']>) =>
        call(args[0], () => real.readFile(...args))) as Files['readFile'],
      writeFile: (...args) => call(args[0], () => real.writeFile(...args)),
      rename: (...args) => call(args[0], () => real.rename(...args)),
      link: (...args) => call(args[0], () => real.link(...args)),
      unlink: (...args) => call(args[0], () => real.unlink(...args)),
      mkdir: ((...args: Parameters<Files['mkdir']>) =>
        call(args[0], () => real.mkdir(...args))) as Files['mkdir'],
    }
  }

  #isBelow(path: unknown): boolean {
    return this.plan !== undefined && String(path).startsWith(this.plan.folder)
  }

  async #call<T>(path: unknown, work: () => Promise<T>, flip?: (result: T) => T): Promise<T> {
    if (!this.#isBelow(path) || ++this.calls !== this.plan!.nth) return await work()
    const { effect } = this.plan!
    if (effect === 'fail') throw diskError()
    if (effect === 'pretend') return undefined as T
    const result = await work()
    if (effect === 'fail-late') throw diskError()
    if (Buffer.isBuffer(result)) return damaged(effect, result) as T
    return flip && effect === 'flip' ? flip(result) : result
  }

  #handle(handle: FileHandle): FileHandle {
    this.open.add(handle)
    const { folder } = this.plan!
    const call = <T>(work: () => Promise<T>, flip?: (result: T) => T) => this.#call(folder, work, flip)
    const own = {
      read: (buffer: Buffer, offset: number, length: number, position: number | null) =>
        call(
          () => handle.read(buffer, offset, this.#length(length), position),
          (result) => {
            if (result.bytesRead > 0) buffer[offset + (result.bytesRead >> 1)]! ^= 1
            return result
          },
        ).then((result) => result ?? { bytesRead: length, buffer }),
      write: (buffer: Buffer, offset: number, length: number, position: number | null) =>
        call(() => {
          const bytes = Buffer.from(buffer.subarray(offset, offset + this.#length(length)))
          if (this.#isNow('flip')) bytes[bytes.length >> 1]! ^= 1
          return handle.write(bytes, 0, bytes.length, position)
        }).then((result) => result ?? { bytesWritten: length, buffer }),
      stat: ((...args: Parameters<FileHandle['stat']>) =>
        call(() => handle.stat(...args))) as FileHandle['stat'],
      close: async () => {
        this.open.delete(handle)
        await handle.close()
      },
    }
    return new Proxy(handle, {
      get: (target, name) =>
        name in own ? own[name as keyof typeof own] : Reflect.get(target, name, target),
    })
  }

  #isNow(effect: FileEffect): boolean {
    return this.plan?.effect === effect && this.calls === this.plan.nth
  }

  #length(length: number): number {
    return this.#isNow('short') ? Math.ceil(length / 2) : length
  }
}

function damaged(effect: FileEffect, bytes: Buffer): Buffer {
  if (effect === 'short') return bytes.subarray(0, bytes.length >> 1)
  if (effect === 'flip' && bytes.length > 0) bytes[bytes.length >> 1]! ^= 1
  return bytes
}

function diskError(): NodeJS.ErrnoException {
  return Object.assign(new Error('EIO: i/o error, the test makes this call fail'), { code: 'EIO', errno: -5 })
}
