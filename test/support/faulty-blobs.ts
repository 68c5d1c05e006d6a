import { Digester } from '../../src/model/castore/digest.ts'
import type { BlobService, BlobStream, BlobWriter } from '../../src/services/blobs/interface.ts'
import { StoreError } from '../../src/support/errors.ts'

/** A blob service whose state a test turns while it is used. */
export interface FaultyBlobs extends BlobService {
  /** Every call fails. */
  dead: boolean
  /** Reads break off after so many bytes. */
  breaksAfter: number | undefined
  /** Reads wait for ever before their first byte. */
  hangs: boolean
  /** The next bytes are wrong. */
  lies: boolean
  /** Writes of these contents, by digest, are refused when they are closed. */
  readonly refuses: Set<string>
  /** Calls that read, by name. */
  readonly asked: { has: number; chunks: number; openRead: number }
}

export function faultyBlobs(base: BlobService): FaultyBlobs {
  const asked = { has: 0, chunks: 0, openRead: 0 }
  const enter = (name: keyof typeof asked) => {
    asked[name]++
    if (faulty.dead) throw new StoreError('unavailable', 'the test has cut this source off')
  }
  const faulty: FaultyBlobs = {
    dead: false,
    breaksAfter: undefined,
    hangs: false,
    lies: false,
    refuses: new Set(),
    asked,
    async has(digest, call) {
      enter('has')
      return await base.has(digest, call)
    },
    async chunks(digest, call) {
      enter('chunks')
      return await base.chunks(digest, call)
    },
    async openRead(digest, call) {
      enter('openRead')
      if (faulty.hangs) return await never(call?.signal)
      const stream = await base.openRead(digest, call)
      return stream && tampered(stream, faulty)
    },
    openWrite: (call) => refusing(base.openWrite(call), faulty.refuses),
  }
  return faulty
}

function refusing(writer: BlobWriter, refused: ReadonlySet<string>): BlobWriter {
  const digester = new Digester()
  return {
    write(bytes) {
      digester.update(bytes)
      return writer.write(bytes)
    },
    async close() {
      const digest = digester.digest()
      if (!refused.has(digest.key)) return await writer.close()
      await writer.abort()
      throw new StoreError('denied', 'the test does not take this one')
    },
    abort: () => writer.abort(),
  }
}

async function* tampered(stream: BlobStream, faulty: FaultyBlobs): AsyncGenerator<Uint8Array> {
  let sent = 0
  for await (const piece of stream) {
    if (faulty.breaksAfter !== undefined && sent + piece.length > faulty.breaksAfter) {
      const rest = piece.subarray(0, faulty.breaksAfter - sent)
      if (rest.length > 0) yield rest
      throw new StoreError('unavailable', 'the test has cut the line')
    }
    sent += piece.length
    yield faulty.lies ? piece.map((byte) => byte ^ 1) : piece
  }
}

function never(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(StoreError.from(signal.reason)), { once: true })
  })
}
